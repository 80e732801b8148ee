"""The pages of a large arena: huge while they are cheap, small ones else, the content the same."""

from __future__ import annotations

import itertools
import sys
import threading

import pytest
from tests.memory.test_memory import flags

from modelseal.memory import HUGE_PAGE_BYTES, Arena
from modelseal.runtime.pages import SLOW_NS, Pages
from modelseal.types import MemoryProtection

CHUNK = 256 * 1024
SIZE = 24 * HUGE_PAGE_BYTES + 5 * CHUNK + 17

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: madvise")


def clock(cost_ns: int):
    """Every measurement between two readings takes ``cost_ns``."""
    ticks = itertools.count()
    return lambda: next(ticks) * cost_ns


def written(arena: Arena, pages: Pages, start: int = 0, stop: int = SIZE) -> None:
    for at in range(start, stop, CHUNK):
        part = arena.view[at : min(at + CHUNK, stop)]
        pages(part)
        part[:] = bytes([at // CHUNK % 251]) * len(part)


def is_whole(arena: Arena) -> bool:
    view = arena.view
    return all(view[at] == view[min(at + CHUNK, SIZE) - 1] == at // CHUNK % 251
               for at in range(0, SIZE, CHUNK))  # fmt: skip


def small_blocks(arena: Arena) -> list[int]:
    """The huge pages' worth of the arena for which small pages were asked."""
    count = SIZE // HUGE_PAGE_BYTES
    return [n for n in range(count) if "nh" in flags(arena.address + n * HUGE_PAGE_BYTES)]


def test_cheap_pages_are_huge_to_the_end() -> None:
    with Arena(SIZE) as arena:
        written(arena, Pages(arena, clock(SLOW_NS // 4)))
        assert is_whole(arena) and small_blocks(arena) == []


def test_dear_pages_are_small_and_a_huge_one_is_tried_ever_more_rarely() -> None:
    with Arena(SIZE) as arena:
        written(arena, Pages(arena, clock(SLOW_NS * 4)))
        assert is_whole(arena)
        tried = [n for n in range(24) if n not in small_blocks(arena)]
        assert tried == [0, 9]  # 8 small ones, then 16


def test_threads_have_runs_of_their_own() -> None:
    middle = 11 * HUGE_PAGE_BYTES + 3 * CHUNK
    with Arena(SIZE) as arena:
        pages = Pages(arena)
        runs = [(0, middle), (middle, SIZE)]
        threads = [threading.Thread(target=written, args=(arena, pages, *run)) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert is_whole(arena)


def test_small_and_secret_arenas_need_none() -> None:
    with Arena(CHUNK) as small, Arena(SIZE, MemoryProtection.SECRET) as secret:
        assert Pages.of(small) is None
        assert (Pages.of(secret) is None) is (secret.reached is MemoryProtection.SECRET)


def test_an_arena_that_cannot_be_populated_is_written_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Arena, "populate", lambda self, offset=0, length=None: False)
    with Arena(SIZE) as arena:
        written(arena, Pages(arena))
        assert is_whole(arena) and small_blocks(arena) == []
