"""What vendors say of their hardware: certificates, revocation lists, collateral. Never trusted.

Every item is believed only as far as its own signature reaches a pinned root; where it came from
plays no part.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from cryptography import x509

from modelseal import strict_json
from modelseal.attest.verify import encodings
from modelseal.attest.verify.steps import NotGenuine
from modelseal.strict_json import JsonInvalid

MAX_ITEMS = 256
Sound = TypeVar("Sound", x509.Certificate, x509.CertificateRevocationList)
_BEGIN = re.compile(rb"-----BEGIN (CERTIFICATE|X509 CERTIFICATE|X509 CRL)-----")


@dataclass(frozen=True)
class Endorsements:
    """Files as they were given, sorted out by what they are. What none of us reads is kept."""

    items: tuple[bytes, ...] = ()

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over the sorted SHA-256 of the items: their order means nothing."""
        leaves = sorted(hashlib.sha256(item).digest() for item in self.items)
        return hashlib.sha256(b"modelseal/endorsements/v1" + b"".join(leaves)).digest()

    @cached_property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """All certificates in the items, PEM or DER."""
        return tuple(c for c, _ in self._sorted_out if isinstance(c, x509.Certificate))

    @cached_property
    def crls(self) -> tuple[x509.CertificateRevocationList, ...]:
        """All revocation lists in the items, PEM or DER."""
        return tuple(
            c for c, _ in self._sorted_out if isinstance(c, x509.CertificateRevocationList)
        )

    @cached_property
    def documents(self) -> tuple[Any, ...]:
        """All JSON documents in the items."""
        return tuple(value for found, value in self._sorted_out if found is None and value)

    @cached_property
    def raw(self) -> tuple[bytes, ...]:
        """The items with their outer encoding taken off, whatever they are."""
        return tuple(_peeled(item) for item in self.items[:MAX_ITEMS])

    @cached_property
    def _sorted_out(self) -> tuple[tuple[Any, Any], ...]:
        found: list[tuple[Any, Any]] = []
        for data in self.raw:
            text = data.lstrip()
            if text[:1] in (b"{", b"["):
                found.append((None, _json(text)))
            else:
                found.extend((part, None) for part in _x509(data))
        return tuple(found)


def certificates_in(data: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of PEM text or one DER; empty for anything else."""
    return tuple(c for c in _x509(data) if isinstance(c, x509.Certificate))


def whole_chain_in(pem: bytes) -> tuple[x509.Certificate, ...] | None:
    """The certificates of ``pem``; None when something else but white space and zeros is in it."""
    found = certificates_in(pem)
    rest, at = b"", 0
    for _, start, stop in _blocks(pem):
        rest, at = rest + pem[at:start], stop
    rest = (rest + pem[at:]).strip(b"\0\r\n\t ")
    return None if rest or len(found) != pem.count(b"-----BEGIN ") else found


def crls_in(data: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    """The revocation lists of PEM text or one DER; empty for anything else."""
    return tuple(c for c in _x509(data) if isinstance(c, x509.CertificateRevocationList))


def sound(found: Sound) -> Sound:
    """``found`` itself; raises what the parser raises over what it had put off reading."""
    if isinstance(found, x509.Certificate):
        _ = found.subject, found.not_valid_before_utc, found.not_valid_after_utc, found.extensions
    else:
        _ = found.last_update_utc, found.next_update_utc
    _ = found.issuer
    return found


def _peeled(item: bytes) -> bytes:
    if b"-----BEGIN " in item[:4096] and not item.startswith(b"\x1f\x8b"):
        return item
    try:
        return encodings.peel(item)
    except NotGenuine:
        return item


def _x509(data: bytes) -> Iterable[x509.Certificate | x509.CertificateRevocationList]:
    blocks = list(itertools.islice(_blocks(data), MAX_ITEMS))
    if not blocks:
        yield from _der(data)
        return
    for label, start, stop in blocks:
        try:
            if label == b"X509 CRL":
                yield sound(x509.load_pem_x509_crl(data[start:stop]))
            else:
                yield sound(x509.load_pem_x509_certificate(data[start:stop]))
        except Exception:  # noqa: BLE001, S112 - a damaged certificate endorses nothing
            continue


def _blocks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Label, start and end of every whole PEM block of ours.

    In time that grows with the length alone, whatever the bytes: an end that is not there is
    looked for once.
    """
    at, endless = 0, set[bytes]()
    while (begin := _BEGIN.search(data, at)) is not None:
        at, label = begin.end(), begin[1]
        if label in endless:
            continue
        end = b"-----END " + label + b"-----"
        found = data.find(end, at)
        if found < 0:
            endless.add(label)
            continue
        at = found + len(end)
        yield label, begin.start(), at


def _der(data: bytes) -> Iterator[x509.Certificate | x509.CertificateRevocationList]:
    try:
        yield sound(x509.load_der_x509_certificate(data))
        return
    except Exception:  # noqa: BLE001, S110 - it may be a list; a parser's errors stay here
        pass
    try:
        yield sound(x509.load_der_x509_crl(data))
    except Exception:  # noqa: BLE001 - neither: it endorses nothing
        return


def _json(text: bytes) -> Any:
    try:
        return strict_json.decode(text, max_bytes=encodings.MAX_BYTES)
    except JsonInvalid:
        return None
