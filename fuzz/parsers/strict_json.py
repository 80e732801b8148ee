"""Strict JSON and base64url."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz.harness import refusable
from modelseal import strict_json


def seeds() -> Iterable[bytes]:
    """One of each type, numbers at the edges, nesting, text for base64url."""
    yield b'{"a":[1,-1,9007199254740993,true,null,"\\u00e4\\ud83d\\ude00"],"b":{"c":{}}}'
    yield b"[" * 40 + b"]" * 40
    yield b'{"a":1,"a":2,"b":NaN,"c":1e9,"d":"\\ud800"}'
    yield b"AAECAwQFBgcICQ"


def check(data: bytes) -> None:
    """What is accepted reads the same again after it was written the one way."""
    with refusable():
        text = strict_json.unb64u(data.decode("latin-1"))
        assert strict_json.b64u(text).encode() == data
    value = strict_json.decode(data, max_bytes=4096)
    try:
        written = strict_json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate: valid JSON, no UTF-8; rooms refuse it
        return
    assert strict_json.decode(written, max_bytes=1 << 20) == value
