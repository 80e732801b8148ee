"""Tokens that a held-out forger would think of: every claim, header member and spelling, changed.

``claims`` and ``headers`` give truly signed tokens, as a careless issuer or a thief of nothing but
patience might make them; ``spellings`` write one good token in another way. Each comes with a name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.license.world import raw_token

from modelseal.crypto.signing import SigningKey
from modelseal.strict_json import encode

Case = tuple[str, str]

ODD_VALUES: dict[str, Any] = {
    "null": None, "true": True, "false": False, "zero": 0, "minus one": -1, "two": 2,
    "2^53": 2**53, "2^63": 2**63, "2^64": 2**64, "10^400": 10**400, "a half": 0.5, "1e300": 1e300,
    "NaN": float("nan"), "empty text": "", "a space": " ", "a number as text": "1",
    "a NUL": "\0", "10,000 letters": "a" * 10_000, "right to left": "\u202efacefusion",
    "zero width": "face\u200bfusion", "full width": "\uff46ace",
    "combining": "facefusio\u0308n",
    "a private character": "\U0010ffff", "cyrillic": "f\u0430ce",
    "a list": [], "a list in it": [[]],
    "a list of one": ["facefusion"], "an object": {}, "an object with more": {"id": 1},
    "30 deep": json.loads("[" * 30 + "]" * 30), "100 deep": json.loads("[" * 100 + "]" * 100),
    "ten thousand": list(range(3000)), "__proto__": {"__proto__": {"admin": True}},
}  # fmt: skip


def claims(head: dict[str, Any], body: dict[str, Any], key: SigningKey) -> Iterator[Case]:
    """Every claim, also those inside others, removed, doubled, renamed and of every odd value."""
    for path in _paths(body):
        shown = ".".join(map(str, path))
        yield f"{shown} removed", raw_token(head, _changed(body, path, ...), key)
        for name, value in ODD_VALUES.items():
            if value != _at(body, path) or type(value) is not type(_at(body, path)):
                yield f"{shown} {name}", raw_token(head, _changed(body, path, value), key)
    text = encode(body)
    for name in body:
        member = encode({name: body[name]})[1:-1]
        yield f"{name} twice", raw_token(head, b"{" + member + b"," + text[1:], key)
        other = encode({name: None})[1:-1]
        yield f"{name} twice, first null", raw_token(head, b"{" + other + b"," + text[1:], key)
        escaped = text.replace(f'"{name}"'.encode(), f'"\\u{ord(name[0]):04x}{name[1:]}"'.encode())
        yield f"{name} escaped", raw_token(head, escaped, key)
        for spelled in (name.upper(), name + " ", name + "\0", "\ufeff" + name):
            changed = {spelled if n == name else n: v for n, v in body.items()}
            yield f"{name} spelled {spelled!r}", raw_token(head, changed, key)
    for extra in ("crit", "jwk", "admin", "__proto__", "", "\u202e", "exp ", "$schema"):
        yield f"{extra!r} beside the claims", raw_token(head, body | {extra: 1}, key)


def headers(head: dict[str, Any], body: dict[str, Any], key: SigningKey) -> Iterator[Case]:
    """Every header member removed, doubled and of every odd value, and every other member."""
    for name in head:
        left = {n: v for n, v in head.items() if n != name}
        yield f"header {name} removed", raw_token(left, body, key)
        for told, value in ODD_VALUES.items():
            yield f"header {name} {told}", raw_token(head | {name: value}, body, key)
        doubled = b"{" + encode({name: head[name]})[1:-1] + b"," + encode(head)[1:]
        yield f"header {name} twice", raw_token(doubled, body, key)
        yield f"header {name} upper", raw_token({name.upper(): head[name], **left}, body, key)
    algorithms = (
        *("none", "None", "nOnE", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256"),
        *("ES256", "ES384", "ES256K", "EdDSA", "Ed448", "ed25519", "ED25519", "Ed25519 "),
        *("ML-DSA-44", "ML-DSA-65", "ML-DSA-87", "dir", "A128KW", "RSA-OAEP", "ECDH-ES"),
    )
    for alg in algorithms:
        yield f"alg {alg}", raw_token(head | {"alg": alg}, body, key)
    members: dict[str, Any] = {
        "jwk": dict(key.jwk), "jku": "https://evil.example/k", "x5u": "https://evil.example/c",
        "x5c": ["MII"], "x5t": "AA", "x5t#S256": "AA", "crit": ["exp"], "cty": "JWT",
        "b64": False, "zip": "DEF", "enc": "A128GCM", "epk": {}, "iss": "srv", "url": "https://x",
        "nonce": "x", "p2c": 2**31, "p2s": "AA", "apu": "", "": "", "ppt": "x", "iat": 1, "exp": 1,
        "trust_chain": [], "jwks": {"keys": []}, "svt": [], "alg ": "none", "kid2": key.kid,
    }  # fmt: skip
    for name, value in members.items():
        yield f"header with {name}", raw_token(head | {name: value}, body, key)


def spellings(token: str) -> Iterator[Case]:
    """The bytes of a good compact token, written in every way but the one."""
    parts = token.split(".")
    for place, part in enumerate(parts):
        for name, written in _written(part):
            if written != part:
                yield (
                    f"part {place} {name}",
                    ".".join([*parts[:place], written, *parts[place + 1 :]]),
                )
    for name, odd in (
        ("in quotes", f'"{token}"'), ("as Bearer", f"Bearer {token}"), ("twice", f"{token}{token}"),
        ("with a byte order mark", "\ufeff" + token), ("with a line before", "\r\n" + token),
        ("with a dot before", "." + token), ("with a dot behind", token + "."),
        ("with ideographic full stops", token.replace(".", "\u3002")),
        ("with a query", token + "?x=1"), ("percent-coded", token.replace(".", "%2E")),
        ("as a list", f'["{token}"]'), ("in capitals", token.upper()),
        ("swapped", token.swapcase()),
        ("turned round", ".".join(reversed(parts))), ("detached", f"{parts[0]}..{parts[2]}"),
        ("unsigned", f"{parts[0]}.{parts[1]}"), ("with a tag", f"{token}~"),
        ("as one member", json.dumps({"token": token})), ("with a NUL behind", token + "\0"),
    ):  # fmt: skip
        yield name, odd


def of_another_alg(head: dict[str, Any], body: dict[str, Any], keys: list[SigningKey]) -> Iterator:
    """What each of ``keys`` signs, under every kid and algorithm name of the others."""
    names = {"Ed25519", "ES256", "RS256", "ML-DSA-65", "none", "HS256"}
    for key in keys:
        for kid in {head["kid"], *(k.kid for k in keys)}:
            for alg in sorted(names):
                if (kid, alg, key.kid) != (head["kid"], head["alg"], head["kid"]):
                    changed = head | {"kid": kid, "alg": alg}
                    yield f"{key.alg} as {alg} of {kid[:6]}", raw_token(changed, body, key)


def _written(part: str) -> Iterator[Case]:
    yield "padded", part + "=" * (-len(part) % 4)
    yield "padded too much", part + "===="
    yield "with the other alphabet", part.replace("-", "+").replace("_", "/")
    yield "in full-width", part.translate({ord(c): ord(c) + 0xFEE0 for c in part if c.isalnum()})
    yield "with a tab", part[:3] + "\t" + part[3:]
    yield "with CRLF", part[:4] + "\r\n" + part[4:]
    yield "cut", part[:-1]
    yield "longer", part + "A"
    yield "empty", ""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    if part and len(part) % 4:
        yield "with loose bits", part[:-1] + alphabet[alphabet.index(part[-1]) ^ 1]


def _paths(body: dict[str, Any], before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for name, value in body.items():
        path = (*before, name)
        yield path
        if isinstance(value, dict):
            yield from _paths(value, path)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from _paths(value[0], (*path, 0))


def _at(body: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        body = body[name]
    return body


def _changed(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    copy = dict(body) if isinstance(body, dict) else list(body)
    if len(path) > 1:
        copy[path[0]] = _changed(copy[path[0]], path[1:], value)
    elif value is ...:
        del copy[path[0]]
    else:
        copy[path[0]] = value
    return copy
