"""Where a thread opens its run of chunks: right in the target, or as whoever reads arranges it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeAlias


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
