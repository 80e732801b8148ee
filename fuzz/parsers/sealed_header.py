"""The header of a sealed model by itself, which mutations of a whole file hardly reach."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz.harness import files
from modelseal import cbor, container
from modelseal.container._header import Header


def seeds() -> Iterable[bytes]:
    """The headers of the vectors."""
    for data in files("sealed-model/*.sealed"):
        model = container.parse(container.BytesSource(data))
        yield data[container.PROLOGUE_BYTES : model.prologue.signatures_offset]


def check(data: bytes) -> None:
    """What is accepted is written the same way."""
    header = Header.from_bytes(data)
    assert header.to_bytes() == data
    assert cbor.encode(cbor.decode(data, max_bytes=len(data))) == data
