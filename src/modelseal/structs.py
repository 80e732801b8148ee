"""Structs made ready before threads use them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec

_ready: set[type] = set()
_guard = threading.Lock()


def unprepared() -> list[str]:
    """The structs of this package that were imported since ``prepare``, by their full names."""
    return sorted(f"{found.__module__}.{found.__qualname__}" for found in _ours() - _ready)


def prepare() -> None:
    """Every struct of this package that is imported by now may be read from any thread.

    msgspec (0.22) learns what a struct looks like at its first use, with no lock: where two threads
    come first at once, the process dies of a null pointer. Call it before threads begin, and again
    after importing more.
    """
    with _guard:
        for found in _ours() - _ready:
            msgspec.json.Decoder(found)
            _ready.add(found)


def _ours() -> set[type[msgspec.Struct]]:
    mine = __name__.partition(".")[0]
    return {s for s in _below(msgspec.Struct) if s.__module__.partition(".")[0] == mine}


def _below(parent: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for child in parent.__subclasses__():
        yield child
        yield from _below(child)
