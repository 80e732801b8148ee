"""Decrypting parts of one file of a sealed model into memory, as deeply verified as is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from modelseal.container import Depth, EntryReader, Part
from modelseal.runtime.files import OpenedFile
from modelseal.runtime.parallel import threads_for
from modelseal.runtime.ports import Licensee


class Filler:
    """Fills memory with parts of one file. It holds ciphers, so it goes when that is done.

    ``depth`` tells how deeply the next chunks are verified, ``reader`` gives what reads so.
    """

    def __init__(
        self,
        file: OpenedFile,
        licensee: Licensee,
        depth: Callable[[], Depth],
        reader: Callable[[Depth], EntryReader],
    ) -> None:
        self._file, self._licensee, self._depth, self._make = file, licensee, depth, reader
        self._readers: dict[Depth, EntryReader] = {}

    def __call__(self, parts: Sequence[Part]) -> None:
        """Every target holds the bytes from its offset on; all are zero when that fails.

        The parts may come in any order and overlap.
        """
        depth = self._depth()
        self._read(depth, parts)
        if depth is Depth.TAG and not self._file.still_holds():
            self._read(Depth.FULL, parts)
        else:
            self._file.record(self._licensee)

    def at(self, offset: int, target: memoryview) -> None:
        """``target`` holds the bytes from ``offset`` on."""
        self([Part(offset, target)])

    def _read(self, depth: Depth, parts: Sequence[Part]) -> None:
        reader = self._readers.get(depth)
        if reader is None:
            reader = self._readers[depth] = self._make(depth)
        threads = threads_for(sum(target.nbytes for _, target in parts))
        for apart in _apart(parts):
            reader.read(apart, threads=threads)


def _apart(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """The parts by offset, in lists of some that do not overlap."""
    rest = sorted(parts, key=lambda part: part.offset) if len(parts) > 1 else parts
    while rest:
        end, now, later = 0, [], []
        for part in rest:
            if part.offset < end:
                later.append(part)
            else:
                now.append(part)
                end = part.offset + part.target.nbytes
        yield now
        rest = later
