"""Reading one entry: parts of it, in sections, in chunks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from modelseal.container import _chunks as chunks
from modelseal.container._chunks import ChunkOpener
from modelseal.container._index import Entry, Extent
from modelseal.container._runs import Part
from modelseal.container._source import writable
from modelseal.errors import Misuse


class EntryReader:
    """Reads parts of one entry; made by ``VerifiedModel.entry_reader``.

    It holds ciphers, so it goes when the reading is done.
    """

    def __init__(self, entry: Entry, opener: Callable[[int], ChunkOpener]) -> None:
        self._entry = entry
        self._make = opener
        self._openers: dict[int, ChunkOpener] = {}

    def read(self, parts: Sequence[Part], *, threads: int = 1) -> None:
        """Every target holds the bytes of the entry from its offset on; all are zero on failure.

        ``parts`` are in the order of their offsets. A chunk is read once, however many of them lie
        in it. ``Misuse`` when they overlap, are out of order or lie outside the entry.
        """
        wanted = [Part(offset, writable(target)) for offset, target in parts]
        end = 0
        for offset, target in wanted:
            if offset < end or offset + target.nbytes > self._entry.size_bytes:
                raise Misuse("the range lies outside the entry", entry=self._entry.name)
            end = offset + target.nbytes

        ends = [offset + target.nbytes for offset, target in wanted]

        def work() -> None:
            for extent in self._entry.extents:
                inside = _within(extent, wanted, ends)
                if inside:
                    chunks.open_parts(self._opener(extent.section), inside, threads)

        chunks.zeroed_on_failure([target for _, target in wanted], work)

    def _opener(self, section: int) -> ChunkOpener:
        opener = self._openers.get(section)
        if opener is None:
            opener = self._openers[section] = self._make(section)
        return opener


def _within(extent: Extent, parts: Sequence[Part], ends: Sequence[int]) -> list[Part]:
    """What of ``parts``, which stop at ``ends``, lies in ``extent``, as parts of its section."""
    found = []
    stop = extent.file_offset + extent.size_bytes
    at = bisect_right(ends, extent.file_offset)
    while at < len(parts) and parts[at].offset < stop:
        offset, target = parts[at]
        low, high = max(offset, extent.file_offset), min(ends[at], stop)
        if low < high:
            place = target[low - offset : high - offset]
            found.append(Part(extent.offset + low - extent.file_offset, place))
        at += 1
    return found
