"""The index of a sealed model, as if it had been decrypted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fuzz.harness import VECTORS, vector
from modelseal import container
from modelseal.container import _index
from modelseal.container._sections import SectionInfo


def _opened() -> Iterator[tuple[bytes, tuple[SectionInfo, ...], int]]:
    for each in vector("sealed-model/manifest.json")["valid"]:
        data = (VECTORS / "sealed-model" / each["file"]).read_bytes()
        model = container.parse(container.BytesSource(data))
        if each["file"] not in ("sections.sealed", "small.sealed", "unknown-members.sealed"):
            continue
        plain = bytearray(model.sections[0].plain_bytes)
        verified = container.VerifiedModel(*_parts(model))
        key = bytes.fromhex(each["data_keys"]["0"])
        verified.open_section(0, key, memoryview(plain), depth="tag")
        yield bytes(plain), model.sections, model.prologue.chunk_bytes


def _parts(model: container.SealedModel) -> tuple[object, ...]:
    return (
        model.source, model.prologue, model.header, model._places,
        model._raw_prologue, model._raw_header, model._signatures,
    )  # fmt: skip


_TABLES = [(sections, chunk_bytes) for _, sections, chunk_bytes in _opened()]


def seeds() -> Iterable[bytes]:
    """A section table's number and the CBOR of the index that belongs to it."""
    for number, (plain, _, _) in enumerate(_opened()):
        size = int.from_bytes(plain[:8], "little")
        yield bytes([number]) + plain[8 : 8 + size]


def check(data: bytes) -> None:
    """What is accepted is written the same way."""
    sections, chunk_bytes = _TABLES[data[0] % len(_TABLES)] if data else _TABLES[0]
    body = data[1:]
    whole = len(body).to_bytes(8, "little") + body
    whole += bytes(-len(whole) % 4096)
    assert _index.encode(_index.decode(whole, sections, chunk_bytes)) == whole
