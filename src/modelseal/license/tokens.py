"""Signing and reading tokens. ``read(sign(claims, signers), type(claims), trust) == claims``. Pure.

The trust is pinned: no key, algorithm or address is ever taken from the token under verification,
but for a request that introduces its own key. Reading judges no ``exp``; ``decide`` does.
Normative: ``docs/spec/tokens.md``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar, get_args

import msgspec
from msgspec import Struct

from modelseal import strict_json
from modelseal.crypto.jwk import thumbprint
from modelseal.crypto.signing import Signer, VerifyKey
from modelseal.errors import (
    DelegationOver,
    Misuse,
    TokenAlgorithm,
    TokenAudience,
    TokenClaims,
    TokenIssuer,
    TokenKeyUnknown,
    TokenSignature,
    TokenTooLarge,
    TokenType,
)
from modelseal.license import delegation, jws
from modelseal.license.claims import (
    MAX_DELEGATION_BYTES,
    DelegationClaims,
    DenialClaims,
    LeaseClaims,
    LicenseClaims,
    ReleaseClaims,
    RequestClaims,
    StatusListClaims,
)
from modelseal.license.jws import Jws, Signature
from modelseal.license.plans import MAX_LEASE_SECONDS
from modelseal.types import from_numeric, to_numeric

MAX_BYTES = 16 * 1024
MAX_REQUEST_BYTES = 64 * 1024
MAX_AIR_GAP_BYTES = 256 * 1024
MAX_STATUS_LIST_BYTES = 1024 * 1024
DEVICE_ALGORITHMS = ("Ed25519", "ES256")
INTRODUCING = ("activate", "challenge", "lookup", "trial")

ServerClaims = (
    LicenseClaims | LeaseClaims | DenialClaims | ReleaseClaims | StatusListClaims | DelegationClaims
)
Claims = ServerClaims | RequestClaims
C = TypeVar(
    "C",
    LicenseClaims,
    LeaseClaims,
    DenialClaims,
    ReleaseClaims,
    StatusListClaims,
    DelegationClaims,
)

KINDS: dict[str, type[Any]] = {cls.TYP: cls for cls in get_args(Claims)}
"""The claims class of every ``typ``."""
_DELEGATED = frozenset({LicenseClaims, LeaseClaims})
"""What a relay may sign by a delegation."""


class TrustView(Protocol):
    """What reading a token asks of the pinned trust (``trust.Trust`` satisfies it)."""

    @property
    def product(self) -> str:
        """The one product the trust is for."""
        ...

    @property
    def server_id(self) -> str:
        """The one server whose tokens count."""
        ...

    def verify_keys(self, use: str, kid: str, at: datetime) -> tuple[VerifyKey, ...]:
        """The key ``kid`` for ``use``, valid at ``at``, and every other key of its set.

        All of them must have signed. Raises ``TokenKeyUnknown``.
        """
        ...


class EndingTrust(TrustView, Protocol):
    """A trust that also says when keys end."""

    def ends_at(self, use: str, kid: str) -> datetime | None:
        """When the first key of the set of ``kid`` ends; None when none does."""
        ...


def sign(claims: Claims, signers: Sequence[Signer]) -> str:
    """The token of ``claims``: compact with one signer, general JSON with several.

    Raises ``TokenClaims`` for claims that ``read`` would refuse and ``TokenTooLarge`` beyond the
    cap of their kind, so that nothing unreadable is ever signed.
    """
    payload = strict_json.encode_plain(claims)
    _check(_decoded(payload, type(claims)))
    token = jws.build_encoded(claims.TYP, payload, signers)
    limit = _limit(type(claims))
    if len(token) > limit:
        raise TokenTooLarge(f"would be longer than {limit} bytes", limit=limit)
    return token


def read(
    token: str | bytes,
    cls: type[C],
    trust: TrustView,
    *,
    max_bytes: int | None = None,
    now: datetime | None = None,
) -> C:
    """The claims of a token that the pinned server signed, or a relay by its delegation.

    In this order: size, strict form, closed header, ``typ``, ``iat``, the keys that the trust
    lists for this use at ``iat``, algorithm, every signature, schema, an end within the keys'
    validity, ``iss``, ``aud`` and ``product``. Where a license token or a lease carries a
    delegation, that is read first, and its key is the one that must have signed; the trust's keys
    are then those of the delegation. ``now`` is for an answer that was just received: its
    keys must not have ended by then. Raises the error of the first that fails, all
    ``InvalidBytes``.
    """
    claims, kid, by = _read(token, cls, trust, max_bytes)
    use = cls.USE if by is None else by.USE
    # A retired key could still write an old ``iat``; it can sign nothing that outlives it.
    if not isinstance(claims, (LicenseClaims, DenialClaims)):
        trust.verify_keys(use, kid, from_numeric(claims.exp - 1))
    if now is not None:
        at = max(from_numeric(claims.iat), now)
        trust.verify_keys(use, kid, at)
        if by is not None and at >= from_numeric(by.exp):
            raise DelegationOver("the relay's delegation has ended")
    return claims


def read_held(token: str | bytes, trust: EndingTrust) -> LeaseClaims:
    """The claims of a lease that a device holds already; it is over when its key ends.

    Its keys may have been ended since it was given out, at once after a theft: such a lease counts
    as one that ended then. Raises as ``read`` does.
    """
    claims, kid, _by = _read(token, LeaseClaims, trust, None)
    end = trust.ends_at(LeaseClaims.USE, kid)
    if end is None or claims.exp <= to_numeric(end):
        return claims
    exp = to_numeric(end)
    return msgspec.structs.replace(claims, exp=exp, renew_after_at=min(claims.renew_after_at, exp))


def signed_end(token: str | bytes) -> int:
    """``exp`` as it stands in a lease that was verified before; ``read_held`` may give less.

    What is sealed for a lease is sealed for this one.
    """
    parsed = jws.parse(token, max_bytes=_limit(LeaseClaims))
    claims: LeaseClaims = _convert(parsed.payload, LeaseClaims)
    return claims.exp


def _read(
    token: str | bytes, cls: type[C], trust: TrustView, max_bytes: int | None
) -> tuple[C, str, DelegationClaims | None]:
    """The verified claims, the first key's id, whatever the end of that key, and the delegation.

    Of what a relay signed the key is its delegation's.
    """
    if not hasattr(cls, "USE"):
        raise Misuse("a server signs no token of this kind")
    parsed = jws.parse(token, max_bytes=_limit(cls) if max_bytes is None else max_bytes)
    if parsed.typ != cls.TYP:
        raise TokenType(f"a {parsed.typ[:32]!r} where a {cls.TYP!r} is wanted", wanted=cls.TYP)
    issued_at = _issued_at(parsed)
    kid, by = parsed.signatures[0].kid, None
    carried = parsed.payload.get("delegation") if cls in _DELEGATED else None
    if carried is not None:
        by, kid = _delegation(carried, trust)
        _verify(parsed, (delegation.key_of(by),))
    else:
        _verify(parsed, trust.verify_keys(cls.USE, kid, issued_at))
    claims: C = _convert(parsed.payload, cls)
    _check(claims)
    if claims.iss != trust.server_id:
        raise TokenIssuer("signed by another server")
    if not isinstance(claims, StatusListClaims) and (claims.aud, claims.product) != (
        trust.product,
        trust.product,
    ):
        raise TokenAudience("made for another product")
    if by is not None and isinstance(claims, (LicenseClaims, LeaseClaims)):
        delegation.check(claims, by)
    return claims, kid, by


def read_delegation(token: str | bytes, trust: TrustView) -> tuple[DelegationClaims, str]:
    """The delegation in ``token`` and the id of the server's key that signed it; see ``read``."""
    claims, kid, _none = _read(token, DelegationClaims, trust, None)
    trust.verify_keys(DelegationClaims.USE, kid, from_numeric(claims.exp - 1))
    return claims, kid


