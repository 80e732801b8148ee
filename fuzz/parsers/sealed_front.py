"""A sealed model's front: prologue, header, signatures; nothing is verified."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz.harness import files
from modelseal import container

MAX_BYTES = 1 << 14


def seeds() -> Iterable[bytes]:
    """The vectors, good and bad, as far as they are short."""
    yield from files("sealed-model/*.sealed", 1 << 17)
    yield from files("sealed-model/refused/*", 1 << 15)


def check(data: bytes) -> None:
    """Whole or as in a download; what is accepted says no more than is there."""
    model = container.parse(container.BytesSource(data), front_only=True)
    assert model.front_bytes <= len(data)
    assert sum(info.plain_bytes for info in model.sections) <= model.file_bytes
    assert model.prologue.to_bytes() == data[: container.PROLOGUE_BYTES]
    container.parse(container.BytesSource(data))
