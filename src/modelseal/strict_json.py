"""Strict JSON and base64url: what the token parser and the trust file accept.

No duplicate member, no NaN or Infinity, no float, bounded depth; base64url without padding and
in its one canonical form (RFC 7515, section 2; RFC 4648, section 3.5).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from modelseal.errors import InvalidBytes

MAX_DEPTH = 32
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
    except (ValueError, RecursionError, MemoryError) as error:
        raise JsonInvalid(f"not decodable: {type(error).__name__}") from None


def encode(value: object) -> bytes:
    """One canonical UTF-8 text of ``value``: sorted members, no white space."""
    return _ENCODER.encode(value).encode("utf-8")


def b64u(data: bytes) -> str:
    """base64url of ``data`` without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64u(text: str) -> bytes:
    """The bytes of ``text``; raises ``JsonInvalid`` unless ``b64u`` of them is ``text`` again."""
    if not isinstance(text, str):
        raise JsonInvalid("base64url is text")
    try:
        raw = text.encode("ascii")
        data = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise JsonInvalid("not base64url") from None
    if b64u(data) != text:
        raise JsonInvalid("not the canonical base64url")
    return data


def _refuse(_text: str) -> object:
    raise JsonInvalid("only whole numbers are allowed")


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JsonInvalid("a member stands twice")
    return members


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
    object_pairs_hook=_no_duplicates, parse_constant=_refuse, parse_float=_refuse
)
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
