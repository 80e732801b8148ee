"""An ID token of the pinned provider: bytes, keys and now in; who signed in, or one refusal, out.

OpenID Connect Core 1.0, section 3.1.3.7, with everything optional there decided. Pure.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelseal import strict_json
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import (
    InvalidBytes,
    SignInAlgorithm,
    SignInAudience,
    SignInExpired,
    SignInIssuer,
    SignInKeyUnknown,
    SignInMalformed,
    SignInNonce,
    SignInSignature,
    TokenAlgorithm,
    TokenSignature,
)
from modelseal.strict_json import JsonInvalid, unb64u

ALGORITHMS = {"RS256": "RS256", "ES256": "ES256", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}
"""What a token may be signed with, and what that is called here."""
MAX_BYTES = 16 * 1024
MAX_KEYS = 64
SKEW_SECONDS = 60
FRESH_SECONDS = 600
_MEMBERS = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}
_NEVER = ("crit", "jwk", "jku", "x5c", "x5u", "b64", "enc", "zip")


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """One signing key of the provider's set."""

    kid: str | None
    alg: str
    key: VerifyKey


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say. ``nonce`` None: the token came by a device grant and names none."""

    issuer: str
    audience: str
    client_id: str
    algorithms: Sequence[str]
    nonce: str | None


@dataclass(frozen=True, slots=True)
class Parts:
    """A token in its parts. Nothing in it is verified."""

    alg: str
    kid: str | None
    claims: Mapping[str, Any]
    signing_input: bytes
    signature: bytes


def keys_of(document: bytes) -> list[ProviderKey]:
    """The usable signing keys of a JWK set; others in it are passed over.

    Raises ``JsonInvalid`` for what is no JWK set.
    """
    found = strict_json.decode(document, max_bytes=len(document))
    members = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(members, list) or len(members) > MAX_KEYS:
        raise JsonInvalid("no JWK set")
    return list(_usable(members))


def _usable(members: Sequence[object]) -> Iterator[ProviderKey]:
    for member in members:
        if not isinstance(member, dict) or member.get("use", "sig") != "sig":
            continue
        names = _MEMBERS.get(str(member.get("kty")), ())
        kid = member.get("kid")
        try:
            key = VerifyKey.from_jwk({name: member[name] for name in names})
        except (KeyError, InvalidBytes):
            continue
        named = member.get("alg")
        if named is None or ALGORITHMS.get(str(named)) == key.alg:
            yield ProviderKey(kid if isinstance(kid, str) else None, key.alg, key)


def parse(token: str, algorithms: Sequence[str]) -> Parts:
    """The parts of ``token``; ``SignInMalformed``, ``SignInAlgorithm``."""
    if len(token) > MAX_BYTES or not token.isascii():
        raise SignInMalformed("an ID token is ASCII of at most 16 KiB")
    parts = token.split(".")
    if len(parts) != 3:
        raise SignInMalformed("an ID token has three parts")
    header, claims = _object(parts[0], "header"), _object(parts[1], "claims")
    if header.get("alg") not in algorithms or header["alg"] not in ALGORITHMS:
        raise SignInAlgorithm("the token is not signed with an algorithm that is allowed")
    if header.get("typ", "JWT") not in ("JWT", "jwt"):
        raise SignInMalformed("the typ of the header is another kind of token's")
    odd = next((name for name in _NEVER if name in header), None)
    if odd is not None:
        raise SignInMalformed(f"the header holds {odd}")
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise SignInMalformed("kid is no text")
    return Parts(
        alg=ALGORITHMS[header["alg"]],
        kid=kid,
        claims=claims,
        signing_input=f"{parts[0]}.{parts[1]}".encode("ascii"),
        signature=_bytes(parts[2], "signature"),
    )


def key_for(parts: Parts, keys: Sequence[ProviderKey]) -> VerifyKey:
    """The key that the token names, or the only one when it names none; ``SignInKeyUnknown``."""
    fitting = [each for each in keys if parts.kid is None or each.kid == parts.kid]
    if len(fitting) != 1:
        raise SignInKeyUnknown("the provider has no such signing key")
    if fitting[0].alg != parts.alg:
        raise SignInAlgorithm("the key is for another algorithm")
    return fitting[0].key


def verify(parts: Parts, key: VerifyKey, expected: Expected, now: datetime) -> Mapping[str, Any]:
    """The claims, once everything holds; raises the ``SignIn…`` error of the first that fails."""
    # 1. the signature, before anything is believed
    try:
        key.verify(parts.signature, parts.signing_input)
    except (TokenSignature, TokenAlgorithm):
        raise SignInSignature("the signature does not hold") from None
    claims = parts.claims
    # 2. by the one issuer
    if claims.get("iss") != expected.issuer:
        raise SignInIssuer("another issuer made the token")
    # 3. for this client
    _check_audience(claims, expected)
    # 4. now
    _check_times(claims, now.timestamp())
    # 5. in answer to this question
    nonce = claims.get("nonce")
    if expected.nonce is None:
        if nonce is not None:
            raise SignInNonce("the token answers a question that was not shown")
    elif not isinstance(nonce, str) or not hmac.compare_digest(
        nonce.encode("utf-8", "replace"), expected.nonce.encode()
    ):
        raise SignInNonce("the token answers another question")
    # 6. about somebody
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise SignInMalformed("the token names nobody")
    return claims


def _check_audience(claims: Mapping[str, Any], expected: Expected) -> None:
    said = claims.get("aud")
    audiences = said if isinstance(said, list) else [said]
    if not all(isinstance(each, str) for each in audiences) or expected.audience not in audiences:
        raise SignInAudience("the token is for another client")
    party = claims.get("azp")
    if party is None and len(audiences) > 1:
        raise SignInAudience("a token for several names the party it was given to")
    if party is not None and party != expected.client_id:
        raise SignInAudience("the token was given to another client")


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    ends, made = _instant(claims, "exp"), _instant(claims, "iat")
    begins = _instant(claims, "nbf") if "nbf" in claims else made
    if now >= ends + SKEW_SECONDS or now >= made + FRESH_SECONDS + SKEW_SECONDS:
        raise SignInExpired("the token is over, or older than ten minutes")
    if max(made, begins) > now + SKEW_SECONDS:
        raise SignInExpired("the token is of the future")


def _instant(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise SignInMalformed(f"{name} is no whole number of seconds")
    return value


def _object(part: str, what: str) -> dict[str, Any]:
    try:
        found = strict_json.decode(unb64u(part), max_bytes=MAX_BYTES)
        if strict_json.has_nul(strict_json.encode(found).decode("utf-8")):
            raise SignInMalformed(f"{what}: a text holds NUL")  # which no database stores
    except JsonInvalid as error:
        raise SignInMalformed(f"{what}: {error.detail}") from None
    except UnicodeEncodeError:
        raise SignInMalformed(f"{what}: no valid Unicode") from None
    if not isinstance(found, dict):
        raise SignInMalformed(f"{what}: no JSON object")
    return found


def _bytes(part: str, what: str) -> bytes:
    try:
        return unb64u(part)
    except JsonInvalid as error:
        raise SignInMalformed(f"{what}: {error.detail}") from None
