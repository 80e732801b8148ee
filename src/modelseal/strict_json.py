"""Strict JSON and base64url: what the token parser and the trust file accept.

No duplicate member, no NaN or Infinity, no float, bounded depth; in what is canonical no NUL in a
text; base64url without padding and in its one canonical form (RFC 7515, section 2; RFC 4648,
section 3.5).
"""

from __future__ import annotations

import binascii
import json
import re
from typing import Any, TypeVar

import msgspec

from modelseal.errors import InvalidBytes

MAX_DEPTH = 32
T = TypeVar("T")
_LONG = 128
"""Letters or bytes from which on msgspec is the quicker reader and writer of base64."""
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_BRACKETS = re.compile(r"[\[\]{}]")


class JsonInvalid(InvalidBytes):
    """The bytes are no strict JSON; rooms translate it to their own code."""

    code = "json_invalid"


def decode(data: bytes | str, *, max_bytes: int) -> Any:
    """The value of ``data`` (UTF-8); raises ``JsonInvalid`` for anything not strict."""
    if len(data) > max_bytes:
        raise JsonInvalid(f"longer than {max_bytes} bytes")
    try:
        text = data.decode("utf-8", "strict") if isinstance(data, bytes) else data
        _check_depth(text)
        return _DECODER.decode(text)
    except JsonInvalid:
        raise
    except UnicodeDecodeError:
        raise JsonInvalid("not UTF-8") from None
    except (ValueError, RecursionError, MemoryError):
        raise JsonInvalid("no JSON") from None


def encode(value: object) -> bytes:
    """One canonical UTF-8 text of ``value``: sorted members, no white space."""
    return _ENCODER.encode(value).encode("utf-8")


def decode_canonical(data: bytes, *, max_bytes: int) -> Any:
    """The value whose ``encode`` is ``data``; raises ``JsonInvalid`` for anything else, and for NUL
    in a text, which no database stores."""
    value = _quick(data) if len(data) <= max_bytes else None
    if value is not None:
        return value
    value = decode(data, max_bytes=max_bytes)
    if has_nul(bytes(data).decode("utf-8")):
        raise JsonInvalid("a text holds NUL")
    try:
        same = encode(value) == data
    except (ValueError, RecursionError):
        raise JsonInvalid("no valid Unicode") from None
    if not same:
        raise JsonInvalid("not canonical JSON")
    return value


def encode_plain(value: object) -> bytes:
    """What ``encode`` gives, several times faster.

    Only for what is known to hold nothing but structs, dicts with text keys, lists, texts, whole
    numbers, bools and None.
    """
    data = _SORTED.encode(value)
    return encode(msgspec.to_builtins(value)) if b"\\" in data else data


def decode_as(data: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """What ``decode_canonical`` gives, converted by ``decoder``, several times faster.

    None for all that is refused, and for some that is not: escapes, members that say what their
    absence would. ``decoder`` is of a struct without floats.
    """
    if b"\\" in data:
        return None
    try:
        value = decoder.decode(data)
        return value if _SORTED.encode(value) == data else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _quick(data: bytes) -> Any:
    """The value of canonical JSON; None for whatever is not, or may not be.

    A member that stands twice, white space or another order is lost in decoding, so it does not
    come back. Escapes are left to the strict decoder: their spelling is not the same everywhere.
    """
    if b"\\" in data:
        return None
    try:
        if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
            _check_depth(data.decode("utf-8", "strict"))
        value = _QUICK.decode(data)
        return value if _SORTED.encode(value) == data else None
    except (JsonInvalid, msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return None


def b64u(data: bytes) -> str:
    """base64url of ``data`` without padding."""
    if len(data) > _LONG:
        told: str = msgspec.to_builtins(data)
        return told.rstrip("=").replace("+", "-").replace("/", "_")
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


def unb64u(text: str) -> bytes:
    """The bytes of ``text``; raises ``JsonInvalid`` unless ``b64u`` of them is ``text`` again."""
    if not isinstance(text, str):
        raise JsonInvalid("base64url is text")
    try:
        data = _unb64u_long(text) if len(text) > _LONG else _unb64u_short(text)
    except (ValueError, msgspec.MsgspecError):
        raise JsonInvalid("not base64url") from None
    if (over := len(text) % 4) and text[-1] not in _ENDS[over]:
        raise JsonInvalid("not the canonical base64url")
    return data


def _unb64u_short(text: str) -> bytes:
    raw = text.encode("ascii").translate(_FROM_URL)
    return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4), strict_mode=True)


def _unb64u_long(text: str) -> bytes:
    """The same in a third of the time, which short texts would lose to its beginning."""
    if "+" in text or "/" in text or "=" in text:
        raise ValueError(text[:0])
    plain = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
    return msgspec.convert(plain, bytes)


def has_nul(text: str) -> bool:
    """True when a text in the JSON ``text`` holds NUL. (As itself JSON forbids it.)"""
    return "\\u0000" in text and _NUL.search(text) is not None


def no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The members of one object; ``JsonInvalid`` when one stands twice."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JsonInvalid("a member stands twice")
    return members


def _refuse(_text: str) -> object:
    raise JsonInvalid("only whole numbers are allowed")


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the parser sees it; brackets in strings count too."""
    depth = 0
    for bracket in _BRACKETS.findall(text):
        if bracket in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise JsonInvalid(f"nested deeper than {MAX_DEPTH}")
        else:
            depth -= 1


_DECODER = json.JSONDecoder(
    object_pairs_hook=no_duplicates, parse_constant=_refuse, parse_float=_refuse
)
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
_QUICK = msgspec.json.Decoder(float_hook=_refuse)
_SORTED = msgspec.json.Encoder(order="sorted")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")
_ENDS = ("", "", "AQgw", "AEIMQUYcgkosw048")
"""What the last letter is where no bit is left over, by letters beyond the last four."""
