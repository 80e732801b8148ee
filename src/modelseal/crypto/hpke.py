"""HPKE base mode (RFC 9180) with MLKEM768_X25519, HKDF-SHA256 and AES-256-GCM.

``seal`` and ``open`` undo each other under the same ``info``; the library has no associated data,
so whatever must be bound stands in ``info``: deterministic CBOR of a label and named values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, Protocol

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

from modelseal import cbor
from modelseal.crypto import jwk as jwks
from modelseal.crypto.jwk import Jwk
from modelseal.errors import InvalidBytes, SealedKeyInvalid, TokenAlgorithm, TokenMalformed
from modelseal.strict_json import b64u

SUITE = "MLKEM768-X25519-HKDF-SHA256-A256GCM"
ENC_BYTES = 1120
OVERHEAD_BYTES = ENC_BYTES + 16
_MLKEM_PUBLIC_BYTES = 1184
_X25519_BYTES = 32
_MLKEM_SEED_BYTES = 64
_P25519 = 2**255 - 19
_ORDER_8 = 39382357235489614581723060781553021112529911719440698176882885853963445705823
_ORDER_8_TOO = 325606250916557431795983626356110631294008115727848805560023387167927233504
_SMALL_ORDER = frozenset({0, 1, _ORDER_8_TOO, _ORDER_8, _P25519 - 1, _P25519, _P25519 + 1})
"""Points that share no secret with anybody (RFC 7748, section 6.1): nothing is sealed to them."""
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)

InfoValue = str | int | bytes | None


def info(label: str, values: Mapping[str, InfoValue]) -> bytes:
    """The HPKE ``info`` for one purpose: every label and its values stand in ``docs/spec``."""
    return cbor.encode(["modelseal", label, dict(values)])


class KemOpener(Protocol):
    """Whatever can open what was sealed to its public key."""

    @property
    def kid(self) -> str:
        """The thumbprint of the public key."""
        ...

    def open(self, ciphertext: bytes, info: bytes) -> bytes:
        """The plaintext; ``SealedKeyInvalid`` when it was sealed to another key or ``info``."""
        ...


class KemPublicKey:
    """A public key data keys are sealed to."""

    __slots__ = ("_public", "jwk", "kid")

    def __init__(self, jwk: Mapping[str, object]) -> None:
        self.jwk: Jwk = jwks.check(jwk)
        if self.jwk.get("alg") != SUITE:
            raise TokenAlgorithm(f"the only suite here is {SUITE}")
        raw = jwks.member(self.jwk, "pub")
        if len(raw) != _MLKEM_PUBLIC_BYTES + _X25519_BYTES:
            raise TokenMalformed("a public key of this suite has 1216 bytes")
        point = int.from_bytes(raw[_MLKEM_PUBLIC_BYTES:], "little") % 2**255
        if point in _SMALL_ORDER:
            raise TokenMalformed("the JWK holds no valid KEM key")
        try:
            self._public = hpke.MLKEM768X25519PublicKey(
                mlkem.MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES]),
                x25519.X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:]),
            )
        except ValueError:
            raise TokenMalformed("the JWK holds no valid KEM key") from None
        self.kid = jwks.thumbprint_of(self.jwk)

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """``plaintext`` sealed to this key under ``info`` (1136 bytes longer)."""
        return _SUITE.encrypt(plaintext, self._public, info)


class KemPrivateKey:
    """A private KEM key in this process's memory. See ``KemOpener``."""

    __slots__ = ("_private", "_seed", "jwk", "kid")

    def __init__(self, raw: bytes) -> None:
        """The key of ``to_bytes``: 64 bytes ML-KEM seed, 32 bytes X25519."""
        if len(raw) != _MLKEM_SEED_BYTES + _X25519_BYTES:
            raise InvalidBytes("a KEM private key has 96 bytes")
        with memoryview(raw) as view:  # a slice of bytes would be one more copy
            kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(view[:_MLKEM_SEED_BYTES])
            ecdh = x25519.X25519PrivateKey.from_private_bytes(view[_MLKEM_SEED_BYTES:])
        self._private = hpke.MLKEM768X25519PrivateKey(kem, ecdh)
        self._seed = bytes(raw)
        pub = kem.public_key().public_bytes_raw() + ecdh.public_key().public_bytes_raw()
        self.jwk: Jwk = {"kty": "AKP", "alg": SUITE, "pub": b64u(pub)}
        self.kid = jwks.thumbprint(self.jwk)

    @classmethod
    def generate(cls) -> KemPrivateKey:
        """A fresh key from the operating system's randomness."""
        seed = mlkem.MLKEM768PrivateKey.generate().private_bytes_raw()
        return cls(seed + x25519.X25519PrivateKey.generate().private_bytes_raw())

    def to_bytes(self) -> bytes:
        """The 96 private bytes; the caller wraps them at once and never stores them so."""
        return self._seed

    def public_key(self) -> KemPublicKey:
        """The public half."""
        return KemPublicKey(self.jwk)

    def open(self, ciphertext: bytes, info: bytes) -> bytes:
        """The plaintext; ``SealedKeyInvalid`` when it was sealed to another key or ``info``."""
        if len(ciphertext) < OVERHEAD_BYTES:
            raise SealedKeyInvalid("shorter than any sealed key")
        try:
            return _SUITE.decrypt(ciphertext, self._private, info)
        except Exception:  # noqa: BLE001 - one answer for every way an opening can fail
            raise SealedKeyInvalid("sealed for another key or another purpose") from None

    def __repr__(self) -> str:
        return f"KemPrivateKey(kid={self.kid[:8]}…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key cannot be pickled or copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("a private key cannot be pickled or copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a private key cannot be pickled or copied")
