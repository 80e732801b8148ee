"""Deterministic CBOR, by both of its readers."""

from __future__ import annotations

from collections.abc import Iterable

from modelseal import cbor


def seeds() -> Iterable[bytes]:
    """One of each type, and nesting."""
    yield cbor.encode({"a": [1, -1, 2**63, b"x", "y", True, None], "b": {"c": {}}})
    yield bytes.fromhex("8181818181818181818180")
    yield bytes.fromhex("bf6161019fff") + bytes(8)


def check(data: bytes) -> None:
    """What is accepted is the one encoding of it; the reader of secrets finds the same."""
    try:
        secret = cbor.decode_secret(bytes(bytearray(data)), max_bytes=4096)
    except cbor.CborInvalid:
        secret = None
    found = cbor.decode(data, max_bytes=4096) if secret is None else _found(data)
    assert cbor.encode(found) == data
    assert repr(found) == repr(secret)


def _found(data: bytes) -> object:
    """What the other reader accepted is no reason for a refusal here."""
    try:
        return cbor.decode(data, max_bytes=4096)
    except cbor.CborInvalid:
        raise AssertionError("only the reader of secrets accepts it") from None
