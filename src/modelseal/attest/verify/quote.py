"""Intel's quote, versions 3 to 5, as it lies in memory, and the signatures in it. Pure.

Layout: Intel SGX ECDSA Quote Library API and Intel TDX DCAP Quote Generation Library, "Quote
format". Four links: the pinned root vouches for the platform's key (PCK), that key signed the
quoting enclave's report, the report names the attestation key, and the attestation key signed the
quote. Whether the platform is up to date is another file's question (``intel_tcb``).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from modelseal.attest.verify import pki
from modelseal.attest.verify.endorsements import whole_chain_in
from modelseal.attest.verify.steps import NotGenuine, Step, malformed

MAX_BYTES = 1 << 20
HEADER_BYTES = 48
SGX_BYTES, TD10_BYTES, TD15_BYTES = 384, 584, 648
_INTEL = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_ECDSA_P256 = 2
_SGX, _TDX = 0x00, 0x81
_BODY = {1: (_SGX, SGX_BYTES), 2: (_TDX, TD10_BYTES), 3: (_TDX, TD15_BYTES)}
_TD_LATER, _MAX_BODY = 4, 2048  # begins as a TD report 1.5; what follows is signed and not read
_PCK_CHAIN, _QE_REPORT = 5, 6
# the makers of Intel's quoting enclaves for SGX and for TDX, as Intel's signed QE identities say
_QE_SIGNERS = {
    _SGX: bytes.fromhex("8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff"),
    _TDX: bytes.fromhex("dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5"),
}


@dataclass(frozen=True, slots=True)
class Quote:
    """A quote taken apart; nothing of it is verified. ``raw`` ends where the quote ends."""

    raw: bytes
    version: int
    tdx: bool
    body: bytes
    signed_bytes: int
    signature: bytes
    attestation_key: bytes
    qe_report: bytes
    qe_signature: bytes
    qe_data: bytes
    certificates: bytes

    @property
    def report_data(self) -> bytes:
        """The 64 bytes that the enclave or guest bound."""
        return self.body[520:584] if self.tdx else self.body[320:384]

    def inside(self) -> tuple[x509.Certificate, ...]:
        """The certificates that it carries, leaf first; malformed where they cannot be read."""
        found = whole_chain_in(self.certificates)
        if found is None:
            malformed("something beside readable certificates where they lie")
        return found

    def check(
        self,
        inside: tuple[x509.Certificate, ...],
        others: tuple[x509.Certificate, ...],
        roots: tuple[bytes, ...],
    ) -> tuple[x509.Certificate, ...]:
        """The chain of the platform's key; ``NotGenuine`` at *chain* or *signature*.

        What the quote carries (``inside``) has to be that chain and nothing else; where it carries
        nothing, ``others`` have the platform's certificate first.
        """
        others = inside or others
        if not others:
            raise NotGenuine(Step.CHAIN, "certificate_missing", name="PCK")
        chain = pki.to_root(others[0], others[1:], roots)
        if len(inside) > len(chain) or not all(map(_agree, inside, chain)):
            raise NotGenuine(Step.CHAIN, "chain_not_anchored", issuer="PCK")
        platform = pki.ec_key(chain[0], ec.SECP256R1)
        if platform is None or pki.is_ca(chain[0]):
            raise NotGenuine(Step.CHAIN, "chain_not_anchored", issuer="PCK")
        if self.qe_report[128:160] != _QE_SIGNERS[_TDX if self.tdx else _SGX]:
            raise NotGenuine(Step.CHAIN, "quoting_enclave_unknown")
        _verify(platform, self.qe_signature, self.qe_report, "the quoting enclave's report")
        named = hashlib.sha256(self.attestation_key + self.qe_data).digest() + bytes(32)
        if not hmac.compare_digest(self.qe_report[320:384], named):
            raise NotGenuine(Step.SIGNATURE, "signature_invalid", detail="the attestation key")
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(
                ec.SECP256R1(), b"\x04" + self.attestation_key
            )
        except ValueError:
            raise NotGenuine(
                Step.SIGNATURE, "signature_invalid", detail="the attestation key"
            ) from None
        _verify(key, self.signature, self.raw[: self.signed_bytes], "the quote's")
        return chain


def _agree(carried: x509.Certificate, link: x509.Certificate) -> bool:
    """True for the link itself, and for another issue of the root: Intel renewed its, same key."""
    if carried == link:
        return True
    key = pki.ec_key(carried, ec.SECP256R1)
    same = key is not None and key == pki.ec_key(link, ec.SECP256R1)
    same = same and carried.subject == link.subject
    return same and pki.issued(link, link) and pki.issued(carried, link)


def _verify(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes, what: str) -> None:
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        raise NotGenuine(Step.SIGNATURE, "signature_invalid", detail=what) from None


class _Reader:
    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            malformed("a quote that ends too early")
        part = self.data[self.at : self.at + size]
        self.at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def sized(self, size: int) -> bytes:
        return self.take(self.number(size))

    def end(self) -> None:
        if self.at != len(self.data):
            malformed("a length in the quote that does not fit")


def looks_like(data: bytes) -> bool:
    """True for what begins as a quote of Intel's."""
    return len(data) > HEADER_BYTES and data[0] in (3, 4, 5) and data[12:28] == _INTEL


def read(data: bytes) -> Quote:
    """The quote at the start of ``data``; zeros may follow, as in some guests' buffers."""
    if len(data) > MAX_BYTES:
        malformed(f"a quote longer than {MAX_BYTES} bytes")
    reader = _Reader(data)
    version, key_type = reader.number(2), reader.number(2)
    tee = reader.number(4)
    reader.take(4)
    vendor = reader.take(16)
    reader.take(20)
    if version not in (3, 4, 5):
        malformed(f"a quote of version {version}")
    if key_type != _ECDSA_P256 or vendor != _INTEL:
        malformed("a quote of another kind than Intel's ECDSA on P-256")
    if tee not in (_SGX, _TDX) or (version == 3 and tee != _SGX):
        malformed("a quote of an unknown kind of machine")
    body = reader.take(_body_bytes(reader, version, tee))
    signed = reader.at
    auth = _Reader(reader.sized(4))
    if any(data[reader.at :]):
        malformed("bytes behind the quote that nobody signed")
    signature, key = auth.take(64), auth.take(64)
    inner = auth
    if version > 3:
        if auth.number(2) != _QE_REPORT:
            malformed("a quote without the quoting enclave's report")
        inner = _Reader(auth.sized(4))
        auth.end()
    report, qe_signature, qe_data = inner.take(384), inner.take(64), inner.sized(2)
    kind, certificates = inner.number(2), inner.sized(4)
    inner.end()
    return Quote(
        raw=bytes(data[: reader.at]),
        version=version,
        tdx=tee == _TDX,
        body=body,
        signed_bytes=signed,
        signature=signature,
        attestation_key=key,
        qe_report=report,
        qe_signature=qe_signature,
        qe_data=qe_data,
        certificates=certificates if kind == _PCK_CHAIN else b"",
    )


def _body_bytes(reader: _Reader, version: int, tee: int) -> int:
    if version < 5:
        return SGX_BYTES if tee == _SGX else TD10_BYTES
    kind, size = reader.number(2), reader.number(4)
    later = kind == _TD_LATER and tee == _TDX and TD15_BYTES <= size <= _MAX_BODY
    if _BODY.get(kind) != (tee, size) and not later:
        malformed(f"a body of type {kind} with {size} bytes")
    return size