def _delegation(token: object, trust: TrustView) -> tuple[DelegationClaims, str]:
    if not isinstance(token, str):
        raise TokenClaims("a delegation is a token")
    return read_delegation(token, trust)


def read_request(
    token: str | bytes,
    *,
    server_id: str,
    jwk: Mapping[str, object] | VerifyKey | None = None,
    max_bytes: int = MAX_REQUEST_BYTES,
    any_operation: bool = False,
) -> RequestClaims:
    """The claims of a request, whose signature proves possession of the device's signing key.

    ``jwk`` is the enrolled key. None takes the request's own, and only operations that introduce
    a device (``INTRODUCING``) may do that; ``any_operation`` lifts this for showing what a file
    is, where nothing is decided. Raises as ``read`` does; ``TokenAudience`` when the
    request is for another server, ``TokenKeyUnknown`` when it is signed by another device.
    """
    quick = jws.parse_as(token, RequestClaims.TYP, _decoder(RequestClaims), max_bytes=max_bytes)
    if quick is None:
        signature, payload = _parsed_request(token, max_bytes)
        own, op = payload.get("jwk"), payload.get("op")
    else:
        signature, known = quick
        own, op = known.jwk, known.op
    if jwk is None and not any_operation and op not in INTRODUCING:
        raise TokenKeyUnknown("this operation needs an enrolled device")
    if not isinstance(own, dict):
        raise TokenClaims("a request carries its public key")
    key = jwk if isinstance(jwk, VerifyKey) else VerifyKey.from_jwk(own if jwk is None else jwk)
    if key.alg not in DEVICE_ALGORITHMS:
        raise TokenAlgorithm("a device signs with Ed25519 or ES256")
    if signature.kid != key.kid:
        raise TokenKeyUnknown("signed by another device's key")
    _verify_one(signature, key)
    claims: RequestClaims = _convert(payload, RequestClaims) if quick is None else known
    if claims.iss != key.kid or (claims.jwk != key.jwk and thumbprint(claims.jwk) != key.kid):
        raise TokenIssuer("iss and jwk name another key than the one that signed")
    if claims.aud != server_id:
        raise TokenAudience("asked of another server")
    return claims


