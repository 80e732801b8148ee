"""Deterministic CBOR (RFC 8949, section 4.2.1): the only CBOR modelseal writes or accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cbor2

from modelseal.errors import InvalidBytes

MAX_DEPTH = 16


class CborInvalid(InvalidBytes):
    """The bytes are no deterministic CBOR; rooms translate it to their own code."""

    code = "cbor_invalid"


def encode(value: object) -> bytes:
    """The one deterministic encoding of ``value`` (map keys in bytewise order)."""
    # cbor2's own canonical form sorts keys by length first, as RFC 7049 did
    return cbor2.dumps(_ordered(value))


def decode(data: bytes, *, max_bytes: int) -> Any:
    """The value of ``data``; ``encode(decode(x)) == x`` holds for whatever is accepted.

    Raises ``CborInvalid`` for anything longer than ``max_bytes``, nested deeper than
    ``MAX_DEPTH``, trailing bytes, duplicate keys, tags, floats or another encoding of the value.
    """
    if len(data) > max_bytes:
        raise CborInvalid(f"longer than {max_bytes} bytes")
    try:
        value = cbor2.loads(
            data, max_depth=MAX_DEPTH, allow_indefinite=False, allow_duplicate_keys=False
        )
        plain = _is_plain(value)
        same = plain and encode(value) == bytes(data)
    except Exception as error:  # noqa: BLE001 - a parser's errors never leave this room
        raise CborInvalid(f"not decodable: {type(error).__name__}") from None
    if not plain:
        raise CborInvalid("a type outside integers, bytes, text, lists, maps, booleans and null")
    if not same:
        raise CborInvalid("not the deterministic encoding")
    return value


def _ordered(value: object) -> object:
    """The same value with every map's keys in the order of their encoding."""
    if isinstance(value, (bytes, str, int)):
        return value
    if isinstance(value, Mapping):
        return {key: _ordered(value[key]) for key in sorted(value, key=_encoded)}
    return [_ordered(item) for item in value] if isinstance(value, (list, tuple)) else value


def _encoded(key: object) -> bytes:
    """The encoding of a map's key; that of a short name is written down here, which is quicker."""
    if type(key) is str and len(key) < 24 and key.isascii():
        return bytes((0x60 + len(key),)) + key.encode("ascii")
    return cbor2.dumps(key)


def _is_plain(value: object) -> bool:
    if isinstance(value, int):
        return -(2**64) <= value < 2**64  # beyond it is a tag
    if value is None or isinstance(value, (bytes, str)):
        return True
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(k, (int, str)) and _is_plain(v) for k, v in value.items())
    return False
