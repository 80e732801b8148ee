"""How renewals are gathered into ticks."""

from __future__ import annotations

import asyncio
import gc
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from modelseal.errors import RateLimited
from modelseal.server.http.gathering import ENOUGH
from modelseal.server.http.heartbeat import AT_A_TIME, Ticker
from modelseal.server.services.calls import DeviceCalls
from modelseal.server.services.ordinary import Asked
from modelseal.server.services.renewal import Renewed
from modelseal.server.services.ticks import MOST, Outcome

_SERVES = """
import gc
from modelseal.server.run import collect_seldom
kept = [[] for _ in range(1000)]
collect_seldom()
assert gc.isenabled() and gc.get_freeze_count() > 1000, gc.get_freeze_count()
before = gc.get_stats()[0]["collections"]
kept += [[] for _ in range(10_000)]
assert gc.get_stats()[0]["collections"] == before
kept += [[] for _ in range(100_000)]
assert gc.get_stats()[0]["collections"] > before
"""


class _Tick:
    """Judged in pieces of ``AT_A_TIME``; ``looked`` and ``written`` wait as a store does."""

    def __init__(self, calls: _Calls, asked: Sequence[Asked]) -> None:
        self._calls, self._asked, self._judged = calls, asked, 0
        self.is_left, self.is_ready, self.is_done = bool(asked), False, not asked

    def look(self) -> None:
        self._calls.steps.append("look")
        self._calls.begun.set()
        self._calls.may_end.wait(300)

    def judge_some(self, most: int) -> bool:
        self._calls.pieces.append(most)
        self._calls.judging()
        self._judged += most
        self.is_left, self.is_ready = False, True
        return self._judged < len(self._asked)

    def judge(self) -> None:
        raise AssertionError("nobody is left")

    def write(self, written: Callable[[], None]) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self._calls.steps.append("write")
        if self._calls.steps.count("write") == 2:
            self._calls.both_written.set()
        written()
        self._calls.durable.wait(300)
        self._calls.steps.append("durable")
        self.is_done = True

    def outcomes(self) -> list[Outcome]:
        return [Renewed(lease=item.device_id, event_id="") for item in self._asked]


class _Calls:
    """Answers each renewal with its device's id, and knows how many came together."""

    def __init__(self, judging: Callable[[], None] = lambda: None) -> None:
        self.sizes: list[int] = []
        self.pieces: list[int] = []
        self.judging = judging
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()
        self.second, self.both_written = threading.Event(), threading.Event()
        self.durable = threading.Event()
        self.durable.set()
        self.steps: list[str] = []
        self.refused: set[str] = set()

    def let_in(self, asked: Asked) -> None:
        if asked.device_id in self.refused:
            raise RateLimited("too many requests", retry_after_seconds=1)

    def tick(self, asked: Sequence[Asked]) -> _Tick:
        self.sizes.append(len(asked))
        if len(self.sizes) == 2:
            self.second.set()
        return _Tick(self, asked)


async def _ask(ticker: Ticker, name: str, times: int) -> None:
    for _ in range(times):
        answer = await ticker.renew(Asked(name, b"", "local"))
        assert answer.lease == name


def test_each_renewal_is_answered_in_one_tick_and_no_tick_is_empty_or_too_large() -> None:
    calls = _Calls()

    async def run() -> None:
        ticker = Ticker(cast(DeviceCalls, calls))
        many = [_ask(ticker, f"a{n}", 5) for n in range(MOST + ENOUGH)]
        few = [_ask(ticker, f"b{n}", 20) for n in range(2)]
        await asyncio.gather(*many, *few)

    asyncio.run(run())
    assert sum(calls.sizes) == 5 * (MOST + ENOUGH) + 40
    assert 0 < min(calls.sizes) <= max(calls.sizes) <= MOST


def test_of_two_ticks_that_were_to_begin_only_one_does_where_it_takes_all_that_wait() -> None:
    calls = _Calls()
    calls.may_end.clear()

    async def run() -> None:
        ticker = Ticker(cast(DeviceCalls, calls))
        first = asyncio.create_task(_ask(ticker, "first", 1))
        await asyncio.to_thread(calls.begun.wait, 300)
        others = [asyncio.create_task(_ask(ticker, f"{n}", 1)) for n in range(ENOUGH)]
        await asyncio.sleep(0)  # a second tick is to begin beside the first
        calls.may_end.set()
        await asyncio.gather(first, *others)
        late = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*late)

    asyncio.run(run())
    assert calls.sizes == [1, ENOUGH]


