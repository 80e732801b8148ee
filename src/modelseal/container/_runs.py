"""Where a thread opens its run of chunks: right in the target, or as whoever reads arranges it."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol, TypeAlias


class Part(NamedTuple):
    """``target`` is to hold the plaintext from ``offset`` on."""

    offset: int
    target: memoryview


class Run(Protocol):
    """How one thread writes its run of chunks, whose parts of the target follow one another."""

    def place(self, part: memoryview) -> memoryview:
        """Memory as long as ``part``, the next one, in which the chunk is opened."""
        ...

    def placed(self, part: memoryview) -> None:
        """What ``place`` gave was written wholly, and is in ``part`` when the context ends."""
        ...


Prepare: TypeAlias = Callable[[memoryview, int], AbstractContextManager[Run]]
"""Called by each thread with the target of its run and the length of its longest part."""
Aside: TypeAlias = Callable[[int], memoryview]
"""Gives writable memory of that many bytes for a chunk of which only a part is wanted."""


class _InPlace:
    """A run that needs nothing."""

    def place(self, part: memoryview) -> memoryview:
        return part

    def placed(self, part: memoryview) -> None:
        return


def in_place(_target: memoryview, _longest: int) -> AbstractContextManager[Run]:
    """Each chunk is opened right where it belongs; see ``Prepare``."""
    return nullcontext(_InPlace())


def ordinary(size_bytes: int) -> memoryview:
    """Memory that nothing protects."""
    return memoryview(bytearray(size_bytes))


class Piece(NamedTuple):
    """Bytes ``low`` to ``high`` of the section, which are wanted by the part number ``part``."""

    part: int
    low: int
    high: int

    @property
    def nbytes(self) -> int:
        """How many they are."""
        return self.high - self.low


class Places:
    """Where one thread, which opens the chunks within ``span``, puts what ``parts`` want of them.

    The parts are in the order of their offsets and apart; each is prepared when its first piece
    comes, and done with when that of another does.
    """

    def __init__(
        self, parts: Sequence[Part], span: tuple[int, int], prepare: Prepare, longest: int
    ) -> None:
        self._parts, self._span = parts, span
        self._ends = [offset + target.nbytes for offset, target in parts]
        self._prepare, self._longest = prepare, longest
        self._now: int | None = None
        self._run: Run = _InPlace()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Places:
        self._stack.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def within(self, start: int, size: int) -> list[Piece]:
        """What is wanted of the chunk of ``size`` bytes at ``start``; of an empty one, nothing."""
        if not size:
            return [Piece(0, start, start)]
        found = []
        at = bisect_right(self._ends, start)
        while at < len(self._parts) and self._parts[at].offset < start + size:
            low, high = max(self._parts[at].offset, start), min(self._ends[at], start + size)
            found.append(Piece(at, low, high))
            at += 1
        return found

    @contextlib.contextmanager
    def writing(self, piece: Piece) -> Iterator[memoryview]:
        """The memory to write wholly with the piece; pieces come in their order."""
        if piece.part != self._now:
            self._enter(piece.part)
        belongs = self._target(piece.part, piece.low, piece.high)
        yield self._run.place(belongs)
        self._run.placed(belongs)

    def _enter(self, part: int) -> None:
        self._stack.close()
        offset, start, stop = self._parts[part].offset, *self._span
        whole = self._target(part, max(offset, start), min(self._ends[part], stop))
        self._run = self._stack.enter_context(self._prepare(whole, self._longest))
        self._now = part

    def _target(self, part: int, low: int, high: int) -> memoryview:
        offset, target = self._parts[part]
        return target[low - offset : high - offset]
