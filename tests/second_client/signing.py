"""Public keys as JWK, their thumbprints, and signatures of the four algorithms."""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from .encoding import b64u, canonical_json, unb64u

MEMBERS = {
    "OKP": ("crv", "kty", "x"),
    "EC": ("crv", "kty", "x", "y"),
    "RSA": ("e", "kty", "n"),
    "AKP": ("alg", "kty", "pub"),
}
TYPES = {"Ed25519": "OKP", "ES256": "EC", "RS256": "RSA", "ML-DSA-65": "AKP"}
_BAD = "token_malformed"


def thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638, over the required members of the key's type."""
    return b64u(hashlib.sha256(canonical_json(jwk)).digest())


def well_formed(jwk: object) -> bool:
    """Whether these are exactly the required members of a type, as texts."""
    if not isinstance(jwk, dict) or not all(isinstance(v, str) for v in jwk.values()):
        return False
    return tuple(sorted(jwk)) == MEMBERS.get(jwk.get("kty", ""))


def verify(alg: str, jwk: dict[str, Any], signature: bytes, message: bytes) -> bool:
    """Whether the signature holds under this key and this algorithm."""
    if jwk["kty"] != TYPES.get(alg):
        return False
    try:
        _verify(alg, jwk, signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _verify(alg: str, jwk: dict[str, Any], signature: bytes, message: bytes) -> None:
    def member(name: str) -> bytes:
        return unb64u(jwk[name], _BAD)

    def number(name: str) -> int:
        return int.from_bytes(member(name), "big")

    if alg == "Ed25519":
        Ed25519PublicKey.from_public_bytes(member("x")).verify(signature, message)
    elif alg == "ML-DSA-65":
        MLDSA65PublicKey.from_public_bytes(member("pub")).verify(signature, message)
    elif alg == "ES256":
        if len(signature) != 64:
            raise InvalidSignature
        der = encode_dss_signature(
            int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        )
        point = ec.EllipticCurvePublicNumbers(number("x"), number("y"), ec.SECP256R1())
        point.public_key().verify(der, message, ec.ECDSA(SHA256()))
    else:
        key = rsa.RSAPublicNumbers(number("e"), number("n")).public_key()
        if not 2048 <= key.key_size <= 8192 or number("e") != 65537:
            raise InvalidSignature
        key.verify(signature, message, padding.PKCS1v15(), SHA256())


class DeviceKey:
    """The device's own Ed25519 signing key."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        public = private.public_key().public_bytes_raw()
        self.jwk = {"crv": "Ed25519", "kty": "OKP", "x": b64u(public)}
        self.kid = thumbprint(self.jwk)

    def token(self, claims: dict[str, Any]) -> str:
        """A `request+jwt` with these claims."""
        header = {"alg": "Ed25519", "kid": self.kid, "typ": "request+jwt"}
        head = b64u(canonical_json(header)) + "." + b64u(canonical_json(claims))
        return head + "." + b64u(self._private.sign(head.encode()))