def _parsed_request(token: str | bytes, max_bytes: int) -> tuple[Signature, dict[str, Any]]:
    parsed = jws.parse(token, max_bytes=max_bytes)
    if parsed.typ != RequestClaims.TYP:
        raise TokenType(f"a {parsed.typ[:32]!r} where a request is wanted", wanted="request+jwt")
    if len(parsed.signatures) != 1:
        raise TokenSignature("a request has one signature")
    return parsed.signatures[0], parsed.payload


def peek_typ(token: str | bytes, *, max_bytes: int = MAX_STATUS_LIST_BYTES) -> str:
    """The ``typ`` a token claims to have; nothing is verified. For recognising a file only."""
    return jws.parse(token, max_bytes=max_bytes).typ


def _limit(cls: type[Any]) -> int:
    if cls is DelegationClaims:
        return MAX_DELEGATION_BYTES
    if cls is StatusListClaims:
        return MAX_STATUS_LIST_BYTES
    return MAX_AIR_GAP_BYTES if cls is RequestClaims else MAX_BYTES


def _issued_at(parsed: Jws) -> datetime:
    try:
        return from_numeric(parsed.payload["iat"])
    except (KeyError, Misuse):
        raise TokenClaims("iat is missing or no NumericDate") from None


def _verify(parsed: Jws, keys: tuple[VerifyKey, ...]) -> None:
    """Every key signed, nobody else did, each with its own algorithm."""
    wanted = {key.kid: key for key in keys}
    found = {item.kid: item for item in parsed.signatures}
    if len(found) != len(parsed.signatures):
        raise TokenSignature("a key signed twice")
    for kid, item in found.items():
        if kid in wanted:
            _check_algorithm(item, wanted[kid])
    if found.keys() != wanted.keys():
        raise TokenSignature("not signed by exactly the keys that the trust demands together")
    for kid, key in wanted.items():
        key.verify(found[kid].signature, found[kid].signing_input)


def _verify_one(item: Signature, key: VerifyKey) -> None:
    _check_algorithm(item, key)
    key.verify(item.signature, item.signing_input)


def _check_algorithm(item: Signature, key: VerifyKey) -> None:
    if item.alg != key.alg:
        raise TokenAlgorithm("the header names another algorithm than the key's")


@functools.cache
def _decoder(cls: type[Struct]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cls)


def _decoded(payload: bytes, cls: type[Struct]) -> Any:
    try:
        return _decoder(cls).decode(payload)
    except (msgspec.ValidationError, RecursionError) as error:
        raise TokenClaims(str(error)[:200]) from None


def _convert(payload: Any, cls: type[Any]) -> Any:
    try:
        return msgspec.convert(payload, cls, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise TokenClaims(str(error)[:200]) from None


def _check(claims: Any) -> None:
    """What a schema cannot say: spans that make sense and no lease beyond the longest."""
    if getattr(claims, "exp", claims.iat + 1) <= claims.iat:
        raise TokenClaims("exp lies before iat")
    if isinstance(claims, (LeaseClaims, ReleaseClaims)) and any(
        item.level > claims.level for item in claims.keys
    ):
        raise TokenClaims("keys for a higher level than was verified")
    if isinstance(claims, DelegationClaims):
        delegation.key_of(claims)
    if isinstance(claims, LeaseClaims):
        if claims.exp - claims.iat > MAX_LEASE_SECONDS:
            raise TokenClaims("a lease lives at most 400 days")
        if not claims.iat <= claims.renew_after_at <= claims.exp:
            raise TokenClaims("renew_after_at lies outside the lease")
