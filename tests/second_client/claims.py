"""The closed schemas of what a server signs (tokens.md, sections 3 to 9)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .encoding import expect

_BAD = "token_claims"
_DATE, _COUNT = 253402300799, 2**53 - 1
Check = Callable[[Any], bool]
Schema = dict[str, tuple[Check, str]]


def text(least: int, most: int) -> Check:
    """A text of so many characters."""
    return lambda value: isinstance(value, str) and least <= len(value) <= most


def whole(least: int, most: int) -> Check:
    """An integer, not a boolean."""
    return lambda value: type(value) is int and least <= value <= most


def one_of(*values: object) -> Check:
    """One of these, of the same type."""
    return lambda value: any(type(value) is type(v) and value == v for v in values)


def listing(inner: Check) -> Check:
    """A list of things."""
    return lambda value: isinstance(value, list) and all(inner(member) for member in value)


def schema(members: Schema) -> Check:
    """A closed object: what must be there is, and nothing else; null where absence has no value."""

    def check(value: Any) -> bool:
        if not isinstance(value, dict) or not set(value) <= set(members):
            return False
        for name, (inner, absent) in members.items():
            if name not in value:
                if absent == "refused":
                    return False
            elif value[name] is None:
                if absent != "none":
                    return False
            elif not inner(value[name]):
                return False
        return True

    return check


def thumb(value: Any) -> bool:
    """Forty-three characters base64url."""
    return isinstance(value, str) and bool(re.fullmatch(r"[A-Za-z0-9_-]{43}", value))


def _flag(value: Any) -> bool:
    return type(value) is bool


def _params(value: Any) -> bool:
    def scalar(member: Any) -> bool:
        return isinstance(member, str) or count(member)

    def named(part: Any) -> bool:
        return isinstance(part, dict) and all(scalar(inner) for inner in part.values())

    def member(part: Any) -> bool:
        if isinstance(part, list):
            return all(isinstance(inner, str) or named(inner) for inner in part)
        return scalar(part)

    return (
        isinstance(value, dict)
        and len(value) <= 32
        and all(1 <= len(name) <= 64 and member(part) for name, part in value.items())
    )


def _releases(value: Any) -> bool:
    named = isinstance(value, dict) and len(value) <= 256
    return named and all(1 <= len(name) <= 128 and count(part) for name, part in value.items())


date, count, level = whole(0, _DATE), whole(0, _COUNT), whole(0, 5)
_name, _id, _path = text(1, 64), text(1, 128), text(0, 512)


def _must(**members: Check) -> Schema:
    return {name: (check, "refused") for name, check in members.items()}


def _may(**members: Check) -> Schema:
    return {name: (check, "none") for name, check in members.items()}


def _defaults(**members: Check) -> Schema:
    return {name: (check, "default") for name, check in members.items()}


_cnf = schema(_must(jkt=thumb))
_ent = listing(schema(_must(id=_name) | _may(exp=date) | _defaults(min_level=level)))
_status = schema(_must(idx=count, uri=_path))
_any: Check = text(0, 1 << 20)
_keys = listing(schema(_must(recipient=thumb, suite=_name, level=level, ct=_any)))
_bundle = schema(_must(digest=thumb))
_kinds: Check = lambda value: listing(_name)(value) and 1 <= len(value) <= 16  # noqa: E731
_attested = schema(_must(transcript=thumb, result=thumb, kinds=_kinds))
_eula = schema(_must(digest=thumb) | _may(uri=_path))
_list = schema(_must(bits=one_of(2), lst=_any))

KINDS: dict[str, Check] = {
    "license+jwt": schema(
        _must(iss=_id, aud=_name, sub=_id, jti=_id, iat=date, nbf=date, exp=date)
        | _must(product=_name, plan=_name, pv=count, ent=_ent, cnf=_cnf)
        | _must(lease_max_seconds=count, status=_status)
        | _may(eula=_eula)
        | _defaults(channels=listing(_name), on_expiry=one_of("stop_new", "stop_now"))
        | _defaults(memory=one_of("none", "locked", "secret"), min_releases=_releases)
    ),
    "lease+jwt": schema(
        _must(iss=_id, aud=_name, sub=_id, lic=_id, product=_name, pv=count, jti=_id)
        | _must(iat=date, nbf=date, exp=date, renew_after_at=date, seq=count)
        | _must(request_nonce=thumb, cnf=_cnf, ent=_ent, keys=_keys, level=level)
        | _must(enforcement=one_of("hardware", "online", "software"), status=_status)
        | _may(prev=_id, bundle=_bundle)
        | _defaults(bound=_flag)
    ),
    "denial+jwt": schema(
        _must(iss=_id, aud=_name, sub=_id, product=_name, jti=_id, iat=date, seq=count)
        | _must(request_nonce=thumb, cnf=_cnf, code=_name, state=_name, erase=_flag)
        | _must(reference=text(8, 8))
        | _may(lic=_id, prev=_id)
        | _defaults(params=_params)
    ),
    "release+jwt": schema(
        _must(iss=_id, aud=_name, sub=_id, lic=_id, product=_name, jti=_id, iat=date)
        | _must(exp=date, lease=_id, seq=count, request_nonce=thumb, cnf=_cnf)
        | _must(keys=_keys, level=level)
        | _may(bundle=_bundle, attested=_attested)
    ),
    "statuslist+jwt": schema(
        _must(iss=_id, sub=_path, iat=date, exp=date, ttl=count, number=count)
        | _must(status_list=_list)
    ),
}
_YEAR = 400 * 86400


def check(kind: str, claims: dict[str, Any]) -> dict[str, Any]:
    """The claims without nulls, after schema and rules of their kind (`token_claims`)."""
    expect(KINDS[kind](claims), _BAD, f"not the claims of a {kind}")
    kept = {name: value for name, value in claims.items() if value is not None}
    expect(kept["iat"] < kept.get("exp", _DATE + 1), _BAD, "ends before it begins")
    if kind == "lease+jwt":
        issued, end = kept["iat"], kept["exp"]
        expect(issued < end <= issued + _YEAR, _BAD, "a lease's life")
        expect(issued <= kept["renew_after_at"] <= end, _BAD, "renew_after_at")
    if kind in ("lease+jwt", "release+jwt"):
        expect(len(kept["keys"]) <= 64, _BAD, "too many keys")
    if kind == "lease+jwt":
        highest = max((entry["level"] for entry in kept["keys"]), default=0)
        expect(highest <= kept["level"], _BAD, "a key above the lease's level")
    return kept
