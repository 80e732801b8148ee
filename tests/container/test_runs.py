"""Whoever reads may say where each thread opens its run of chunks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest

from modelseal.errors import ContainerDamaged
from modelseal.memory import Arena
from modelseal.runtime.pages import Pages, Tries

CHUNK = 65536
COUNT = 70


class Beside:
    """Opens every chunk beside the target and brings it there afterwards."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.parts: list[int] = []
        self.failed: list[BaseException] = []

    @contextmanager
    def run(self, target: memoryview, longest: int) -> Any:
        assert longest == CHUNK
        self.began.append(len(target))
        try:
            yield self
        except BaseException as error:
            self.failed.append(error)
            raise

    def place(self, part: memoryview) -> memoryview:
        self.beside = memoryview(bytearray(len(part)))
        return self.beside

    def placed(self, part: memoryview) -> None:
        self.parts.append(len(part))
        part[:] = self.beside


@pytest.mark.parametrize("start", [0, 5, CHUNK, 3 * CHUNK - 1])
def test_the_target_is_what_was_opened_beside_it(publisher: Any, content: Any, start: int) -> None:
    plain = content("a", 5 * CHUNK + 9)
    data, made = publisher.seal(publisher.section({"a": plain}))
    target, beside = bytearray(len(plain) - start), Beside()
    model = publisher.verified(data)
    model.read_range(1, made.data_keys[1], start, memoryview(target), prepare=beside.run)
    assert target == plain[start:]
    assert beside.began == [len(target)] and sum(beside.parts) == len(target)


def test_each_thread_has_a_run_and_they_make_up_the_target(publisher: Any, content: Any) -> None:
    plain = content("a", 9 * CHUNK - 1)
    data, made = publisher.seal(publisher.section({"a": plain}))
    runs: list[int] = []

    @contextmanager
    def run(target: memoryview, longest: int) -> Any:
        runs.append(len(target))
        with Beside().run(target, longest) as beside:
            yield beside

    target = bytearray(len(plain))
    model = publisher.verified(data)
    model.read_range(1, made.data_keys[1], 0, memoryview(target), prepare=run, threads=3)
    assert target == plain and sorted(runs) == [3 * CHUNK - 1, 3 * CHUNK, 3 * CHUNK]


def test_a_run_is_told_that_a_chunk_did_not_open(publisher: Any, content: Any) -> None:
    data, made = publisher.seal(publisher.section({"a": content("a", 3 * CHUNK)}))
    target, beside, damaged = bytearray(3 * CHUNK), Beside(), bytearray(data)
    damaged[-1] ^= 1
    with pytest.raises(ContainerDamaged):
        publisher.verified(bytes(damaged)).read_range(
            1, made.data_keys[1], 0, memoryview(target), prepare=beside.run
        )
    assert len(beside.failed) == 1 and not any(target)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("cost_ns", [0, 10**8])
def test_an_arena_holds_all_or_zeros_whatever_its_pages_cost(
    publisher: Any, content: Any, threads: int, damaged: bool, cost_ns: int
) -> None:
    plain = content("a", COUNT * CHUNK)
    data, made = publisher.seal(publisher.section({"a": plain}))
    changed = bytearray(data)
    changed[-1] ^= damaged
    model, now = publisher.verified(bytes(changed)), [0]

    def cpu_ns() -> int:
        now[0] += cost_ns
        return now[0]

    with Arena(len(plain) - 7) as arena:
        pages = Pages(arena, Tries(cpu_ns, lambda: 0))
        try:
            model.read_range(
                1, made.data_keys[1], 7, arena.view, prepare=pages, threads=threads, depth="tag"
            )
        except ContainerDamaged:
            assert damaged and not any(arena.view)
        else:
            assert not damaged and arena.view == plain[7:]
