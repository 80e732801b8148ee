"""The 128 fixed bytes at the start of every sealed model."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from modelseal.container import _limits as limits
from modelseal.errors import ContainerMalformed, ContainerTruncated, ContainerVersion, NotSealed

_LAYOUT = struct.Struct("<8sHHI32sQQQIIQQQII16s")
SUITES = {1: "BLAKE3", 2: "SHA-256"}


@dataclass(frozen=True, slots=True)
class Prologue:
    """Sizes, counts and offsets; ``from_bytes`` and ``to_bytes`` undo each other."""

    suite: int
    chunk_bytes: int
    file_id: bytes
    plain_bytes: int
    file_bytes: int
    header_bytes: int
    signatures_bytes: int
    leaf_table_offset: int
    data_offset: int
    section_count: int
    stored_count: int

    @property
    def header_offset(self) -> int:
        """Where the header starts."""
        return limits.PROLOGUE_BYTES

    @property
    def signatures_offset(self) -> int:
        """Where the signatures start."""
        return limits.PROLOGUE_BYTES + self.header_bytes

    @property
    def leaf_table_bytes(self) -> int:
        """The length of the leaf table, variant records included."""
        return self.data_offset - self.leaf_table_offset

    @property
    def front_bytes(self) -> int:
        """How many bytes must be had before anything can be verified."""
        return self.data_offset

    def to_bytes(self) -> bytes:
        """The 128 bytes."""
        return _LAYOUT.pack(
            limits.MAGIC,
            limits.FORMAT_VERSION,
            self.suite,
            self.chunk_bytes,
            self.file_id,
            self.plain_bytes,
            self.file_bytes,
            self.header_offset,
            self.header_bytes,
            self.signatures_bytes,
            self.signatures_offset,
            self.leaf_table_offset,
            self.data_offset,
            self.section_count,
            self.stored_count,
            bytes(16),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Prologue:
        """The prologue in the first 128 bytes of ``data``, consistent in itself.

        Raises ``NotSealed``, ``ContainerTruncated``, ``ContainerVersion``, ``ContainerMalformed``.
        """
        if not is_sealed(data):
            raise NotSealed("the magic is missing")
        if len(data) < limits.PROLOGUE_BYTES:
            raise ContainerTruncated("shorter than a prologue", needed_bytes=limits.PROLOGUE_BYTES)
        values = _LAYOUT.unpack_from(data)
        version, suite = values[1:3]
        if version != limits.FORMAT_VERSION:
            raise ContainerVersion(f"format version {version}", version=version)
        if suite not in SUITES:
            raise ContainerVersion(f"suite {suite}", suite=suite)
        found = cls(*values[2:7], *values[8:10], *values[11:15])
        header_at, signatures_at, reserved = values[7], values[10], values[15]
        if any(reserved):
            raise ContainerMalformed("reserved bytes are not zero")
        if (header_at, signatures_at) != (found.header_offset, found.signatures_offset):
            raise ContainerMalformed("the parts do not follow one another")
        found._check()
        return found

    def _check(self) -> None:
        chunk = self.chunk_bytes
        capped = (
            ("chunk size", chunk, limits.MIN_CHUNK_BYTES, limits.MAX_CHUNK_BYTES),
            ("header", self.header_bytes, 1, limits.MAX_HEADER_BYTES),
            ("signatures", self.signatures_bytes, 1, limits.MAX_SIGNATURES_BYTES),
            ("section count", self.section_count, 1, limits.MAX_SECTIONS),
            ("chunk count", self.stored_count, self.section_count, limits.MAX_STORED_CHUNKS),
            ("file size", self.file_bytes, limits.PROLOGUE_BYTES, limits.MAX_FILE_BYTES),
            ("plaintext size", self.plain_bytes, 0, self.file_bytes),
        )
        for what, value, low, high in capped:
            if not low <= value <= high:
                raise ContainerMalformed(f"{what} outside {low} to {high}")
        if chunk & (chunk - 1):
            raise ContainerMalformed("the chunk size is no power of two")
        if self.leaf_table_offset != self.signatures_offset + self.signatures_bytes:
            raise ContainerMalformed("the parts do not follow one another")
        leaves = self.stored_count * limits.DIGEST_BYTES
        records = self.leaf_table_bytes - leaves
        if not 0 <= records <= self.stored_count * limits.VARIANT_RECORD_BYTES:
            raise ContainerMalformed("the leaf table does not fit the chunk count")
        stored = self.file_bytes - self.data_offset
        tags = self.stored_count * limits.TAG_BYTES
        if not tags <= stored <= self.stored_count * chunk + tags:
            raise ContainerMalformed("the chunks do not fit the file size")


def is_sealed(start: bytes | bytearray | memoryview) -> bool:
    """True when ``start``, the first bytes of a file (8 are enough), carry the magic."""
    return bytes(start[: len(limits.MAGIC)]) == limits.MAGIC
