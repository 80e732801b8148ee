"""Threads that open one file: as many as help, and no more while other loads go on."""

from __future__ import annotations

import pytest

from modelseal import processors
from modelseal.runtime import parallel
from modelseal.runtime.parallel import BYTES_PER_THREAD, MAX_THREADS, loading, threads_for


def test_threads_are_bounded_by_size_processors_and_the_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processors, "count", lambda: 4)
    sizes = [0, BYTES_PER_THREAD - 1, 2 * BYTES_PER_THREAD, 100 * BYTES_PER_THREAD]
    assert [threads_for(size) for size in sizes] == [1, 1, 2, 4]
    monkeypatch.setattr(processors, "count", lambda: 64)
    assert threads_for(1 << 40) == MAX_THREADS


def test_loads_that_go_on_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "count", lambda: 4)
    assert parallel._loads == 0
    with loading():
        assert threads_for(1 << 40) == 4
        with loading():
            assert threads_for(1 << 40) == 2
            with loading(), loading(), loading():
                assert threads_for(1 << 40) == 1
    assert threads_for(1 << 40) == 4


def test_a_load_that_fails_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "count", lambda: 2)
    with pytest.raises(ValueError, match="no"), loading():
        raise ValueError("no")
    with loading():
        assert threads_for(1 << 40) == 2
