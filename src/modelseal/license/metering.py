"""In which period a meter counts now. Pure; all in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from modelseal.license.plans import Meter
from modelseal.types import check_aware

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


def period(
    meter: Meter, now: datetime, *, starts_at: datetime | None, period_seconds: int | None
) -> tuple[datetime, datetime | None]:
    """Beginning and end of the period in which ``now`` lies; no end for ``total``.

    Days, weeks (from Monday) and months are those of the calendar; ``period`` is the license's,
    counted from its start.
    """
    now = check_aware(now).astimezone(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if meter.per == "day":
        return today, today + _DAY
    if meter.per == "week":
        monday = today - timedelta(days=today.weekday())
        return monday, monday + 7 * _DAY
    if meter.per == "month":
        first = today.replace(day=1)
        return first, (first + 32 * _DAY).replace(day=1)
    if meter.per == "period" and period_seconds is not None:
        length = timedelta(seconds=period_seconds)
        start = BEGINNING if starts_at is None else starts_at
        begun = start + (now - start) // length * length
        return begun, begun + length
    return BEGINNING, None
