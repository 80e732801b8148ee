"""Signing and reading every token. ``read`` undoes ``sign`` for the right trust, product and kind.

Normative: ``docs/spec/tokens.md``. Order of checks: size, strict parse, header, kind, key in the
pinned trust and its one algorithm, signatures, schema, issuer, audience. Whether a token has
expired is not judged here: ``decide`` does that, for client and server alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec

from modelseal import strict_json
from modelseal.crypto.signing import Signer, VerifyKey
from modelseal.errors import (
    TokenAlgorithm,
    TokenAudience,
    TokenClaims,
    TokenIssuer,
    TokenKeyUnknown,
    TokenMalformed,
    TokenSignature,
    TokenType,
)
from modelseal.license import _jws
from modelseal.license._jws import MAX_BYTES
from modelseal.license.claims import RequestClaims
from modelseal.strict_json import JsonInvalid, b64u
from modelseal.types import from_numeric

C = TypeVar("C", bound=msgspec.Struct)


class TrustView(Protocol):
    """What reading a token needs of the pinned trust."""

    @property
    def product(self) -> str:
        """The product, ``aud`` of what the server signs."""
        ...

    @property
    def server_id(self) -> str:
        """The server, ``iss`` of what it signs and ``aud`` of requests."""
        ...

    def verify_keys(self, use: Any, kid: str, at: datetime) -> tuple[VerifyKey, ...]:
        """The key ``kid`` valid at ``at`` with every other of its set; ``TokenKeyUnknown``."""
        ...


def sign(claims: msgspec.Struct, signers: Sequence[Signer]) -> str:
    """The token of ``claims``: compact for one signer, general JSON for the two of a hybrid set."""
    typ = _typ(type(claims))
    payload = b64u(strict_json.encode(msgspec.to_builtins(claims)))
    parts: list[tuple[str, str]] = []
    for signer in signers:
        protected = _jws.header(signer.alg, signer.kid, typ)
        value = b64u(signer.sign(f"{protected}.{payload}".encode("ascii")))
        parts.append((protected, value))
    if len(parts) == 1:
        protected, value = parts[0]
        return f"{protected}.{payload}.{value}"
    if len(parts) != _jws.MAX_SIGNATURES:
        raise TokenAlgorithm("a token has one signature, or the two of a hybrid set")
    signatures = [{"protected": p, "signature": v} for p, v in parts]
    return strict_json.encode({"payload": payload, "signatures": signatures}).decode("utf-8")


def read(token: str | bytes, cls: type[C], trust: TrustView, *, max_bytes: int = MAX_BYTES) -> C:
    """The claims of ``token``, signed by a key that ``trust`` lists for this kind of token.

    Raises a ``Token…`` error of the tree for everything else. Expiry is not judged.
    """
    parsed = _jws.parse(token, max_bytes)
    _check_typ(parsed, _typ(cls))
    issued_at = _issued_at(parsed.payload, max_bytes)
    keys = trust.verify_keys(getattr(cls, "USE"), parsed.signatures[0].kid, issued_at)  # noqa: B009
    _verify(parsed, keys)
    claims = _claims(parsed.payload, cls, max_bytes)
    if getattr(claims, "iss", None) != trust.server_id:
        raise TokenIssuer("signed by a trusted key, but by another server")
    for name in ("aud", "product"):
        if hasattr(claims, name) and getattr(claims, name) != trust.product:
            raise TokenAudience("for another product")
    return claims


def read_request(
    token: str | bytes, *, server_id: str, jwk: Mapping[str, object] | None = None
) -> RequestClaims:
    """What a device asks, proved by its signing key.

    ``jwk`` is the enrolled key; None takes the key from the request itself (activation, lookup,
    trial), which proves possession of that key and nothing more.
    """
    parsed = _jws.parse(token, MAX_BYTES)
    _check_typ(parsed, RequestClaims.TYP)
    if len(parsed.signatures) != 1:
        raise TokenMalformed("a request has one signature")
    claims = _claims(parsed.payload, RequestClaims, MAX_BYTES)
    key = VerifyKey.from_jwk(claims.jwk if jwk is None else jwk)
    if key.alg not in {"Ed25519", "ES256"}:
        raise TokenAlgorithm("a device key is Ed25519 or ES256")
    if parsed.signatures[0].kid != key.kid or claims.iss != key.kid:
        raise TokenKeyUnknown("signed by another key than the one it names")
    if jwk is not None and VerifyKey.from_jwk(claims.jwk).kid != key.kid:
        raise TokenKeyUnknown("names another key than the enrolled one")
    _verify(parsed, (key,))
    if claims.aud != server_id:
        raise TokenAudience("for another server")
    return claims


def peek_typ(token: str | bytes) -> str:
    """The unverified kind of ``token``, to choose a reader; never a reason to trust it."""
    return _jws.parse(token, _jws.MAX_STATUS_LIST_BYTES).typ


def _typ(cls: type) -> str:
    typ = getattr(cls, "TYP", None)
    if not isinstance(typ, str):
        raise TokenType("no kind of token")
    return typ


def _check_typ(parsed: _jws.Parsed, typ: str) -> None:
    if parsed.typ != typ:
        raise TokenType(f"a {typ} is needed here", needed=typ)


def _verify(parsed: _jws.Parsed, keys: Sequence[VerifyKey]) -> None:
    """Every key of the set must have signed, each by its own algorithm, and nobody else."""
    by_kid = {key.kid: key for key in keys}
    if set(by_kid) != {signature.kid for signature in parsed.signatures}:
        raise TokenSignature("signed by fewer or other keys than the trust demands")
    for signature in parsed.signatures:
        key = by_kid[signature.kid]
        if signature.alg != key.alg:
            raise TokenAlgorithm(f"the key signs by {key.alg} only")
        key.verify(signature.value, signature.signing_input)


def _issued_at(payload: bytes, max_bytes: int) -> datetime:
    """``iat``, read before the signature is checked, only to choose among the pinned keys."""
    try:
        body = strict_json.decode(payload, max_bytes=max_bytes)
    except JsonInvalid as error:
        raise TokenMalformed(error.detail) from None
    issued_at = body.get("iat") if isinstance(body, dict) else None
    if isinstance(issued_at, bool) or not isinstance(issued_at, int):
        raise TokenClaims("iat is missing or no whole number")
    if not 0 <= issued_at < 253402300800:
        raise TokenClaims("iat lies outside 1970 to 9999")
    return from_numeric(issued_at)


def _claims(payload: bytes, cls: type[C], max_bytes: int) -> C:
    try:
        body = strict_json.decode(payload, max_bytes=max_bytes)
        claims = msgspec.convert(body, cls, strict=True)
    except JsonInvalid as error:
        raise TokenMalformed(error.detail) from None
    except msgspec.ValidationError as error:
        raise TokenClaims(str(error).split(" - at ")[-1][:120]) from None
    if strict_json.encode(body) != payload:
        raise TokenMalformed("the payload is not the canonical JSON")
    return claims
