"""The TLS key of one service process, and fresh evidence that this very machine holds it.

The key is made when the process starts, never leaves its memory, and ends with it. Its certificate
says nothing that anybody should believe; what counts is the evidence over its public key.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from modelseal.attest.collect import Collected, Collector
from modelseal.attest.verify import Evidence
from modelseal.errors import EvidenceUnavailable, Misuse, RateLimited
from modelseal.inference import binding, statement
from modelseal.inference.statement import Statement

LIFE = timedelta(days=3650)
WAITING = 32
"""Questions for evidence that may wait: hardware answers one after the other, a TPM in tenths of a
second."""


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """The key that TLS proves in each handshake. ``spki`` is SHA-256 of its public half."""

    certificate_pem: bytes
    spki: bytes
    _key_pem: bytes = field(repr=False)

    @classmethod
    def generate(cls, now: datetime) -> ChannelKey:
        """A fresh P-256 key and a certificate that it signed itself."""
        private = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "modelseal inference")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .sign(private, hashes.SHA256())
        )
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return cls(certificate.public_bytes(Encoding.PEM), spki_digest(certificate), pem)

    def context(self) -> ssl.SSLContext:
        """TLS 1.3 with this key; it reaches OpenSSL through pipes, no disk sees it."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_3
        made.num_tickets = 0  # each connection proves the key anew
        with _piped(self.certificate_pem) as certificate, _piped(self._key_pem) as key:
            made.load_cert_chain(certificate.path, key.path)
        return made


def spki_digest(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the certificate's SubjectPublicKeyInfo."""
    key = certificate.public_key()
    return hashlib.sha256(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).digest()


class _piped:  # noqa: N801 - reads as `with _piped(data)`
    """A path under which ``data`` can be read once; it is in memory alone."""

    def __init__(self, data: bytes) -> None:
        self._read, write = os.pipe()
        os.write(write, data)  # far below what a pipe holds
        os.close(write)
        own = "/proc/self/fd"  # a minimal image has no /dev/fd, others no /proc
        self.path = f"{own if os.path.isdir(own) else '/dev/fd'}/{self._read}"  # noqa: PTH112

    def __enter__(self) -> _piped:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._read)


class Prover:
    """Answers nonces with evidence. One question reaches the hardware at a time.

    ``collectors`` each give one piece; ``models`` maps names to file ids.
    """

    def __init__(
        self,
        key: ChannelKey,
        collectors: Sequence[Collector],
        models: Mapping[str, str],
        *,
        endorsements: Sequence[bytes] = (),
    ) -> None:
        if not 1 <= len(collectors) <= statement.MAX_PIECES:
            raise Misuse("a service proves itself by at least one kind of evidence")
        self._key = key
        self._collectors = tuple(collectors)
        self._models = dict(models)
        self._endorsements = tuple(endorsements)
        self._one = threading.Lock()
        self._room = threading.BoundedSemaphore(WAITING)

    def prove(self, nonce: bytes) -> bytes:
        """The statement for ``nonce``. Raises ``Misuse`` for a nonce of another length,
        ``RateLimited`` when too many wait, ``EvidenceUnavailable``."""
        encoded = binding.transcript(nonce, self._key.spki, self._models)
        if not self._room.acquire(blocking=False):
            raise RateLimited("too many ask for evidence", retry_after_seconds=1)
        try:
            with self._one:
                pieces = [_collected(one, encoded) for one in self._collectors]
        finally:
            self._room.release()
        evidence = tuple(Evidence(p.kind, tuple(q.data for q in p.parts)) for p in pieces)
        items = [part.data for piece in pieces for part in piece.endorsements]
        return statement.write(Statement(evidence, (*items, *self._endorsements), self._models))


def _collected(collector: Collector, encoded: bytes) -> Collected:
    """One piece. A collector of a kind that binds the short value bears the kind's name."""
    value = binding.bound(collector.name, encoded)
    found = collector.collect(value)
    if binding.bound(found.kind, encoded) != value:
        raise EvidenceUnavailable(f"{collector.name} brought {found.kind}", source=collector.name)
    return found
