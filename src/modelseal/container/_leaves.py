"""The leaf table: one hash per stored chunk, and the commitments of variant sections.

It lets a download be verified chunk by chunk without a key, and it keeps a licensee who knows the
key from forging content for others: its own hash stands in the signed header.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, overload

from blake3 import blake3

from modelseal.container import _limits as limits
from modelseal.container._keys import same
from modelseal.container._layout import SectionLayout
from modelseal.container._source import Buffer, Source, read
from modelseal.errors import ContainerDamaged

_INDEX = struct.Struct("<I")


def leaf_hash(suite: int, stored: Buffer) -> bytes:
    """The leaf of one stored chunk; also the hash of whole tables. 32 bytes."""
    return blake3(stored).digest() if suite == 1 else hashlib.sha256(stored).digest()


class LeafRange(NamedTuple):
    """One stored chunk: where it lies in the file and what it hashes to."""

    offset: int
    size: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class VariantRecord:
    """One row of a variant section's commitment table."""

    index: int
    label: bytes
    commitment: bytes


class LeafTable:
    """The verified leaf table of one sealed model."""

    __slots__ = ("_data", "_layouts", "_records", "suite")

    def __init__(self, suite: int, data: bytes, layouts: Sequence[SectionLayout]) -> None:
        self.suite = suite
        self._data = data
        self._layouts = layouts
        self._records: dict[int, tuple[VariantRecord, ...]] = {}

    @classmethod
    def load(
        cls, source: Source, suite: int, offset: int, size: int, expected: bytes,
        layouts: Sequence[SectionLayout],
    ) -> LeafTable:  # fmt: skip
        """The table at ``offset``; ``ContainerDamaged`` when it is not the signed one."""
        data = read(source, offset, size)
        if not same(leaf_hash(suite, data), expected):
            raise ContainerDamaged("the leaf table is not the signed one")
        return cls(suite, data, layouts)

    def leaf(self, stored: int) -> bytes:
        """The hash of the stored chunk ``stored``, counted over the whole file."""
        start = stored * limits.DIGEST_BYTES
        return self._data[start : start + limits.DIGEST_BYTES]

    def check(self, stored: int, data: Buffer) -> None:
        """Returns when ``data`` is the stored chunk ``stored``; else ``ContainerDamaged``."""
        if leaf_hash(self.suite, data) != self.leaf(stored):
            raise ContainerDamaged("a stored chunk is not the signed one", chunk=stored)

    def records(self, section: int) -> tuple[VariantRecord, ...]:
        """The commitment table of a variant section, checked against the section's commitment."""
        if section not in self._records:
            self._records[section] = self._read_records(section)
        return self._records[section]

    def _read_records(self, section: int) -> tuple[VariantRecord, ...]:
        info = self._layouts[section].info
        raw = self._raw_records(section)
        if not same(leaf_hash(self.suite, raw), info.commitment):
            raise ContainerDamaged("the variant table is not the signed one", section=section)
        step = limits.VARIANT_RECORD_BYTES
        label_end = _INDEX.size + limits.LABEL_BYTES
        found = tuple(
            VariantRecord(
                _INDEX.unpack_from(raw, at)[0],
                raw[at + _INDEX.size : at + label_end],
                raw[at + label_end : at + step],
            )
            for at in range(0, len(raw), step)
        )
        _check_records(found, self._layouts[section])
        return found

    def _raw_records(self, section: int) -> bytes:
        start = sum(layout.info.stored_count for layout in self._layouts) * limits.DIGEST_BYTES
        before = [x.info for x in self._layouts[:section] if x.info.is_variant]
        start += sum(info.stored_count for info in before) * limits.VARIANT_RECORD_BYTES
        size = self._layouts[section].info.stored_count * limits.VARIANT_RECORD_BYTES
        return self._data[start : start + size]


class LeafRanges(Sequence[LeafRange]):
    """Every stored chunk of the file in file order, computed as it is asked for."""

    __slots__ = ("_layouts", "_starts", "_table")

    def __init__(self, table: LeafTable, layouts: Sequence[SectionLayout]) -> None:
        self._table = table
        self._layouts = layouts
        self._starts = [layout.info.first_chunk for layout in layouts]

    def __len__(self) -> int:
        last = self._layouts[-1].info
        return last.first_chunk + last.stored_count

    @overload
    def __getitem__(self, position: int) -> LeafRange: ...
    @overload
    def __getitem__(self, position: slice) -> list[LeafRange]: ...
    def __getitem__(self, position: int | slice) -> LeafRange | list[LeafRange]:
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        stored = position + len(self) if position < 0 else position
        if not 0 <= stored < len(self):
            raise IndexError(position)
        layout = self.layout_of(stored)
        offset, size = layout.place(stored - layout.info.first_chunk)
        return LeafRange(offset, size, self._table.leaf(stored))

    def holds(self, data: Buffer, expected: bytes) -> bool:
        """True when ``data`` hashes to ``expected``, the hash of a range."""
        return leaf_hash(self._table.suite, data) == expected

    def layout_of(self, stored: int) -> SectionLayout:
        """The section that the stored chunk belongs to."""
        return self._layouts[bisect_right(self._starts, stored) - 1]


def _check_records(records: Sequence[VariantRecord], layout: SectionLayout) -> None:
    """Every chunk two to sixteen times, ordered by chunk and label, as the header says."""
    places = [(record.index, record.label) for record in records]
    counts = Counter(record.index for record in records)
    chunks = layout.info.chunk_count
    ordered = all(a < b for a, b in pairwise(places))
    whole = len(counts) == chunks and max(counts) == chunks - 1
    fair = all(limits.MIN_VARIANTS <= n <= limits.MAX_VARIANTS for n in counts.values())
    if not (ordered and whole and fair and counts[chunks - 1] == layout.info.stored_last):
        raise ContainerDamaged("the variant table contradicts the header")
