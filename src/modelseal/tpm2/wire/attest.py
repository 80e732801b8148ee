"""TPMS_ATTEST and TPMT_SIGNATURE: what a TPM states and how it signs (part 2, 10.12 and 11.3).

``Attest.from_bytes`` refuses bytes without the magic that only a TPM's own statements carry, so
that nothing an ordinary key was asked to sign can pass for one. ``Signature.verify`` raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from modelseal.errors import EvidenceInvalid
from modelseal.tpm2.wire.codec import Reader, sized, u8, u16, u32, u64
from modelseal.tpm2.wire.codes import ATTEST_MAGIC, Alg, AttestType
from modelseal.tpm2.wire.policy import PcrSelection, read_selections, write_selections

_HASHES: dict[int, Any] = {
    Alg.SHA256: hashes.SHA256,
    Alg.SHA384: hashes.SHA384,
    Alg.SHA512: hashes.SHA512,
}
_NAME_BYTES = 66
_EXTRA_BYTES = 128


@dataclass(frozen=True, slots=True)
class Clock:
    """TPMS_CLOCK_INFO: milliseconds powered on, and how often the TPM was reset and resumed."""

    clock: int
    reset_count: int
    restart_count: int
    safe: bool

    @classmethod
    def read(cls, reader: Reader) -> Clock:
        """The next 17 bytes."""
        clock, resets, restarts, safe = reader.u64(), reader.u32(), reader.u32(), reader.u8()
        if safe > 1:
            raise EvidenceInvalid("a TPM truth value is 0 or 1")
        return cls(clock, resets, restarts, bool(safe))

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        return (
            u64(self.clock) + u32(self.reset_count) + u32(self.restart_count) + u8(int(self.safe))
        )


@dataclass(frozen=True, slots=True)
class Quoted:
    """TPMS_QUOTE_INFO: which registers, and the hash over their values."""

    selections: tuple[PcrSelection, ...]
    pcr_digest: bytes

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        return write_selections(self.selections) + sized(self.pcr_digest)


@dataclass(frozen=True, slots=True)
class Certified:
    """TPMS_CERTIFY_INFO: an object that is loaded in the TPM that states this."""

    name: bytes
    qualified_name: bytes

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        return sized(self.name) + sized(self.qualified_name)


@dataclass(frozen=True, slots=True)
class Created:
    """TPMS_CREATION_INFO: an object that this TPM made, and the hash of its creation data."""

    name: bytes
    creation_hash: bytes

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        return sized(self.name) + sized(self.creation_hash)


@dataclass(frozen=True, slots=True)
class Timed:
    """TPMS_TIME_ATTEST_INFO: ``TPM2_GetTime``."""

    time: int
    clock: Clock
    firmware: int

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        return u64(self.time) + self.clock.to_bytes() + u64(self.firmware)


@dataclass(frozen=True, slots=True)
class NvStated:
    """TPMS_NV_CERTIFY_INFO: the contents of an NV index."""

    index_name: bytes
    offset: int
    contents: bytes

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        return sized(self.index_name) + u16(self.offset) + sized(self.contents)


Statement = Quoted | Certified | Created | Timed | NvStated
_TYPES: Mapping[type, AttestType] = {
    Quoted: AttestType.QUOTE,
    Certified: AttestType.CERTIFY,
    Created: AttestType.CREATION,
    Timed: AttestType.TIME,
    NvStated: AttestType.NV,
}


@dataclass(frozen=True, slots=True)
class Attest:
    """TPMS_ATTEST. Clock and firmware are the true ones only for an endorsement-hierarchy signer;

    for a signer of the owner hierarchy the TPM obfuscates resetCount, restartCount and firmware.
    """

    signer: bytes
    extra: bytes
    clock: Clock
    firmware: int
    statement: Statement

    @classmethod
    def from_bytes(cls, data: bytes) -> Attest:
        """The statement in ``data``; ``EvidenceInvalid`` for anything else."""
        reader = Reader(data)
        if reader.u32() != ATTEST_MAGIC:
            raise EvidenceInvalid("no statement of a TPM")
        kind = reader.u16()
        signer, extra = reader.sized(_NAME_BYTES), reader.sized(_EXTRA_BYTES)
        clock, firmware = Clock.read(reader), reader.u64()
        statement = _statement(kind, reader)
        reader.end()
        return cls(signer, extra, clock, firmware, statement)

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        head = u32(ATTEST_MAGIC) + u16(_TYPES[type(self.statement)])
        head += sized(self.signer) + sized(self.extra) + self.clock.to_bytes()
        return head + u64(self.firmware) + self.statement.to_bytes()


@dataclass(frozen=True, slots=True)
class Signature:
    """TPMT_SIGNATURE: ``r`` and ``s`` for ECDSA, ``r`` alone for RSA."""

    alg: int
    hash: int
    r: bytes
    s: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Signature:
        """The signature in ``data``; ``EvidenceInvalid`` for anything else."""
        reader = Reader(data)
        found = cls.read(reader)
        reader.end()
        return found

    @classmethod
    def read(cls, reader: Reader) -> Signature:
        """The next signature."""
        alg, hashed = reader.u16(), reader.u16()
        if hashed not in _HASHES:
            raise EvidenceInvalid("a signature over a hash that is not used here")
        if alg == Alg.ECDSA:
            return cls(alg, hashed, reader.sized(66), reader.sized(66))
        if alg in (Alg.RSASSA, Alg.RSAPSS):
            return cls(alg, hashed, reader.sized(512))
        raise EvidenceInvalid("a signature of a kind that is not used here")

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        head = u16(self.alg) + u16(self.hash) + sized(self.r)
        return head + sized(self.s) if self.alg == Alg.ECDSA else head

    def jose(self, coordinate_bytes: int = 32) -> bytes:
        """ECDSA in JOSE form: r and s in full length."""
        if self.alg != Alg.ECDSA or max(len(self.r), len(self.s)) > coordinate_bytes:
            raise EvidenceInvalid("no ECDSA signature of this length")
        return self.r.rjust(coordinate_bytes, b"\0") + self.s.rjust(coordinate_bytes, b"\0")

    def verify(self, public: Any, data: bytes) -> None:
        """Returns when the signature holds over ``data``; ``EvidenceInvalid`` otherwise."""
        hashed = _HASHES[self.hash]()
        try:
            if self.alg == Alg.ECDSA and isinstance(public, ec.EllipticCurvePublicKey):
                r, s = int.from_bytes(self.r, "big"), int.from_bytes(self.s, "big")
                public.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashed))
                return
            if self.alg == Alg.RSASSA and isinstance(public, rsa.RSAPublicKey):
                public.verify(self.r, data, padding.PKCS1v15(), hashed)
                return
            if self.alg == Alg.RSAPSS and isinstance(public, rsa.RSAPublicKey):
                salt = padding.PSS(padding.MGF1(hashed), padding.PSS.AUTO)
                public.verify(self.r, data, salt, hashed)
                return
        except (InvalidSignature, ValueError):
            raise EvidenceInvalid("the TPM's signature does not hold") from None
        raise EvidenceInvalid("the TPM's signature is of another kind than its key")


def _statement(kind: int, reader: Reader) -> Statement:
    if kind == AttestType.QUOTE:
        return Quoted(read_selections(reader), reader.sized(64))
    if kind == AttestType.CERTIFY:
        return Certified(reader.sized(_NAME_BYTES), reader.sized(_NAME_BYTES))
    if kind == AttestType.CREATION:
        return Created(reader.sized(_NAME_BYTES), reader.sized(64))
    if kind == AttestType.TIME:
        return Timed(reader.u64(), Clock.read(reader), reader.u64())
    if kind == AttestType.NV:
        return NvStated(reader.sized(_NAME_BYTES), reader.u16(), reader.sized())
    raise EvidenceInvalid("a TPM statement of a kind that is not used here")
