"""OLPC canonical JSON: the bytes that a TUF signature covers.

Members in code point order, no white space, only quote and backslash escaped, no floats. The
text is what is signed and hashed, never what is parsed: control characters stand in it as such.
"""

from __future__ import annotations

from modelseal.errors import TrustMalformed

MAX_DEPTH = 32


def canonical(value: object) -> bytes:
    """The one canonical UTF-8 text of ``value``; ``TrustMalformed`` for what has none."""
    parts: list[str] = []
    _write(value, parts, 0)
    try:
        return "".join(parts).encode("utf-8")
    except UnicodeEncodeError:
        raise TrustMalformed("a lone surrogate in a text") from None


def _write(value: object, parts: list[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise TrustMalformed(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        parts.append(_quote(value))
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif isinstance(value, int):
        parts.append(str(value))
    elif value is None:
        parts.append("null")
    elif isinstance(value, list):
        _write_list(value, parts, depth)
    elif isinstance(value, dict):
        _write_object(value, parts, depth)
    else:
        raise TrustMalformed(f"{type(value).__name__} has no canonical form")


def _write_list(value: list[object], parts: list[str], depth: int) -> None:
    parts.append("[")
    for number, item in enumerate(value):
        if number:
            parts.append(",")
        _write(item, parts, depth + 1)
    parts.append("]")


def _write_object(value: dict[object, object], parts: list[str], depth: int) -> None:
    if not all(isinstance(name, str) for name in value):
        raise TrustMalformed("a member name is no text")
    parts.append("{")
    for number, name in enumerate(sorted(value, key=str)):
        if number:
            parts.append(",")
        parts.append(_quote(str(name)))
        parts.append(":")
        _write(value[name], parts, depth + 1)
    parts.append("}")


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
