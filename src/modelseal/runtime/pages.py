"""Pages for an arena, made part by part right before each part is written.

What a fresh page costs decides over the time of a load. Huge pages are by far the cheapest, as long
as there is memory behind them: in a virtual machine whose host takes back free memory (free page
reporting, which works on blocks of the size of a huge page) one costs ten times as much, and three
times as much as the small pages in its place. Nothing tells beforehand, so it is measured.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable

from modelseal.memory import HUGE_PAGE_BYTES, Arena
from modelseal.types import MemoryProtection

SLOW_NS = 1_200_000
"""CPU time from which a huge page (2 MiB) costs more than small ones; 0.3 ms is usual."""
_STRETCH_BYTES = 8 * HUGE_PAGE_BYTES
_LONGEST_BYTES = 8 * _STRETCH_BYTES


class Pages:
    """See ``container``'s ``Prepare``: several threads write parts of one arena, each in order."""

    def __init__(self, arena: Arena, cpu_ns: Callable[[], int] = time.thread_time_ns) -> None:
        self._arena = arena
        self._cpu_ns = cpu_ns
        self._base = arena.address
        self._own = threading.local()

    @classmethod
    def of(cls, arena: Arena) -> Pages | None:
        """For an arena that is large enough and lies on pages whose size can be chosen."""
        is_large = arena.size_bytes >= HUGE_PAGE_BYTES
        return cls(arena) if is_large and arena.reached is not MemoryProtection.SECRET else None

    def __call__(self, part: memoryview) -> None:
        """The pages under ``part`` exist; where the system cannot do that they come as written."""
        if not part.nbytes:
            return
        start = ctypes.addressof(ctypes.c_char.from_buffer(part)) - self._base
        stop, own = start + part.nbytes, self._own
        done: int = getattr(own, "done", 0)
        if start <= done:
            if stop <= done:
                return
        else:  # the first part of this thread's run
            done = start
        small_until: int = getattr(own, "small_until", 0)
        while done < stop:
            if done < small_until:
                end = min(stop, small_until)
                self._arena.populate(done, end - done)
            else:
                end = min(done // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES + HUGE_PAGE_BYTES, self._size)
                own.small_until = small_until = self._try_huge(done, end)
            done = end
        own.done = done

    def _try_huge(self, start: int, end: int) -> int:
        """Up to where small pages are better after ``start`` to ``end`` was given a huge one."""
        before = self._cpu_ns()
        made = self._arena.populate(start, end - start)
        took = self._cpu_ns() - before
        if not made or took * HUGE_PAGE_BYTES < SLOW_NS * (end - start):
            self._own.stretch = _STRETCH_BYTES
            return end if made else self._size
        stretch: int = getattr(self._own, "stretch", _STRETCH_BYTES)
        self._own.stretch = min(stretch * 2, _LONGEST_BYTES)
        until = min(end + stretch, self._size)
        self._arena.prefer_small_pages(end, until - end)
        return until

    @property
    def _size(self) -> int:
        return self._arena.size_bytes
