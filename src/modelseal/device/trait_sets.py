"""Which sets of traits may open a device key: the minimal ones that are enough.

A set is enough when it holds ``min_score`` of the enrolled weight and at least 80 bits that a
thief would have to guess; it is minimal when no trait of it can be left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modelseal.device.tolerance import DEFAULT_MIN_SCORE, checked_score
from modelseal.device.traits import ENTROPY_BITS, WEIGHTS, TraitKind

MIN_ENTROPY_BITS = 80
KINDS = tuple(TraitKind)
"""The kind of each bit of a mask, least significant first."""


def minimal_sets(
    kinds: Iterable[TraitKind],
    *,
    min_score: float = DEFAULT_MIN_SCORE,
    weights: Mapping[TraitKind, int] = WEIGHTS,
) -> list[int]:
    """The masks of all minimal qualifying sets of ``kinds``, at most 70; empty when none qualifies.

    First those that need no Argon2id, then those that lean least on traits that change.
    """
    available = to_mask(kinds)
    total = sum(weights[kind] for kind in to_kinds(available))
    needed = checked_score(min_score) * total

    def enough(mask: int) -> bool:
        chosen = to_kinds(mask)
        bits = sum(ENTROPY_BITS[kind] for kind in chosen)
        return bits >= MIN_ENTROPY_BITS and sum(weights[kind] for kind in chosen) >= needed

    masks = [m for m in range(1, 1 << len(KINDS)) if m & ~available == 0 and enough(m)]
    minimal = [m for m in masks if not any(enough(m & ~(1 << bit)) for bit in bits_of(m))]
    return sorted(minimal, key=lambda m: (bool(stretched_kinds(m)), -_weight(m, weights), m))


def stretched_kinds(mask: int) -> tuple[TraitKind, ...]:
    """The kinds of ``mask`` that are guessable alone and so go through Argon2id."""
    return tuple(kind for kind in to_kinds(mask) if ENTROPY_BITS[kind] < MIN_ENTROPY_BITS)


def to_mask(kinds: Iterable[TraitKind]) -> int:
    """The mask of ``kinds``; ``to_kinds`` undoes it."""
    return sum(1 << KINDS.index(kind) for kind in set(kinds))


def to_kinds(mask: int) -> tuple[TraitKind, ...]:
    """The kinds of ``mask`` in canonical order; ``to_mask`` undoes it."""
    return tuple(KINDS[bit] for bit in bits_of(mask))


def bits_of(mask: int) -> list[int]:
    """The numbers of the bits that are set."""
    return [bit for bit in range(len(KINDS)) if mask >> bit & 1]


def _weight(mask: int, weights: Mapping[TraitKind, int]) -> int:
    return sum(weights[kind] for kind in to_kinds(mask))
