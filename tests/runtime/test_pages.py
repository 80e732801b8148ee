"""The pages of a large arena: huge while they are cheap, small ones else, the content the same."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable

import pytest
from tests.memory.test_memory import flags

from modelseal.memory import HUGE_PAGE_BYTES, Arena
from modelseal.runtime import pages as module
from modelseal.runtime.pages import SHARE, SLOW_NS, Pages, Tries
from modelseal.types import MemoryProtection
from modelseal.userfault import MissingPages

CHUNK = 256 * 1024
SIZE = 12 * HUGE_PAGE_BYTES + 5 * CHUNK + 17
DEAR, CHEAP = SLOW_NS * 4, SLOW_NS // 4

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: madvise")


def tries(*costs_ns: int, now_ns: Callable[[], int] = lambda: 0) -> Tries:
    """Huge pages cost ``costs_ns``, the last one from then on; no time passes by itself."""
    ends = itertools.chain(costs_ns, itertools.repeat(costs_ns[-1]))
    readings = itertools.chain.from_iterable((0, cost) for cost in ends)
    return Tries(lambda: next(readings), now_ns)


def content(start: int, stop: int) -> bytes:
    return bytes(range(251)) * ((stop - start) // 251 + 1)


def written(arena: Arena, pages: Pages, start: int = 0, stop: int = SIZE) -> bool:
    """The run is written; whether exactly that is in the arena then."""
    expected = content(start, stop)[: stop - start]
    with pages(arena.view[start:stop], CHUNK) as run:
        for at in range(start, stop, CHUNK):
            part = arena.view[at : min(at + CHUNK, stop)]
            place = run.place(part)
            place[:] = expected[at - start : at - start + len(part)]
            run.placed(part)
    return arena.view[start:stop] == expected


def small_blocks(arena: Arena) -> list[int]:
    """The huge pages' worth of the arena for which small pages were asked."""
    count = SIZE // HUGE_PAGE_BYTES
    return [n for n in range(count) if "nh" in flags(arena.address + n * HUGE_PAGE_BYTES)]


def test_cheap_pages_are_huge_to_the_end() -> None:
    with Arena(SIZE) as arena:
        assert written(arena, Pages(arena, tries(CHEAP)))
        assert small_blocks(arena) == []


def test_after_a_dear_huge_page_the_rest_are_small() -> None:
    with Arena(SIZE) as arena:
        assert written(arena, Pages(arena, tries(DEAR)))
        assert small_blocks(arena) == list(range(1, 12))


def test_a_dear_page_is_dear_for_the_next_arena_too_and_only_for_a_while() -> None:
    now = [0]
    known = tries(DEAR, CHEAP, now_ns=lambda: now[0])
    with Arena(SIZE) as first, Arena(SIZE) as second, Arena(SIZE) as third:
        assert written(first, Pages(first, known))
        assert written(second, Pages(second, known)) and small_blocks(second) == list(range(12))
        now[0] = SHARE * DEAR
        assert written(third, Pages(third, known)) and small_blocks(third) == []


def test_within_a_long_load_a_huge_page_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STRETCH_BYTES", 4 * HUGE_PAGE_BYTES)
    now = itertools.count(0, SHARE * DEAR // 2)
    with Arena(SIZE) as arena:
        assert written(arena, Pages(arena, tries(DEAR, CHEAP, now_ns=lambda: next(now))))
        assert small_blocks(arena) == [1, 2, 3, 4]


def test_one_dear_page_among_cheap_ones_says_nothing() -> None:
    with Arena(SIZE) as arena:
        assert written(arena, Pages(arena, tries(CHEAP, DEAR, CHEAP, DEAR, DEAR)))
        assert small_blocks(arena) == list(range(5, 12))


@pytest.mark.parametrize("cost", [CHEAP, DEAR])
def test_threads_have_runs_of_their_own(cost: int) -> None:
    middle = 5 * HUGE_PAGE_BYTES + 3 * CHUNK + 5
    with Arena(SIZE) as arena:
        pages, whole = Pages(arena, tries(cost)), []
        threads = [
            threading.Thread(
                target=lambda *run: whole.append(written(arena, pages, *run)), args=run
            )
            for run in [(0, middle), (middle, SIZE)]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert whole == [True, True]


@pytest.mark.parametrize("cost", [CHEAP, DEAR])
@pytest.mark.parametrize(
    "bounds",
    [(17, SIZE), (4096, 5 * CHUNK), (HUGE_PAGE_BYTES - 1, HUGE_PAGE_BYTES + 1), (5, 6),
     (3 * CHUNK + 1, SIZE - 70_000), (SIZE - 5000, SIZE)],
)  # fmt: skip
def test_a_run_anywhere_is_written_and_nothing_beside_it(
    cost: int, bounds: tuple[int, int]
) -> None:
    with Arena(SIZE) as arena:
        assert written(arena, Pages(arena, tries(cost)), *bounds)
        start, stop = bounds
        assert not any(arena.view[max(0, start - 9000) : start])
        assert not any(arena.view[stop : stop + 9000])


def test_runs_of_one_arena_may_come_one_after_the_other() -> None:
    with Arena(SIZE) as arena:
        pages = Pages(arena, tries(DEAR))
        bounds = [0, 3 * CHUNK + 7, 9 * CHUNK + 4000, SIZE]
        runs = list(itertools.pairwise(bounds))
        for run in runs:
            assert written(arena, pages, *run)
        assert all(arena.view[a:b] == content(a, b)[: b - a] for a, b in runs)


def test_an_error_leaves_memory_that_can_be_written() -> None:
    with Arena(SIZE) as arena:
        pages = Pages(arena, tries(DEAR))
        with pytest.raises(KeyError), pages(arena.view, CHUNK) as run:
            for number in range(20):
                run.place(arena.view[number * CHUNK : (number + 1) * CHUNK])[:] = b"x" * CHUNK
                run.placed(arena.view[number * CHUNK : (number + 1) * CHUNK])
            raise KeyError
        arena.view[:] = bytes(SIZE)  # would wait for ever
        assert not any(arena.view[:: CHUNK // 3])


def test_small_pages_that_cannot_be_made_with_content_are_made_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MissingPages, "register", lambda start, size_bytes: None)
    with Arena(SIZE) as arena:
        assert written(arena, Pages(arena, tries(DEAR)))
        assert small_blocks(arena) == list(range(1, 12))


def test_pages_that_somebody_made_meanwhile_are_written_like_any_memory() -> None:
    with Arena(SIZE) as arena:
        for place in (3 * HUGE_PAGE_BYTES, 7 * HUGE_PAGE_BYTES + 12_288):
            arena.prefer_small_pages(place, 1)
            arena.view[place] = 9
        assert written(arena, Pages(arena, tries(DEAR)))


def test_small_and_secret_arenas_need_none() -> None:
    with Arena(CHUNK) as small, Arena(SIZE, MemoryProtection.SECRET) as secret:
        assert Pages.of(small) is None
        assert (Pages.of(secret) is None) is (secret.reached is MemoryProtection.SECRET)


def test_an_arena_that_cannot_be_populated_is_written_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Arena, "populate", lambda self, offset=0, length=None: False)
    with Arena(SIZE) as arena:
        assert written(arena, Pages(arena, tries(CHEAP)))
        assert small_blocks(arena) == []
