"""Time on a device whose clock nobody can trust: the floor below which it cannot be. Pure.

The floor comes from signed tokens only. A stored last-seen clock is never a lock, a clock ahead of
time never a reason: it can only end a lease early, and the next contact puts it right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelseal.types import check_aware

SET_BACK_SECONDS = 300
RAISE_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class ClockVerdict:
    """``at`` is the time to judge by: never before the floor. ``behind_seconds`` is 0 or more."""

    at: datetime
    behind_seconds: int
    set_back: bool


def floor(anchor: datetime | None, others: Iterable[datetime] = ()) -> datetime | None:
    """The time it cannot be earlier than; None without a token of the lease chain.

    ``anchor`` is ``iat`` of the token (lease or denial) with the highest ``seq``. ``others`` are
    signed times received since that token came (``iat`` of status lists, key releases, licenses;
    the catalog's timestamps); they raise the floor by at most 24 hours and are forgotten when the
    next token of the chain comes, so that a server that was once ahead of time bricks nobody.
    """
    if anchor is None:
        return None
    start = check_aware(anchor)
    latest = max((check_aware(other) for other in others), default=start)
    return max(start, min(latest, start + timedelta(seconds=RAISE_SECONDS)))


def judge(now: datetime, floor: datetime | None) -> ClockVerdict:
    """What ``now`` is worth against ``floor``: set back when more than 5 minutes below it."""
    moment = check_aware(now)
    if floor is None or moment >= (ground := check_aware(floor)):
        return ClockVerdict(moment, 0, set_back=False)
    behind = ground - moment
    return ClockVerdict(
        ground, -(-behind // timedelta(seconds=1)), behind > timedelta(seconds=SET_BACK_SECONDS)
    )