def test_while_a_tick_is_judged_the_event_loop_does_what_else_there_is_to_do() -> None:
    turns: list[str] = []
    calls = _Calls(lambda: turns.append("judged"))

    async def run() -> None:
        ticker = Ticker(cast(DeviceCalls, calls))
        calls.may_end.clear()
        asks = [asyncio.create_task(_ask(ticker, "first", 1))]
        await asyncio.to_thread(calls.begun.wait, 300)
        asks += [asyncio.create_task(_ask(ticker, f"{n}", 1)) for n in range(3 * AT_A_TIME)]
        await asyncio.sleep(0)
        calls.may_end.set()
        while not all(task.done() for task in asks):
            turns.append("else")
            await asyncio.sleep(0)

    asyncio.run(run())
    assert turns.count("judged") >= 4 and set(calls.pieces) == {AT_A_TIME}
    assert ("judged", "judged") not in set(itertools.pairwise(turns))


def test_a_tick_is_looked_up_while_another_is_made_durable_and_not_before_it_is_written() -> None:
    calls = _Calls(lambda: calls.steps.append("judge"))
    calls.may_end.clear()
    calls.durable.clear()

    async def run() -> None:
        ticker = Ticker(cast(DeviceCalls, calls))
        asks = [asyncio.create_task(_ask(ticker, "first", 1))]
        await asyncio.to_thread(calls.begun.wait, 300)
        asks += [asyncio.create_task(_ask(ticker, f"{n}", 1)) for n in range(ENOUGH)]
        await asyncio.to_thread(calls.second.wait, 300)
        assert calls.steps == ["look"] and calls.sizes == [1, ENOUGH]
        calls.may_end.set()
        await asyncio.to_thread(calls.both_written.wait, 300)
        calls.durable.set()
        await asyncio.gather(*asks)

    asyncio.run(run())
    judged = [step for step in calls.steps if step != "judge"]
    assert judged == ["look", "write", "look", "write", "durable", "durable"]


def test_a_tick_that_fails_keeps_no_other_from_its_turn() -> None:
    failing = [True]

    def judging() -> None:
        if failing[0]:
            failing[0] = False
            raise ZeroDivisionError

    calls = _Calls(judging)
    calls.may_end.clear()

    async def run() -> list[object]:
        ticker = Ticker(cast(DeviceCalls, calls))
        asks = [asyncio.create_task(_ask(ticker, "first", 1))]
        await asyncio.to_thread(calls.begun.wait, 300)
        asks += [asyncio.create_task(_ask(ticker, f"{n}", 1)) for n in range(ENOUGH)]
        await asyncio.sleep(0)
        calls.may_end.set()
        return list(await asyncio.gather(*asks, return_exceptions=True))

    first, *others = asyncio.run(run())
    assert isinstance(first, ZeroDivisionError) and others == [None] * ENOUGH


def test_whoever_is_not_let_in_is_told_so_and_is_in_no_tick() -> None:
    calls = _Calls()
    calls.refused = {"flood"}

    async def run() -> None:
        ticker = Ticker(cast(DeviceCalls, calls))
        with pytest.raises(RateLimited):
            await ticker.renew(Asked("flood", b"", "local"))
        await _ask(ticker, "other", 1)

    asyncio.run(run())
    assert calls.sizes == [1]


def test_a_failure_while_judging_reaches_everybody_of_the_tick_and_the_next_tick_runs() -> None:
    broken = [True]

    def judging() -> None:
        if broken[0]:
            raise ZeroDivisionError

    calls = _Calls(judging)

    async def run() -> None:
        ticker = Ticker(cast(DeviceCalls, calls))
        failed = await asyncio.gather(
            *(ticker.renew(Asked(f"{n}", b"", "local")) for n in range(3)), return_exceptions=True
        )
        assert [type(error) for error in failed] == [ZeroDivisionError] * 3
        broken[0] = False
        await _ask(ticker, "later", 1)

    asyncio.run(run())


def test_a_serving_process_looks_for_cycles_when_much_is_left_and_not_in_its_beginning() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    subprocess.run([sys.executable, "-c", _SERVES], check=True, timeout=300)
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
