"""JSON round evidence, as collectors and other verifiers write it, and which file is which. Pure.

A wrapper is only packing: what it says beside the evidence is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from modelseal import strict_json
from modelseal.attest.verify import encodings
from modelseal.attest.verify.steps import malformed
from modelseal.strict_json import JsonInvalid

MAX_BYTES = 8 << 20


def document(data: bytes) -> Any:
    """The JSON value of ``data``; None for anything that is not JSON."""
    if data.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return strict_json.decode(data, max_bytes=MAX_BYTES)
    except JsonInvalid:
        return None


def flatten(parts: Iterable[bytes], names: tuple[str, ...]) -> tuple[bytes, ...]:
    """``parts``, each JSON object among them replaced by its members of these ``names``."""
    flat: list[bytes] = []
    for part in parts:
        value = document(part)
        if isinstance(value, dict):
            flat.extend(
                blob(value[name], name) for name in names if value.get(name) not in (None, "")
            )
        else:
            flat.append(part)
    return tuple(flat)


def blob(value: Any, what: str) -> bytes:
    """The bytes that a member holds: a list of numbers, or hex or base64 text."""
    if isinstance(value, list):
        if not all(type(item) is int and 0 <= item < 256 for item in value):
            malformed(f"{what} is no list of bytes")
        return bytes(value)
    if isinstance(value, str) and len(value) % 2 == 0:
        try:
            return bytes.fromhex(value)
        except ValueError:
            pass
    return encodings.unbase64(value, what)


def pick(
    parts: tuple[bytes, ...], wanted: Callable[[bytes], bool]
) -> tuple[bytes, tuple[bytes, ...]]:
    """The first part that is ``wanted`` and the others; the very first where none is."""
    if not parts:
        malformed("nothing in it")
    place = next((i for i, part in enumerate(parts) if wanted(part)), 0)
    return parts[place], parts[:place] + parts[place + 1 :]
