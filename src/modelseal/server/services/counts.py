"""Calls counted: how many were answered how, and after what time. As Prometheus text, too."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable, Iterator

from msgspec import Struct

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds."""


class Numbers(Struct, frozen=True, kw_only=True):
    """By route: answers by status, how many ended within each of ``BOUNDS``, seconds in all."""

    calls: dict[str, dict[int, int]] = {}
    times: dict[str, list[int]] = {}
    seconds: dict[str, float] = {}


class Counts:
    """What one process counts, after what one ``before`` it in the same place had counted."""

    def __init__(self, before: Numbers | None = None) -> None:
        self._numbers = total([] if before is None else [before])
        self._guard = threading.Lock()

    def count(self, route: str, status: int, seconds: float) -> None:
        """One more call was answered."""
        place, numbers = bisect.bisect_left(BOUNDS, seconds), self._numbers
        with self._guard:
            by_status = numbers.calls.setdefault(route, {})
            by_status[status] = by_status.get(status, 0) + 1
            numbers.times.setdefault(route, [0] * (len(BOUNDS) + 1))[place] += 1
            numbers.seconds[route] = numbers.seconds.get(route, 0.0) + seconds

    def numbers(self) -> Numbers:
        """A copy."""
        with self._guard:
            return total([self._numbers])


def total(many: Iterable[Numbers]) -> Numbers:
    """The sum, which shares nothing with its parts."""
    found = Numbers(calls={}, times={}, seconds={})
    for one in many:
        for route, by_status in one.calls.items():
            calls = found.calls.setdefault(route, {})
            for status, number in by_status.items():
                calls[status] = calls.get(status, 0) + number
        for route, times in one.times.items():
            so_far = found.times.get(route, [0] * (len(BOUNDS) + 1))
            found.times[route] = [a + b for a, b in zip(so_far, times, strict=True)]
        for route, seconds in one.seconds.items():
            found.seconds[route] = found.seconds.get(route, 0.0) + seconds
    return found


def lines(numbers: Numbers) -> Iterator[str]:
    """Prometheus text, version 0.0.4."""
    yield "# HELP modelseal_requests_total Answers"
    yield "# TYPE modelseal_requests_total counter"
    for route, by_status in sorted(numbers.calls.items()):
        for status, number in sorted(by_status.items()):
            yield f'modelseal_requests_total{{route="{route}",status="{status}"}} {number}'
    name = "modelseal_request_seconds"
    yield f"# HELP {name} Time until an answer began"
    yield f"# TYPE {name} histogram"
    for route, found in sorted(numbers.times.items()):
        so_far = 0
        for bound, number in zip((*BOUNDS, "+Inf"), found, strict=True):
            so_far += number
            yield f'{name}_bucket{{route="{route}",le="{bound}"}} {so_far}'
        yield f'{name}_sum{{route="{route}"}} {numbers.seconds.get(route, 0.0):.6f}'
        yield f'{name}_count{{route="{route}"}} {so_far}'
