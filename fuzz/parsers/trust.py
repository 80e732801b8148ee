"""``trust.json``: pinned by whoever ships it, but a file all the same."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz.harness import files
from modelseal.trust import pinned

MAX_BYTES = 1 << 15


def seeds() -> Iterable[bytes]:
    """The vectors, good and bad."""
    yield from files("trust/*.json", MAX_BYTES)
    yield from files("trust/refused/*", MAX_BYTES)


def check(data: bytes) -> None:
    """What is accepted reads the same again from its own file."""
    found = pinned.parse(data)
    assert pinned.parse(found.raw) == found
