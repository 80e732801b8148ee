"""Public keys as JWK and their thumbprints (RFC 7517, RFC 7638, RFC 8037; AKP as in RFC 9964).

A thumbprint is the only key id modelseal knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from modelseal.errors import TokenMalformed
from modelseal.strict_json import JsonInvalid, b64u, encode_plain, unb64u

Jwk = dict[str, str]

_REQUIRED = {
    "OKP": ("crv", "kty", "x"),
    "EC": ("crv", "kty", "x", "y"),
    "RSA": ("e", "kty", "n"),
    "AKP": ("alg", "kty", "pub"),
}


def check(jwk: Mapping[str, object]) -> Jwk:
    """A copy of ``jwk`` with exactly the required members of its type; else ``TokenMalformed``."""
    kty = jwk.get("kty") if isinstance(jwk, Mapping) else None
    required = _REQUIRED.get(kty) if isinstance(kty, str) else None
    if required is None or len(jwk) != len(required) or not all(map(jwk.__contains__, required)):
        raise TokenMalformed("a JWK holds exactly the public members of its key type")
    out: Jwk = {}
    for name in required:
        value = jwk[name]
        if not isinstance(value, str) or len(value) > 8192:
            raise TokenMalformed("a JWK member is no short text")
        out[name] = value
    return out


def thumbprint(jwk: Mapping[str, object]) -> str:
    """base64url SHA-256 over the required members in canonical order (RFC 7638, section 3)."""
    return thumbprint_of(check(jwk))


def thumbprint_of(clean: Jwk) -> str:
    """The thumbprint of what ``check`` gave."""
    return b64u(hashlib.sha256(encode_plain(clean)).digest())


def member(jwk: Jwk, name: str) -> bytes:
    """The bytes of one base64url member; ``TokenMalformed`` when it is missing or odd."""
    try:
        return unb64u(jwk[name])
    except (KeyError, JsonInvalid):
        raise TokenMalformed(f"JWK member {name} is missing or not base64url") from None
