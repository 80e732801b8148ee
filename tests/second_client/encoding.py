"""Texts and bytes of the specification: base64url, the two canonical JSON forms, CBOR."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

import cbor2

MAX_DEPTH = 32


class Refused(Exception):
    """What was read is not accepted; `code` is the stable code of the specification."""

    def __init__(self, code: str, why: str, params: dict[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code
        self.params = params or {}


def refuse(code: str, why: str) -> NoReturn:
    """Raise `Refused`."""
    raise Refused(code, why)


def b64u(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text: object, code: str) -> bytes:
    """The bytes of a canonical base64url text."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        refuse(code, "not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        refuse(code, "not base64url")
    if b64u(data) != text:
        refuse(code, "not canonical base64url")
    return data


def _check(value: object, depth: int = 1) -> None:
    if depth > MAX_DEPTH and isinstance(value, dict | list):
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        for name, member in value.items():
            name.encode()
            _check(member, depth + 1)
    elif isinstance(value, list):
        for member in value:
            _check(member, depth + 1)
    elif isinstance(value, str):
        value.encode()  # lone surrogates have no UTF-8


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"no whole number: {text}")


def strict_json(data: bytes, code: str) -> Any:
    """A value of strict JSON: UTF-8, no member twice, whole numbers only, bounded nesting."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_once,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
        _check(value)
    except (ValueError, RecursionError) as error:
        refuse(code, f"not strict JSON ({error})")
    return value


def canonical_json(value: object) -> bytes:
    """Members sorted by code point, no white space, non-ASCII as such."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def canonical_object(data: bytes, code: str) -> dict[str, Any]:
    """An object whose bytes are exactly its canonical JSON."""
    value = strict_json(data, code)
    if not isinstance(value, dict) or canonical_json(value) != data:
        refuse(code, "not canonical JSON of an object")
    return value


def olpc(value: object) -> bytes:
    """OLPC canonical JSON, which TUF signs: escapes `"` and `\\` only."""
    return _olpc(value).encode()


def _olpc(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(_olpc(member) for member in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_olpc(n)}:{_olpc(value[n])}" for n in sorted(value)) + "}"
    raise TypeError(type(value))


def cbor(value: object) -> bytes:
    """Deterministic CBOR (RFC 8949, section 4.2.1)."""
    return cbor2.dumps(_sorted(value))


def _sorted(value: Any) -> Any:
    """Maps in the order of their encoded keys (cbor2's own canonical mode is RFC 7049's)."""
    if isinstance(value, dict):
        return {k: _sorted(value[k]) for k in sorted(value, key=cbor2.dumps)}
    return [_sorted(member) for member in value] if isinstance(value, list | tuple) else value


def _plain(value: object, depth: int, most: int) -> bool:
    if isinstance(value, dict | list) and depth > most:
        return False
    if isinstance(value, dict):
        both = [*value.keys(), *value.values()]
        return all(_plain(member, depth + 1, most) for member in both)
    if isinstance(value, list):
        return all(_plain(member, depth + 1, most) for member in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return -(2**64) <= value < 2**64
    return value is None or isinstance(value, bool | bytes | str)


def uncbor(data: bytes, code: str, depth: int = 16) -> Any:
    """The value of which `data` is exactly the deterministic encoding."""
    stream = io.BytesIO(data)
    try:
        value = cbor2.load(stream)
        good = stream.tell() == len(data) and _plain(value, 1, depth) and cbor(value) == data
    except (cbor2.CBORError, ValueError, TypeError, RecursionError, OverflowError, MemoryError):
        good, value = False, None
    if not good:
        refuse(code, "not deterministic CBOR")
    return value


def expect(holds: object, code: str, why: str) -> None:
    """Refuse with `code` unless `holds`."""
    if not holds:
        refuse(code, why)


Clock = Callable[[], int]
