"""Geometry: where each stored chunk lies, and whether prologue and header agree about it."""

from __future__ import annotations

from dataclasses import dataclass

from modelseal.container import _limits as limits
from modelseal.container._header import Header
from modelseal.container._prologue import Prologue
from modelseal.container._sections import SectionInfo
from modelseal.errors import ContainerMalformed


def chunk_count(plain_bytes: int, chunk_bytes: int) -> int:
    """How many chunks hold ``plain_bytes``; an empty section has one empty chunk."""
    return max(1, -(-plain_bytes // chunk_bytes))


@dataclass(frozen=True, slots=True)
class SectionLayout:
    """Where the stored chunks of one section lie in the file."""

    info: SectionInfo
    chunk_bytes: int
    offset: int

    @property
    def last_plain_bytes(self) -> int:
        """The plaintext length of the last chunk, from 0 on only when the section is empty."""
        return self.info.plain_bytes - (self.info.chunk_count - 1) * self.chunk_bytes

    @property
    def size_bytes(self) -> int:
        """The length of all stored chunks together."""
        info = self.info
        full = (info.stored_count - info.stored_last) * self.chunk_bytes
        last = info.stored_last * self.last_plain_bytes
        return full + last + info.stored_count * limits.TAG_BYTES

    def plain_bytes_of(self, index: int) -> int:
        """The plaintext length of chunk ``index``."""
        return self.last_plain_bytes if index == self.info.chunk_count - 1 else self.chunk_bytes

    def place(self, stored: int) -> tuple[int, int]:
        """Offset in the file and size of the section's stored chunk ``stored``.

        Shorter ones, the variants of the last chunk, come after all others.
        """
        full = self.info.stored_count - self.info.stored_last
        at = self.offset + min(stored, full) * (self.chunk_bytes + limits.TAG_BYTES)
        if stored < full:
            return at, self.chunk_bytes + limits.TAG_BYTES
        size = self.last_plain_bytes + limits.TAG_BYTES
        return at + (stored - full) * size, size


def layouts(prologue: Prologue, header: Header) -> tuple[SectionLayout, ...]:
    """The layout of every section; ``ContainerMalformed`` when prologue and header disagree."""
    if len(header.sections) != prologue.section_count:
        raise ContainerMalformed("the section count does not fit")
    found = []
    offset, stored, plain, records = prologue.data_offset, 0, 0, 0
    for info in header.sections:
        if info.chunk_count != chunk_count(info.plain_bytes, prologue.chunk_bytes):
            raise ContainerMalformed(f"section {info.id}: the chunk count does not fit")
        if info.first_chunk != stored:
            raise ContainerMalformed(f"section {info.id}: does not follow the one before")
        layout = SectionLayout(info, prologue.chunk_bytes, offset)
        found.append(layout)
        offset += layout.size_bytes
        stored += info.stored_count
        plain += info.plain_bytes
        records += info.stored_count if info.is_variant else 0
    if (offset, stored, plain) != (
        prologue.file_bytes,
        prologue.stored_count,
        prologue.plain_bytes,
    ):
        raise ContainerMalformed("the sections do not add up to the file")
    leaves = stored * limits.DIGEST_BYTES + records * limits.VARIANT_RECORD_BYTES
    if leaves != prologue.leaf_table_bytes:
        raise ContainerMalformed("the leaf table does not fit the sections")
    return tuple(found)
