"""TPMT_PUBLIC: what a TPM object is, and its name (part 1, section 16; part 2, section 12.2).

``Public.from_bytes`` and ``to_bytes`` undo each other for every structure that is accepted. The
name covers every attribute: whoever trusts a name knows all that the TPM promises of the object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from modelseal.errors import EvidenceInvalid
from modelseal.tpm2.wire.codec import Reader, digest, sized, u16, u32
from modelseal.tpm2.wire.codes import DIGEST_BYTES, Alg, Attribute, Curve

MAX_PUBLIC_BYTES = 1024
_CURVES: dict[int, tuple[Any, int]] = {
    Curve.P256: (ec.SECP256R1, 32),
    Curve.P384: (ec.SECP384R1, 48),
    Curve.P521: (ec.SECP521R1, 66),
}


@dataclass(frozen=True, slots=True)
class Symmetric:
    """TPMT_SYM_DEF_OBJECT: the cipher under which a storage key protects its children."""

    bits: int
    alg: int = Alg.AES
    mode: int = Alg.CFB

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        return u16(self.alg) + u16(self.bits) + u16(self.mode)


@dataclass(frozen=True, slots=True)
class Scheme:
    """TPMT_*_SCHEME: one algorithm and its hash (None for the schemes without one)."""

    alg: int
    hash: int | None

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        return u16(self.alg) + (b"" if self.hash is None else u16(self.hash))


@dataclass(frozen=True, slots=True)
class Ecc:
    """Parameters and public point of an elliptic-curve key; empty coordinates in a template."""

    curve: int
    x: bytes = b""
    y: bytes = b""
    symmetric: Symmetric | None = None
    scheme: Scheme | None = None

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        head = _optional(self.symmetric) + _optional(self.scheme)
        return head + u16(self.curve) + u16(Alg.NULL) + sized(self.x) + sized(self.y)


@dataclass(frozen=True, slots=True)
class Rsa:
    """Parameters and modulus of an RSA key; an exponent of 0 means 65537."""

    bits: int
    n: bytes = b""
    exponent: int = 0
    symmetric: Symmetric | None = None
    scheme: Scheme | None = None

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        head = _optional(self.symmetric) + _optional(self.scheme)
        return head + u16(self.bits) + u32(self.exponent) + sized(self.n)


@dataclass(frozen=True, slots=True)
class KeyedHash:
    """A sealed secret (no scheme) or an HMAC key; ``unique`` is empty in a template."""

    unique: bytes = b""

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        return u16(Alg.NULL) + sized(self.unique)


@dataclass(frozen=True, slots=True)
class Public:
    """TPMT_PUBLIC."""

    attributes: Attribute
    body: Ecc | Rsa | KeyedHash
    policy: bytes = b""
    name_alg: int = Alg.SHA256

    @classmethod
    def from_bytes(cls, data: bytes) -> Public:
        """The object of ``data``; ``EvidenceInvalid`` for anything this module does not know."""
        if len(data) > MAX_PUBLIC_BYTES:
            raise EvidenceInvalid("a public area is longer than it may be")
        reader = Reader(data)
        kind, name_alg = reader.u16(), reader.u16()
        if name_alg not in DIGEST_BYTES:
            raise EvidenceInvalid("a name by a hash that is not used here")
        attributes = Attribute(reader.u32())
        policy = reader.sized(DIGEST_BYTES[name_alg])
        body = _body(kind, reader)
        reader.end()
        return cls(attributes, body, policy, name_alg)

    def to_bytes(self) -> bytes:
        """As the TPM writes it."""
        head = u16(self.kind) + u16(self.name_alg) + u32(int(self.attributes))
        return head + sized(self.policy) + self.body.to_bytes()

    @property
    def kind(self) -> Alg:
        """TPMI_ALG_PUBLIC."""
        kinds: dict[type, Alg] = {Ecc: Alg.ECC, Rsa: Alg.RSA, KeyedHash: Alg.KEYEDHASH}
        return kinds[type(self.body)]

    @property
    def name(self) -> bytes:
        """The hash algorithm and the hash over ``to_bytes``."""
        return u16(self.name_alg) + digest(self.name_alg, self.to_bytes())

    def has(self, wanted: Attribute) -> bool:
        """True when every attribute of ``wanted`` is set."""
        return self.attributes & wanted == wanted

    def public_key(self) -> Any:
        """The key as ``cryptography`` knows it; ``EvidenceInvalid`` when it is no valid one."""
        try:
            if isinstance(self.body, Ecc):
                return _ecc_key(self.body)
            if isinstance(self.body, Rsa):
                exponent = self.body.exponent or 65537
                n = int.from_bytes(self.body.n, "big")
                if exponent != 65537 or n.bit_length() != self.body.bits:
                    raise EvidenceInvalid("an RSA key with an unusual exponent or modulus")
                return rsa.RSAPublicNumbers(exponent, n).public_key()
        except (ValueError, KeyError):
            raise EvidenceInvalid("a public area holds no valid key") from None
        raise EvidenceInvalid("a sealed object has no public key")


def point_bytes(curve: int) -> int:
    """The length of one coordinate."""
    try:
        return _CURVES[curve][1]
    except KeyError:
        raise EvidenceInvalid("a curve that is not used here") from None


def _ecc_key(body: Ecc) -> ec.EllipticCurvePublicKey:
    curve, _length = _CURVES[body.curve]
    x, y = int.from_bytes(body.x, "big"), int.from_bytes(body.y, "big")
    return ec.EllipticCurvePublicNumbers(x, y, curve()).public_key()


def ecc_of(key: ec.EllipticCurvePublicKey) -> Ecc:
    """The point of ``key`` with coordinates of full length and no scheme."""
    for number, (curve, length) in _CURVES.items():
        if isinstance(key.curve, curve):
            at = key.public_numbers()
            return Ecc(number, at.x.to_bytes(length, "big"), at.y.to_bytes(length, "big"))
    raise EvidenceInvalid("a curve that is not used here")


def _optional(part: Symmetric | Scheme | None) -> bytes:
    return u16(Alg.NULL) if part is None else part.to_bytes()


def _body(kind: int, reader: Reader) -> Ecc | Rsa | KeyedHash:
    if kind == Alg.KEYEDHASH:
        if reader.u16() != Alg.NULL:
            raise EvidenceInvalid("a keyed hash with a scheme is not used here")
        return KeyedHash(reader.sized(64))
    if kind not in (Alg.ECC, Alg.RSA):
        raise EvidenceInvalid("an object of a kind that is not used here")
    symmetric, scheme = _read_symmetric(reader), _read_scheme(reader)
    if kind == Alg.RSA:
        bits, exponent = reader.u16(), reader.u32()
        return Rsa(bits, reader.sized(512), exponent, symmetric, scheme)
    curve = reader.u16()
    if curve not in _CURVES:
        raise EvidenceInvalid("a curve that is not used here")
    if reader.u16() != Alg.NULL:
        raise EvidenceInvalid("a key derivation scheme is not used here")
    return Ecc(curve, reader.sized(66), reader.sized(66), symmetric, scheme)


def _read_symmetric(reader: Reader) -> Symmetric | None:
    alg = reader.u16()
    if alg == Alg.NULL:
        return None
    bits, mode = reader.u16(), reader.u16()
    if alg != Alg.AES or mode != Alg.CFB or bits not in (128, 256):
        raise EvidenceInvalid("a cipher that is not used here")
    return Symmetric(bits)


def _read_scheme(reader: Reader) -> Scheme | None:
    alg = reader.u16()
    if alg == Alg.NULL:
        return None
    if alg == Alg.RSAES:
        return Scheme(alg, None)
    if alg not in (Alg.RSASSA, Alg.RSAPSS, Alg.OAEP, Alg.ECDSA, Alg.ECDH):
        raise EvidenceInvalid("a scheme that is not used here")
    found = reader.u16()
    if found not in DIGEST_BYTES:
        raise EvidenceInvalid("a hash that is not used here")
    return Scheme(alg, found)
