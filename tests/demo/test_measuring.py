"""Plain and protected are measured fairly."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from demo.customer import table_of
from demo.measuring import in_turns


class _Work:
    """Takes the times it is given, one after the other, and notes its turn."""

    def __init__(self, kind: str, times: list[float], turns: list[str]) -> None:
        self._kind, self._times, self._turns = kind, iter(times), turns

    def __call__(self) -> Mapping[str, float]:
        self._turns.append(self._kind)
        return {"load": next(self._times), "same": 1.0}


def _measured(plain: list[float], protected: list[float]) -> tuple[dict[str, object], list[str]]:
    turns: list[str] = []
    work = {
        "plain": _Work("plain", plain, turns),
        "protected": _Work("protected", protected, turns),
    }
    return in_turns(work, len(plain) - 1), turns


def test_medians_are_compared_and_the_first_round_does_not_count() -> None:
    report, _ = _measured([100, 1, 9, 2], [900, 3, 2, 99])
    assert report == {
        "load": {"plain_seconds": 2, "protected_seconds": 3, "ratio": 1.5, "rounds": 3},
        "same": {"plain_seconds": 1, "protected_seconds": 1, "ratio": 1, "rounds": 3},
    }


def test_they_take_turns_and_who_begins_changes() -> None:
    """What the machine does meanwhile falls on both alike."""
    _, turns = _measured([1] * 5, [1] * 5)
    pairs = list(zip(turns[::2], turns[1::2], strict=True))
    assert all(set(pair) == {"plain", "protected"} for pair in pairs)
    assert all(one != other for one, other in itertools.pairwise(pairs))


@pytest.mark.parametrize("part", ["load", "inference"])
def test_the_table_shows_milliseconds_and_ratio(part: str) -> None:
    times = {"plain_seconds": 0.0123, "protected_seconds": 0.0246, "ratio": 2.0}
    empty: dict[str, dict[str, float]] = {}
    numbers = {"load": empty, "inference": empty} | {part: {"face_mesh.onnx": times}}
    name = "load face_mesh" if part == "load" else "face_mesh.onnx"
    assert table_of(numbers)[1:] == [[name, "12.3 ms", "24.6 ms", "2.00"]]
