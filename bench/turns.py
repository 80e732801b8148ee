"""Taking turns: every contender once per round, in a new order each round; medians compared.

Whatever else the machine does falls on all alike, and none profits from always coming second.
"""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

Took = Mapping[str, float]
Work = Callable[[], Took]


def take(
    contenders: Mapping[str, Work],
    base: str,
    rounds: int,
    *,
    warm: int = 1,
    bases: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, dict[str, Any]]:
    """Medians by contender, with ratios of ``seconds`` and ``cpu_seconds`` to those of ``base``.

    ``bases`` names another base for some. ``warm`` rounds come first and do not count.
    """
    seen: dict[str, list[Took]] = {name: [] for name in contenders}
    order, shuffle = list(contenders), random.Random(1)  # noqa: S311 - an order, no secret
    for number in range(-warm, rounds):
        shuffle.shuffle(order)
        for name in order:
            gc.collect()
            took = contenders[name]()
            if number >= 0:
                seen[name].append(took)
    found: dict[str, dict[str, Any]] = {name: _medians(each) for name, each in seen.items()}
    for name, each in found.items():
        beside = found[bases.get(name, base)]
        for what in ("seconds", "cpu_seconds"):
            if beside.get(what):
                each[f"{what}_ratio"] = each[what] / beside[what]
        each["rounds"] = rounds
    return found


def pairs(one: Work, other: Work, rounds: int) -> dict[str, float]:
    """The median of ``other``/``one`` over pairs taken right after one another, CPU and wall."""
    ratios: dict[str, list[float]] = {"seconds": [], "cpu_seconds": []}
    one(), other()
    for number in range(rounds):
        first, second = (one, other) if number % 2 else (other, one)
        took = {first: first(), second: second()}
        for what, seen in ratios.items():
            seen.append(took[other][what] / took[one][what])
    found = {f"{what}_ratio": statistics.median(seen) for what, seen in ratios.items()}
    return found | {"rounds": float(rounds)}


def _medians(each: list[Took]) -> dict[str, float]:
    return {what: statistics.median(took[what] for took in each) for what in each[0]}
