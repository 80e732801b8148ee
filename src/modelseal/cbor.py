"""Deterministic CBOR (RFC 8949, section 4.2.1): the only CBOR modelseal writes or accepts."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import cbor2

from modelseal.errors import InvalidBytes
from modelseal.wiping import wipe_bytes

MAX_DEPTH = 16
_BYTES, _TEXT, _LIST, _MAP, _SIMPLE = 2, 3, 4, 5, 7
_SIMPLE_VALUES = {20: False, 21: True, 22: None}
_SINGLE = frozenset({bytes, str, int, bool, type(None)})
_FEW = 16


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
    except Exception:  # noqa: BLE001 - a parser's errors never leave this room
        raise CborInvalid("no CBOR") from None
    if not plain:
        raise CborInvalid("a type outside integers, bytes, text, lists, maps, booleans and null")
    if not same:
        raise CborInvalid("not the deterministic encoding")
    return value


def decode_secret(data: bytes, *, max_bytes: int) -> Any:
    """As ``decode``, for what only the caller has: ``data`` holds zeros afterwards, whatever was
    found, and nothing of it is left but the value. (cbor2 leaves copies behind: ADR 0285.)"""
    try:
        if len(data) > max_bytes:
            raise CborInvalid(f"longer than {max_bytes} bytes")
        with memoryview(data) as view:
            value, end = _read(view, 0, MAX_DEPTH)
            if end != len(view):
                raise CborInvalid("bytes after the value")
        return value
    finally:
        wipe_bytes(data)


def _read(view: memoryview, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins at ``at``, and where it ends."""
    major, number, at = _head(view, at)
    if major == _SIMPLE:
        return _SIMPLE_VALUES[number], at
    if major in (0, 1):
        return (number if major == 0 else -1 - number), at
    if number > len(view) - at:  # every item has a byte at least
        raise CborInvalid("a length beyond the end")
    if major == _BYTES:
        return bytes(view[at : at + number]), at + number
    if major == _TEXT:
        try:
            return str(view[at : at + number], "utf-8"), at + number
        except UnicodeDecodeError:
            raise CborInvalid("a text that is not UTF-8") from None
    if depth == 0 and number:  # as cbor2 counts: what is empty nests nothing
        raise CborInvalid("nested too deeply")
    if major == _LIST:
        items = []
        for _ in range(number):
            item, at = _read(view, at, depth - 1)
            items.append(item)
        return items, at
    return _read_map(view, at, number, depth - 1)


def _read_map(view: memoryview, at: int, count: int, depth: int) -> tuple[dict[Any, Any], int]:
    found, before = dict[Any, Any](), b""
    for _ in range(count):
        begin = at
        key, at = _read(view, at, depth)
        told = bytes(view[begin:at])
        if type(key) not in (int, str) or told <= before:
            raise CborInvalid("a map's keys are numbers or texts, each once, in order")
        before = told
        found[key], at = _read(view, at, depth)
    return found, at


def _head(view: memoryview, at: int) -> tuple[int, int, int]:
    """Major type and number of the item at ``at``, in the shortest form, and what follows."""
    if at >= len(view):
        raise CborInvalid("it ends early")
    major, number = view[at] >> 5, view[at] & 31
    at += 1
    if major == _SIMPLE and number in _SIMPLE_VALUES:
        return major, number, at
    if major > _MAP or number > 27:
        raise CborInvalid("a type outside integers, bytes, text, lists, maps, booleans and null")
    if number < 24:
        return major, number, at
    size = 1 << number - 24
    told = int.from_bytes(view[at : at + size], "big")
    if at + size > len(view) or told < (24 if size == 1 else 1 << 4 * size):
        raise CborInvalid("not the deterministic encoding")
    return major, told, at + size


def _ordered(value: object) -> object:
    """The same value with every map's keys in the order of their encoding."""
    if isinstance(value, (bytes, str, int)):
        return value
    if type(value) is dict or isinstance(value, Mapping):
        return {
            key: item if type(item := value[key]) in _SINGLE else _ordered(item)
            for key in _in_order(value)
        }
    if isinstance(value, (list, tuple)):
        return [item if type(item) in _SINGLE else _ordered(item) for item in value]
    return value


def _in_order(value: Mapping[object, object]) -> Sequence[object]:
    names = tuple(value)
    few = len(names) <= _FEW and set(map(type, names)) == {str}
    return _sorted_names(names) if few else sorted(names, key=_encoded)


@functools.lru_cache(maxsize=256)
def _sorted_names(names: tuple[object, ...]) -> tuple[object, ...]:
    """The same few sets of names are encoded over and over."""
    return tuple(sorted(names, key=_encoded))


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
        return all(type(k) in (int, str) and _is_plain(v) for k, v in value.items())
    return False
