"""Tokens of the server: sixteen steps (tokens.md, section 2), and the status list."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from . import claims as schemas
from . import signing
from .encoding import canonical_json, canonical_object, expect, refuse, strict_json, unb64u
from .trust import Key, KeyList

CAPS = dict.fromkeys(schemas.KINDS, 16384) | {"statuslist+jwt": 1 << 20}
_USE = {"license+jwt": "license", "statuslist+jwt": "status"}
_BAD, _FORM = "token_signature", "token_malformed"
_LIST_CAP = 4 << 20


@dataclass(frozen=True)
class _Part:
    alg: str
    kid: str
    typ: str
    message: bytes
    signature: str


def _split(token: str) -> tuple[str, list[tuple[str, str]]]:
    """Payload and pairs of header and signature, of either form."""
    if not token.startswith("{"):
        pieces = token.split(".")
        expect(len(pieces) == 3, _FORM, "not three parts")
        return pieces[1], [(pieces[0], pieces[2])]
    value = strict_json(token.encode(), _FORM)
    expect(canonical_json(value) == token.encode(), _FORM, "not canonical")
    expect(set(value) == {"payload", "signatures"}, _FORM, "members of the general form")
    rows = value["signatures"]
    expect(isinstance(rows, list) and 2 <= len(rows) <= 4, _FORM, "two to four signatures")
    for row in rows:
        members = isinstance(row, dict) and set(row) == {"protected", "signature"}
        expect(members, _FORM, "members of a signature")
    return value["payload"], [(row["protected"], row["signature"]) for row in rows]


def _header(encoded: str, payload: str, signature: str) -> _Part:
    data = unb64u(encoded, _FORM)
    expect(len(data) <= 1024, _FORM, "the header is too long")
    header = canonical_object(data, _FORM)
    expect(set(header) <= {"alg", "kid", "typ"}, "token_header", "a member more in the header")
    expect(isinstance(header.get("typ"), str), "token_type", "no typ")
    alg, kid = header.get("alg"), header.get("kid")
    known = isinstance(alg, str) and alg in signing.TYPES
    expect(known, "token_algorithm", "no algorithm of ours")
    expect(isinstance(kid, str), _FORM, "no kid")
    return _Part(str(alg), str(kid), header["typ"], f"{encoded}.{payload}".encode(), signature)


def _signed(parts: list[_Part], keys: list[Key]) -> None:
    by_kid = {key.kid: key for key in keys}
    seen: set[str] = set()
    for part in parts:
        expect(part.kid not in seen, _BAD, "a key signs twice")
        seen.add(part.kid)
        key = by_kid.get(part.kid)
        expect(key is None or key.alg == part.alg, "token_algorithm", "another algorithm")
    expect(seen == set(by_kid), _BAD, "not signed by exactly the set")
    for part in parts:
        key = by_kid[part.kid]
        good = signing.verify(part.alg, key.jwk, unb64u(part.signature, _FORM), part.message)
        expect(good, _BAD, "a signature does not hold")


def read(
    token: str, kind: str, trust: KeyList, received: int | None = None, *, held: bool = False
) -> dict[str, Any]:
    """The claims of a token of the server.

    `received` is the time of arrival, for what was just received: its keys have not ended. A lease
    that is `held` already is over at the end of its keys.
    """
    expect(len(token) <= CAPS[kind], "token_too_large", "too long")
    expect(token.isascii(), _FORM, "not ASCII")
    payload, rows = _split(token)
    for _, signature in rows:
        unb64u(signature, _FORM)
    parts = [_header(encoded, payload, signature) for encoded, signature in rows]
    expect({part.typ for part in parts} == {kind}, "token_type", f"not a {kind}")
    claims = canonical_object(unb64u(payload, _FORM), _FORM)
    issued = claims.get("iat")
    expect(schemas.date(issued), "token_claims", "iat")
    use = _USE.get(kind, "lease")
    keys = trust.set_of(parts[0].kid, use, int(str(issued)))
    expect(keys, "token_key_unknown", "no listed key that was valid then")
    _signed(parts, keys)
    claims = schemas.check(kind, claims)
    ends = [key.not_after for key in keys if key.not_after is not None]
    if held and kind == "lease+jwt":
        claims["exp"] = min([claims["exp"], *ends])
        claims["renew_after_at"] = min(claims["renew_after_at"], claims["exp"])
    elif kind in ("lease+jwt", "release+jwt", "statuslist+jwt"):
        last = claims["exp"] - 1
        expect(all(last < end for end in ends), "token_key_unknown", "outlives its key")
    if received is not None:
        received = max(received, int(str(issued)))
        expect(all(received < end for end in ends), "token_key_unknown", "its key has ended")
    expect(claims["iss"] == trust.server_id, "token_issuer", "another server")
    for name in ("aud", "product"):
        expect(claims.get(name, trust.product) == trust.product, "token_audience", name)
    return claims


class StatusList:
    """A verified status list."""

    def __init__(self, claims: dict[str, Any]) -> None:
        self.claims = claims
        bad = "token_claims"
        stream = zlib.decompressobj()
        try:
            data = stream.decompress(unb64u(claims["status_list"]["lst"], bad), _LIST_CAP + 1)
        except zlib.error:
            refuse(bad, "no zlib stream")
        whole = stream.eof and not stream.unused_data and len(data) <= _LIST_CAP
        expect(whole, bad, "cut, too large or followed by something")
        self._entries = data

    def entry(self, index: int) -> int | None:
        """0 valid, 1 revoked, 2 suspended, 3 ended; None beyond the list."""
        if index // 4 >= len(self._entries):
            return None
        return self._entries[index // 4] >> 2 * (index % 4) & 3
