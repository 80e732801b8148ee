"""After an outage: everybody comes back, and the server is asked no more than twice as often."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from modelseal.client.heartbeat import Progress, retry_at
from modelseal.errors import RateLimited, ServerFailed
from modelseal.server.services.limits import Pace

START = datetime(2026, 1, 1, tzinfo=UTC)
DEVICES = 2000
HOUR = 3600


def peak_after(renew_seconds: int, outage_seconds: int) -> tuple[float, float, int]:
    """The busiest fiftieth of a period after the outage and the time until all have a lease, both
    as shares of the usual; and how many leases ended while their device was told to wait.

    Clients wait by their own rule and the server's ``Pace``; a lease lives two periods.
    """
    chance = random.Random(renew_seconds + outage_seconds)
    mean = DEVICES / (renew_seconds * (1 + 1 / 32))
    pace = Pace(mean)
    began = 2.0 * renew_seconds
    back = began + outage_seconds
    queue = [(chance.uniform(0, renew_seconds), n) for n in range(DEVICES)]
    heapq.heapify(queue)
    failures = [Progress(poll_at=START) for _ in range(DEVICES)]
    spread = [chance.random() for _ in range(DEVICES)]
    ends = [float("inf")] * DEVICES
    served: Counter[int] = Counter()
    waiting, late, whole = set(range(DEVICES)), 0, 0.0
    while queue and (at := heapq.heappop(queue)) and at[0] < back + 3 * renew_seconds:
        moment, device = at
        now, progress = START + timedelta(seconds=moment), failures[device]
        try:
            if began <= moment < back:
                raise ServerFailed
            pace.take(now)
        except (RateLimited, ServerFailed) as error:
            again = retry_at(now, progress, error, spread[device])
            progress.failures += 1
            heapq.heappush(queue, ((again - START).total_seconds(), device))
            continue
        if moment >= back:
            served[int((moment - back) / (renew_seconds / 50))] += 1
            if device in waiting:
                waiting.discard(device)
                whole = moment - back
                late += ends[device] < moment and ends[device] > back
        progress.failures = 0
        ends[device] = moment + 2 * renew_seconds
        drawn = renew_seconds * (1 + chance.random() / 16)
        heapq.heappush(queue, (moment + drawn, device))
    assert not waiting
    return max(served.values()) / (mean * renew_seconds / 50), whole / renew_seconds, late


@pytest.mark.parametrize("renew_seconds", [600, 12 * HOUR])
@pytest.mark.parametrize("outage_seconds", [120, HOUR, 24 * HOUR])
def test_after_an_outage_nobody_is_forgotten_and_the_peak_is_at_most_twice_the_mean(
    renew_seconds: int, outage_seconds: int
) -> None:
    peak, whole, _late = peak_after(renew_seconds, outage_seconds)
    assert peak <= 2.1
    assert whole <= 2.5


def test_no_lease_ends_by_the_wait_after_an_hour_without_a_server() -> None:
    assert peak_after(12 * HOUR, HOUR)[2] == 0


def test_a_pace_lets_in_twice_the_mean_and_tells_the_rest_moments_of_their_own() -> None:
    pace, waits = Pace(10.0), []
    for _ in range(120):
        try:
            pace.take(START)
        except RateLimited as error:
            waits.append(error.params["retry_after_seconds"])
    assert len(waits) == 120 - 6
    assert waits == sorted(waits) and Counter(waits)[3] == 10
    Pace(None).take(START)


def test_a_clock_that_was_set_back_keeps_nobody_out() -> None:
    pace = Pace(1.0)
    pace.take(START + timedelta(days=30))
    pace.take(START)
