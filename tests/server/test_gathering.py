"""How renewals are gathered into ticks."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import cast

from modelseal.server.http.heartbeat import ENOUGH, Ticker
from modelseal.server.services.calls import DeviceCalls
from modelseal.server.services.renewal import Renewed
from modelseal.server.services.ticks import MOST, Asked, Outcome

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


class _Calls:
    """Answers each renewal with its device's id, and knows how many came together."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()

    def renew_many(self, asked: Sequence[Asked]) -> list[Outcome]:
        self.sizes.append(len(asked))
        self.begun.set()
        self.may_end.wait(300)
        return [Renewed(lease=item.device_id, event_id="") for item in asked]


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


def test_a_serving_process_looks_for_cycles_when_much_is_left_and_not_in_its_beginning() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    subprocess.run([sys.executable, "-c", _SERVES], check=True, timeout=300)
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
