"""The matching rule: does a computer still look like the one that was enrolled?

Pure arithmetic over the *enrolled* set: added hardware never hurts, a kind counts once however
many readings it has. The device key decides whether a request is accepted; this rule says what
moved, whether a new key comes from the *same computer*, and whether the device is *unbound*.
Normative: ``docs/spec/device.md``, "Matching".
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence, Set
from fractions import Fraction
from typing import Protocol

from msgspec import Struct

from modelseal.device.traits import MIN_LIVE_TRAITS, WEIGHTS, TraitKind
from modelseal.errors import DeviceUnbound, Misuse
from modelseal.license.claims import MissingTrait, TraitDigest

DEFAULT_MIN_SCORE = 0.6
_LARGEST_DENOMINATOR = 10_000
_KINDS = {kind.value: kind for kind in TraitKind}


class BindingRule(Protocol):
    """The part of a plan's ``binding`` that matching needs."""

    @property
    def weights(self) -> Mapping[str, int]:
        """Weights that replace the defaults, by kind; empty for the defaults."""
        ...

    @property
    def min_score(self) -> float:
        """The share of enrolled weight that must match, above 0 and up to 1."""
        ...


class Match(Struct, frozen=True):
    """The outcome: ``score`` is the share of ``enrolled_weight`` that still matches.

    ``moved`` names every enrolled kind that no longer matches, ``gone`` those of them that were
    not presented at all, ``live`` counts the kinds that were presented.
    """

    score: float
    enrolled_weight: int
    live: int
    same_computer: bool
    unbound: bool
    moved: tuple[TraitKind, ...]
    gone: tuple[TraitKind, ...]


def match(
    enrolled: Sequence[TraitDigest],
    presented: Sequence[TraitDigest],
    binding: BindingRule | None = None,
) -> Match:
    """How far ``presented`` matches ``enrolled`` under the plan's ``binding`` (or the defaults).

    A kind matches when one presented digest equals one enrolled digest of that kind. Enrolled
    kinds that only an administrator can read do not count when nothing privileged was presented:
    they were not looked at. Kinds this release does not know are ignored. Raises ``Misuse`` for
    a rule that makes no sense.
    """
    own = binding.weights if binding is not None else {}
    weights = merged_weights(own) if own else WEIGHTS
    needed = checked_score(binding.min_score if binding is not None else DEFAULT_MIN_SCORE)
    if enrolled is presented or enrolled == presented:
        return _unmoved({_KINDS[item.kind] for item in presented if item.kind in _KINDS}, weights)
    have, want = _by_kind(presented), _by_kind(_comparable(enrolled, presented))
    matched = {kind for kind, digests in want.items() if digests & have.get(kind, set())}
    total = sum([weights[kind] for kind in want])
    weight = sum([weights[kind] for kind in matched])
    live = len(have)
    enough = weight * needed.denominator >= needed.numerator * total
    same = total > 0 and enough and live >= MIN_LIVE_TRAITS
    return Match(
        score=weight / total if total else 0.0,
        enrolled_weight=total,
        live=live,
        same_computer=same,
        unbound=live < MIN_LIVE_TRAITS,
        moved=_in_order(want.keys() - matched),
        gone=_in_order(want.keys() - have.keys()),
    )


def _unmoved(kinds: Set[TraitKind], weights: Mapping[TraitKind, int]) -> Match:
    """The outcome where everything enrolled was presented again, and nothing else."""
    total, live = sum([weights[kind] for kind in kinds]), len(kinds)
    return Match(
        score=1.0 if total else 0.0,
        enrolled_weight=total,
        live=live,
        same_computer=total > 0 and live >= MIN_LIVE_TRAITS,
        unbound=live < MIN_LIVE_TRAITS,
        moved=(),
        gone=(),
    )


def check_bound(
    presented: Sequence[TraitDigest],
    missing: Sequence[MissingTrait],
    *,
    allow_unbound: bool,
    floating: bool = False,
    operator_identity: bool = False,
) -> bool:
    """True for a bound device, False for an unbound one that is allowed.

    Raises ``DeviceUnbound`` with the list of what was looked for when the plan refuses it;
    floating plans and operator-given identity are never refused.
    """
    if len(_by_kind(presented)) >= MIN_LIVE_TRAITS:
        return True
    if allow_unbound or floating or operator_identity:
        return False
    raise DeviceUnbound(
        f"fewer than {MIN_LIVE_TRAITS} live traits",
        traits=[f"{item.kind}: {item.why}" for item in missing],
    )


def merged_weights(own: Mapping[str, int]) -> dict[TraitKind, int]:
    """The default weights with a plan's own in their place; ``Misuse`` for odd ones."""
    weights = dict(WEIGHTS)
    if not own:
        return weights
    for name, weight in own.items():
        if name not in _KINDS or isinstance(weight, bool) or not 0 <= weight <= 100:
            raise Misuse("a trait weight is 0 to 100 for a known kind", trait=str(name)[:64])
        weights[TraitKind(name)] = weight
    return weights


def checked_score(score: float) -> Fraction:
    """The exact share that ``score`` writes (0.6 is 3/5); ``Misuse`` outside 0 to 1."""
    if not 0 < score <= 1:
        raise Misuse("min_score lies above 0 and is at most 1")
    return _exact(score)


@functools.lru_cache(maxsize=256)
def _exact(score: float) -> Fraction:
    return Fraction(score).limit_denominator(_LARGEST_DENOMINATOR)


def _by_kind(digests: Iterable[TraitDigest]) -> dict[TraitKind, set[int]]:
    found: dict[TraitKind, set[int]] = {}
    for item in digests:
        kind = _KINDS.get(item.kind)
        if kind is not None:
            seen = found.get(kind)
            if seen is None:
                found[kind] = {item.digest}
            else:
                seen.add(item.digest)
    return found


def _in_order(kinds: Set[TraitKind]) -> tuple[TraitKind, ...]:
    return tuple(kind for kind in TraitKind if kind in kinds) if kinds else ()


def _comparable(
    enrolled: Sequence[TraitDigest], presented: Sequence[TraitDigest]
) -> list[TraitDigest]:
    if any(item.privileged for item in presented):
        return list(enrolled)
    seen = {item.kind for item in presented}
    return [item for item in enrolled if not item.privileged or item.kind in seen]
