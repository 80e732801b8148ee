"""Deterministic CBOR."""

from __future__ import annotations

from collections.abc import Iterable

from modelseal import cbor


def seeds() -> Iterable[bytes]:
    """One of each type, and nesting."""
    yield cbor.encode({"a": [1, -1, 2**63, b"x", "y", True, None], "b": {"c": {}}})
    yield bytes.fromhex("8181818181818181818180")
    yield bytes.fromhex("bf6161019fff") + bytes(8)


def check(data: bytes) -> None:
    """What is accepted is the one encoding of what it says."""
    assert cbor.encode(cbor.decode(data, max_bytes=4096)) == data
