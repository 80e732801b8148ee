"""Drift: how far a computer may change between two contacts with the server.

Each run that finds traits changed within tolerance is a *step*. The third step in a row without
contact is refused, and so is any step that leaves less than ``min_score`` of the weight that the
last contact knew: many small changes never add up to another computer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from modelseal.device.tolerance import DEFAULT_MIN_SCORE, checked_score
from modelseal.device.traits import WEIGHTS, TraitKind
from modelseal.errors import DeviceChanged

MAX_STEPS = 2


@dataclass(frozen=True, slots=True)
class Drift:
    """Accepted steps since the last contact and the kinds that moved in any of them."""

    steps: int = 0
    moved: frozenset[TraitKind] = frozenset()


NO_DRIFT = Drift()
"""Where every contact with the server begins again."""


def step(
    drift: Drift,
    moved: Iterable[TraitKind],
    enrolled: Iterable[TraitKind],
    *,
    min_score: float = DEFAULT_MIN_SCORE,
    weights: Mapping[TraitKind, int] = WEIGHTS,
) -> Drift:
    """The drift after a run in which ``moved`` of the ``enrolled`` kinds differ from the last run.

    Nothing moved: the same drift. Raises ``DeviceChanged`` naming every kind that moved since the
    last contact when the step is one too many or goes too far.
    """
    fresh = frozenset(moved)
    if not fresh:
        return drift
    after = Drift(drift.steps + 1, drift.moved | fresh)
    kinds = frozenset(enrolled) | after.moved
    total = sum(weights[kind] for kind in kinds)
    kept = sum(weights[kind] for kind in kinds - after.moved)
    too_far = total == 0 or Fraction(kept, total) < checked_score(min_score)
    if after.steps > MAX_STEPS or too_far:
        raise DeviceChanged(
            "too many changes without contact to the server",
            traits=sorted(str(kind) for kind in after.moved),
        )
    return after
