"""Signing keys and verify keys: one algorithm per key, named as in JOSE.

``verify`` raises and never returns a bool. Private keys are handles that refuse copying and
pickling and show nothing when printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from msgspec import Struct

from modelseal.crypto import jwk as jwks
from modelseal.crypto.jwk import Jwk
from modelseal.errors import InvalidBytes, TokenAlgorithm, TokenMalformed, TokenSignature
from modelseal.strict_json import b64u

ALGORITHMS = ("Ed25519", "ES256", "RS256", "ML-DSA-65")
_P256_BYTES = 32
_RSA_BITS = 3072


class Signer(Protocol):
    """Whatever can sign: a key here, in a TPM or in an HSM."""

    @property
    def alg(self) -> str:
        """One of ``ALGORITHMS``."""
        ...

    @property
    def jwk(self) -> Jwk:
        """The public key."""
        ...

    @property
    def kid(self) -> str:
        """Its RFC 7638 thumbprint."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data`` in JOSE form (ES256: r and s, 32 bytes each)."""
        ...


class VerifyKey(Struct, frozen=True):
    """A public key with the one algorithm it may be used for."""

    alg: str
    jwk: Jwk
    kid: str
    _public: Any

    @classmethod
    def from_jwk(cls, members: Mapping[str, object], alg: str | None = None) -> VerifyKey:
        """The key of ``members``; ``TokenAlgorithm`` when it is not a key for ``alg``."""
        clean = jwks.check(members)
        found, public = _load_public(clean)
        if alg is not None and alg != found:
            raise TokenAlgorithm(f"the key is for {found}, not for {alg}")
        return cls(found, clean, jwks.thumbprint_of(clean), public)

    @classmethod
    def known(cls, jwk: Jwk, kid: str) -> VerifyKey:
        """The key of a JWK that was checked when it was stored beside its thumbprint ``kid``."""
        found, public = _load_public(jwk)
        return cls(found, jwk, kid, public)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Returns when ``signature`` holds over ``data``; raises ``TokenSignature`` otherwise."""
        try:
            _verify(self.alg, self._public, signature, data)
        except (InvalidSignature, ValueError):
            raise TokenSignature("the signature does not hold") from None


class SigningKey:
    """A private key in this process's memory, for one algorithm. See ``Signer``."""

    __slots__ = ("_private", "alg", "jwk", "kid")

    def __init__(self, alg: str, private: Any) -> None:
        self.alg = alg
        self._private = private
        self.jwk = _public_jwk(alg, private.public_key())
        self.kid = jwks.thumbprint(self.jwk)

    @classmethod
    def generate(cls, alg: str = "Ed25519") -> SigningKey:
        """A fresh key from the operating system's randomness."""
        if alg == "Ed25519":
            return cls(alg, ed25519.Ed25519PrivateKey.generate())
        if alg == "ES256":
            return cls(alg, ec.generate_private_key(ec.SECP256R1()))
        if alg == "RS256":
            return cls(alg, rsa.generate_private_key(65537, _RSA_BITS))
        if alg == "ML-DSA-65":
            return cls(alg, mldsa.MLDSA65PrivateKey.generate())
        raise TokenAlgorithm(f"unknown algorithm, choose one of {', '.join(ALGORITHMS)}")

    @classmethod
    def from_pkcs8(cls, der: bytes) -> SigningKey:
        """The key that ``to_pkcs8`` wrote; ``InvalidBytes`` for anything else."""
        try:
            private: Any = load_der_private_key(bytes(der), None)
        except Exception:  # noqa: BLE001 - whatever the parser says, the bytes are no key
            raise InvalidBytes("not a PKCS#8 private key") from None
        kinds: tuple[tuple[Any, str], ...] = (
            (ed25519.Ed25519PrivateKey, "Ed25519"),
            (ec.EllipticCurvePrivateKey, "ES256"),
            (rsa.RSAPrivateKey, "RS256"),
            (mldsa.MLDSA65PrivateKey, "ML-DSA-65"),
        )
        for kind, alg in kinds:
            if isinstance(private, kind):
                return cls(alg, private)
        raise InvalidBytes("a private key of an unknown kind")

    def to_pkcs8(self) -> bytes:
        """The private key, unencrypted DER; the caller wraps it at once and never stores it so."""
        data: bytes = self._private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return data

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data`` in JOSE form."""
        if self.alg == "ES256":
            r, s = decode_dss_signature(self._private.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")
        if self.alg == "RS256":
            signature: bytes = self._private.sign(data, padding.PKCS1v15(), hashes.SHA256())
            return signature
        plain: bytes = self._private.sign(data)
        return plain

    def verify_key(self) -> VerifyKey:
        """The public half."""
        return VerifyKey.from_jwk(self.jwk, self.alg)

    def __repr__(self) -> str:
        return f"SigningKey({self.alg}, kid={self.kid[:8]}…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key cannot be pickled or copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("a signing key cannot be pickled or copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a signing key cannot be pickled or copied")


def _public_jwk(alg: str, public: Any) -> Jwk:
    if alg == "Ed25519":
        return {"kty": "OKP", "crv": "Ed25519", "x": b64u(public.public_bytes_raw())}
    if alg == "ML-DSA-65":
        return {"kty": "AKP", "alg": "ML-DSA-65", "pub": b64u(public.public_bytes_raw())}
    numbers = public.public_numbers()
    if alg == "ES256":
        if not isinstance(public.curve, ec.SECP256R1):
            raise TokenAlgorithm("ES256 keys lie on P-256")
        x, y = (n.to_bytes(_P256_BYTES, "big") for n in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": b64u(x), "y": b64u(y)}
    n = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    return {"kty": "RSA", "n": b64u(n), "e": b64u(numbers.e.to_bytes(3, "big"))}


def _load_public(jwk: Jwk) -> tuple[str, Any]:
    try:
        if jwk["kty"] == "OKP" and jwk["crv"] == "Ed25519":
            raw = jwks.member(jwk, "x")
            return "Ed25519", ed25519.Ed25519PublicKey.from_public_bytes(raw)
        if jwk["kty"] == "AKP" and jwk["alg"] == "ML-DSA-65":
            raw = jwks.member(jwk, "pub")
            return "ML-DSA-65", mldsa.MLDSA65PublicKey.from_public_bytes(raw)
        if jwk["kty"] == "EC" and jwk["crv"] == "P-256":
            return "ES256", _load_p256(jwk)
        if jwk["kty"] == "RSA":
            return "RS256", _load_rsa(jwk)
    except ValueError:
        raise TokenMalformed("the JWK holds no valid public key") from None
    raise TokenAlgorithm("a key type that no algorithm here uses")


def _load_p256(jwk: Jwk) -> Any:
    x, y = jwks.member(jwk, "x"), jwks.member(jwk, "y")
    if len(x) != _P256_BYTES or len(y) != _P256_BYTES:
        raise TokenMalformed("a P-256 coordinate has 32 bytes")
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
    )
    return numbers.public_key()


def _load_rsa(jwk: Jwk) -> Any:
    n = int.from_bytes(jwks.member(jwk, "n"), "big")
    e = int.from_bytes(jwks.member(jwk, "e"), "big")
    if not 2048 <= n.bit_length() <= 8192 or e != 65537:
        raise TokenMalformed("an RSA key has 2048 to 8192 bits and the exponent 65537")
    return rsa.RSAPublicNumbers(e, n).public_key()


def _verify(alg: str, public: Any, signature: bytes, data: bytes) -> None:
    if alg == "ES256":
        if len(signature) != 2 * _P256_BYTES:
            raise InvalidSignature
        r = int.from_bytes(signature[:_P256_BYTES], "big")
        s = int.from_bytes(signature[_P256_BYTES:], "big")
        public.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    elif alg == "RS256":
        public.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    else:
        public.verify(signature, data)
