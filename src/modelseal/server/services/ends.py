"""When licenses end: what was asked for or the plan's period, and never beyond a century."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from modelseal.errors import Misuse
from modelseal.license.plans import DAY_SECONDS, Plan
from modelseal.types import check_aware

FURTHEST = timedelta(seconds=100 * 366 * DAY_SECONDS)
"""No license ends later than so long from now, so that no later sum leaves the calendar."""


@dataclass(frozen=True, slots=True)
class Ends:
    """When a license ends: at a time, so many seconds after its first activation, or never."""

    ends_at: datetime | None
    period_seconds: int | None


def ends_of(
    plan: Plan,
    now: datetime,
    *,
    expires_at: datetime | None,
    expires_in_seconds: int | None,
    never: bool,
) -> Ends:
    """The end that was asked for, or the plan's period; ``Misuse`` for two ends or a past one."""
    asked = (expires_at is not None) + (expires_in_seconds is not None) + bool(never)
    if asked > 1:
        raise Misuse("a license has one end")
    if expires_at is not None:
        end = check_aware(expires_at)
        if end <= now:
            raise Misuse("a license ends in the future", expires_at=end.isoformat())
        return Ends(_near(end, now), None)
    seconds = None if never else (expires_in_seconds or plan.period_seconds)
    if seconds is None:
        return Ends(None, None)
    if plan.starts == "first_activation":
        return Ends(None, seconds)
    return Ends(later(now, seconds, now), None)


def later(at: datetime, seconds: int, now: datetime) -> datetime:
    """``seconds`` after ``at``; ``Misuse`` when that is further from ``now`` than a century."""
    try:
        return _near(at + timedelta(seconds=seconds), now)
    except OverflowError:
        raise _too_far() from None


def _near(end: datetime, now: datetime) -> datetime:
    if end - now > FURTHEST:
        raise _too_far()
    return end


def _too_far() -> Misuse:
    return Misuse("a license ends within a hundred years", limit_days=FURTHEST.days)


__all__ = ["FURTHEST", "Ends", "ends_of", "later"]
