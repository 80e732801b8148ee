"""Pages for an arena, made part by part right when each part is written.

What a fresh page costs decides over the time of a load. Huge pages are by far the cheapest, as long
as there is memory behind them: in a virtual machine whose host takes back free memory (free page
reporting, which works on blocks of the size of a huge page) one costs ten times as much as usual
and several times as much as the small pages in its place. Nothing tells beforehand, so it is tried.
Small pages are cheapest when each is made with its content (``modelseal.userfault``).
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from modelseal.container import Run, in_place
from modelseal.memory import HUGE_PAGE_BYTES, Arena, wipe
from modelseal.types import MemoryProtection
from modelseal.userfault import PAGE_BYTES, MissingPages

SLOW_NS = 1_200_000
"""CPU time from which a huge page (2 MiB) costs more than small ones; 0.3 ms is usual."""
SHARE = 40
"""A huge page that was dear is not followed by another within so many times what it took."""
_STRETCH_BYTES = 32 * HUGE_PAGE_BYTES
_WORTH_BYTES = 16 * PAGE_BYTES


class Tries:
    """When huge pages are tried, by what they cost in this process last."""

    def __init__(
        self,
        cpu_ns: Callable[[], int] = time.thread_time_ns,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._cpu_ns, self._now_ns = cpu_ns, now_ns
        self._not_before = 0
        self._may_err = False

    def due(self) -> bool:
        """Whether it is worth finding out again."""
        return self._now_ns() >= self._not_before

    def cost(self, make: Callable[[], bool]) -> bool:
        """``make`` makes a huge page; what it cost decides when the next one is due."""
        before = self._cpu_ns()
        made = make()
        took = self._cpu_ns() - before
        if took < SLOW_NS:
            self._may_err = True
        elif self._may_err:  # one dear page among cheap ones says nothing
            self._may_err = False
        else:
            self._not_before = self._now_ns() + SHARE * took
        return made


_TRIES = Tries()


class Pages:
    """``container``'s ``Prepare`` over an arena, for several threads with a run of it each."""

    def __init__(self, arena: Arena, tries: Tries = _TRIES) -> None:
        self._arena, self._tries = arena, tries

    @classmethod
    def of(cls, arena: Arena) -> Pages | None:
        """For an arena that is large enough and lies on pages whose size can be chosen."""
        is_large = arena.size_bytes >= HUGE_PAGE_BYTES
        return cls(arena) if is_large and arena.reached is not MemoryProtection.SECRET else None

    def __call__(self, memory: memoryview, longest: int) -> AbstractContextManager[Run]:
        """For parts of ``memory`` one after the other, none with more than ``longest`` bytes."""
        if memory.nbytes < _WORTH_BYTES:
            return in_place(memory, longest)
        return _Run(self._arena, self._tries, memory, longest)


class _Run:
    """One thread's run. Pages before ``_ready`` exist; up to ``_until`` they come with content.

    What lies in no page yet, because its page is not complete, waits at the buffer's beginning.
    """

    def __init__(self, arena: Arena, tries: Tries, memory: memoryview, longest: int) -> None:
        self._arena, self._tries, self._longest = arena, tries, longest
        self._view, self._base = arena.view, arena.address
        self._at = ctypes.addressof(ctypes.c_char.from_buffer(memory)) - self._base
        self._stop = self._at + memory.nbytes
        self._ready = self._until = self._at
        self._missing: MissingPages | None = None
        self._buffer: Arena | None = None
        self._waiting = 0
        self._is_direct = True

    def place(self, part: memoryview) -> memoryview:
        """See ``container``'s ``Run``."""
        stop = self._at + self._waiting + part.nbytes
        while self._ready < stop and self._missing is None:
            self._next()
        self._is_direct = self._ready >= stop and not self._waiting
        if self._is_direct:
            return part
        if self._buffer is None:
            self._buffer = Arena(self._longest + PAGE_BYTES)
            self._buffer.populate()
        return self._buffer.view[self._waiting : self._waiting + part.nbytes]

    def placed(self, part: memoryview) -> None:
        """See ``container``'s ``Run``."""
        if self._is_direct:
            self._at += part.nbytes
        elif self._buffer is not None:
            self._lay(self._buffer, self._waiting + part.nbytes)

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        self._end_stretch()
        if self._buffer is not None:
            with self._buffer.view as held:
                if kind is None:
                    self._view[self._at : self._at + self._waiting] = held[: self._waiting]
                wipe(held)

    def _lay(self, buffer: Arena, count: int) -> None:
        """The first ``count`` bytes of the buffer are in the arena, but for a page's beginning."""
        done, source = 0, buffer.view
        while done < count:
            if self._at < self._ready:
                size = min(count - done, self._ready - self._at)
                self._view[self._at : self._at + size] = source[done : done + size]
            elif self._missing is None:
                self._next()
                continue
            else:
                size = min(count - done, self._until - self._at) // PAGE_BYTES * PAGE_BYTES
                if not size:
                    break
                if not self._missing.copy(self._base + self._at, buffer.address + done, size):
                    self._end_stretch()
                    continue
            done, self._at = done + size, self._at + size
            if self._at == self._until:
                self._end_stretch()
        self._waiting = count - done
        source[: self._waiting] = source[done:count]

    def _end_stretch(self) -> None:
        """The pages of the stretch are there, or come as they are touched."""
        missing, self._missing = self._missing, None
        if missing is not None:
            missing.close()
            self._ready = self._until

    def _next(self) -> None:
        """More pages exist, or a further stretch is registered."""
        at, is_due = self._ready, self._tries.due()
        block = at // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
        end = block + HUGE_PAGE_BYTES
        if is_due and end <= self._stop and at - block < PAGE_BYTES:
            made = self._tries.cost(lambda: self._arena.populate(at, end - at))
            self._ready = end if made else self._stop
            return
        stop = min(self._stop, end if is_due else block + _STRETCH_BYTES)
        self._arena.prefer_small_pages(at, stop - at)
        first = -(-at // PAGE_BYTES) * PAGE_BYTES
        size = stop // PAGE_BYTES * PAGE_BYTES - first
        if first == at and size >= _WORTH_BYTES:
            self._missing = MissingPages.register(self._base + at, size)
        if self._missing is not None:
            self._until = at + size
            return
        stop = min(stop, at + self._longest if first == at else first)
        self._arena.populate(at, stop - at)
        self._ready = stop
