"""Endorsement bundles: what vendors say of their hardware, carried to sites without a network.

A bundle is signed by the product's key of the use ``endorsement``, numbered, and valid for a time.
The signature says that the publisher vouches for having fetched these files; each file still counts
only as far as its own signature reaches a pinned root. ``write`` and ``read`` undo each other.
Normative: ``docs/spec/attestation.md``, "Endorsement bundles".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from modelseal import cbor
from modelseal.cbor import CborInvalid
from modelseal.crypto.signing import Signer, VerifyKey
from modelseal.errors import (
    EndorsementBundleExpired,
    EndorsementBundleInvalid,
    EndorsementBundleReplayed,
    Misuse,
    TokenKeyUnknown,
    TokenSignature,
)
from modelseal.types import check_aware, from_numeric, to_numeric

MAGIC = b"\x89MSE1\r\n\x1a"
TYP = "modelseal-endorsements"
VERSION = 1
MAX_LIFE = timedelta(days=180)
MAX_BYTES = 32 << 20
MAX_ITEMS = 256
MAX_NAME = 128
_LABEL = b"modelseal/endorsement-bundle/v1\0"
_MAX_SIGNATURES = 4
_MAX_NUMBER = 2**53

Keys = Callable[[str, datetime], Sequence[VerifyKey]]
"""The keys that must all have signed beside the key id, at that time; ``TokenKeyUnknown``."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file: its name for people, and its bytes as the vendor wrote them."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest bundle of a site so far. An older one, or another of its number, is refused."""

    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle says. ``roots`` are SHA-256 of the roots that its maker's release pins.

    They pin nothing here: they tell why a site of another release comes to other verdicts.
    """

    product: str
    number: int
    issued_at: datetime
    expires_at: datetime
    items: tuple[Item, ...]
    roots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the signed bytes, in hex."""
        return hashlib.sha256(_payload(self)).hexdigest()

    @property
    def seen(self) -> Seen:
        """What to remember of this bundle."""
        return Seen(self.number, self.digest)


class _Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    data: bytes


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    typ: str
    version: int
    product: str
    number: int
    issued_at: int
    expires_at: int
    items: list[_Item]
    roots: dict[str, list[str]]


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kid: str
    signature: bytes


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    payload: bytes
    signatures: list[_Signature]


def write(bundle: Bundle, signers: Sequence[Signer]) -> bytes:
    """The signed bundle; ``Misuse`` for one that ``read`` would refuse at its own time."""
    fault = _fault(bundle)
    if fault or not 1 <= len(signers) <= _MAX_SIGNATURES:
        raise Misuse(fault or "a bundle has one to four signatures")
    payload = _payload(bundle)
    signatures = [{"kid": s.kid, "signature": s.sign(_LABEL + payload)} for s in signers]
    data = MAGIC + cbor.encode({"payload": payload, "signatures": signatures})
    if len(data) > MAX_BYTES:
        raise Misuse(f"a bundle has at most {MAX_BYTES} bytes")
    return data


def is_bundle(data: bytes) -> bool:
    """True when ``data`` begins as a bundle does."""
    return data.startswith(MAGIC)


def read(
    data: bytes,
    keys: Keys,
    now: datetime,
    *,
    product: str | None = None,
    last_seen: Seen | None = None,
) -> Bundle:
    """The bundle in ``data``, once every key of its signer's set has been found to hold.

    Raises ``EndorsementBundleInvalid`` (other bytes, another product, a key that is not listed or
    did not sign), ``EndorsementBundleExpired`` and ``EndorsementBundleReplayed``.
    """
    moment = check_aware(now)
    envelope = _envelope(data)
    _check_signatures(envelope, keys, moment)
    bundle = _bundle(envelope.payload)
    if product is not None and bundle.product != product:
        raise EndorsementBundleInvalid("it is of another product", product=bundle.product)
    if moment < bundle.issued_at - timedelta(minutes=5):
        raise EndorsementBundleInvalid("it was issued in the future")
    if moment >= bundle.expires_at:
        days = (moment - bundle.expires_at).days
        raise EndorsementBundleExpired(
            "it ended", number=bundle.number, expired_at=bundle.expires_at, days=days
        )
    if last_seen is not None and _is_older(bundle, last_seen):
        raise EndorsementBundleReplayed(
            "another one was seen before", number=bundle.number, seen=last_seen.number
        )
    return bundle


def _is_older(bundle: Bundle, seen: Seen) -> bool:
    if bundle.number == seen.number:
        return bundle.digest != seen.digest
    return bundle.number < seen.number


def _envelope(data: bytes) -> _Envelope:
    if not is_bundle(data):
        raise EndorsementBundleInvalid("these bytes are no endorsement bundle")
    found: _Envelope = _convert(data[len(MAGIC) :], _Envelope)
    if not 1 <= len(found.signatures) <= _MAX_SIGNATURES:
        raise EndorsementBundleInvalid("one to four signatures are needed")
    return found


def _check_signatures(envelope: _Envelope, keys: Keys, now: datetime) -> None:
    given = {each.kid: each.signature for each in envelope.signatures}
    try:
        wanted = keys(envelope.signatures[0].kid, now)
        if set(given) != {key.kid for key in wanted} or len(given) != len(envelope.signatures):
            raise EndorsementBundleInvalid("other keys signed it than the trust lists together")
        for key in wanted:
            key.verify(given[key.kid], _LABEL + envelope.payload)
    except TokenKeyUnknown:
        raise EndorsementBundleInvalid("its key is not listed, or not valid now") from None
    except TokenSignature:
        raise EndorsementBundleInvalid("the signature does not hold") from None


def _bundle(payload: bytes) -> Bundle:
    raw: _Payload = _convert(payload, _Payload)
    if raw.typ != TYP or raw.version != VERSION:
        raise EndorsementBundleInvalid("of a type or version that is not known here")
    try:
        issued, expires = from_numeric(raw.issued_at), from_numeric(raw.expires_at)
    except Misuse:
        raise EndorsementBundleInvalid("a time that does not exist") from None
    items = tuple(Item(item.name, item.data) for item in raw.items)
    roots = {kind: tuple(digests) for kind, digests in raw.roots.items()}
    bundle = Bundle(raw.product, raw.number, issued, expires, items, roots)
    fault = _fault(bundle)
    if fault:
        raise EndorsementBundleInvalid(fault)
    return bundle


def _fault(bundle: Bundle) -> str:
    """What is wrong with a bundle; empty when nothing is."""
    names = [item.name for item in bundle.items]
    if not 1 <= len(names) <= MAX_ITEMS or len(set(names)) != len(names):
        return f"a bundle holds 1 to {MAX_ITEMS} files of different names"
    if any(not name or len(name) > MAX_NAME or not name.isprintable() for name in names):
        return "a file has a printable name"
    if not 1 <= bundle.number < _MAX_NUMBER or not bundle.product:
        return "a bundle is numbered from 1, and of a product"
    if not timedelta(0) < bundle.expires_at - bundle.issued_at <= MAX_LIFE:
        return f"a bundle is valid for at most {MAX_LIFE.days} days"
    return ""


def _payload(bundle: Bundle) -> bytes:
    return cbor.encode(
        {
            "typ": TYP,
            "version": VERSION,
            "product": bundle.product,
            "number": bundle.number,
            "issued_at": to_numeric(check_aware(bundle.issued_at)),
            "expires_at": to_numeric(check_aware(bundle.expires_at)),
            "items": [{"name": item.name, "data": item.data} for item in bundle.items],
            "roots": {kind: list(digests) for kind, digests in bundle.roots.items()},
        }
    )


def _convert(data: bytes, cls: type[Any]) -> Any:
    try:
        return msgspec.convert(cbor.decode(data, max_bytes=MAX_BYTES), cls, strict=True)
    except (CborInvalid, msgspec.ValidationError) as error:
        detail = error.detail if isinstance(error, CborInvalid) else str(error)[:200]
        raise EndorsementBundleInvalid(detail) from None
