"""In which period of a meter a moment lies: half open, without gap, the same on every computer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal.errors import Misuse
from modelseal.license import metering
from modelseal.license.plans import Meter

MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
PERS = ["day", "week", "month", "period", "total"]


def period(per, now, starts_at=None, seconds=7 * 86400):
    meter = Meter(name="m", limit=1, per=per)
    return metering.period(meter, now, starts_at=starts_at, period_seconds=seconds)


@pytest.mark.parametrize("per", PERS)
@given(now=MOMENTS, starts_at=st.none() | MOMENTS)
def test_a_moment_lies_in_one_period_and_the_next_begins_where_it_ends(per, now, starts_at):
    begins, ends = period(per, now, starts_at)
    assert begins <= now and (ends is None or now < ends)
    if ends is not None:
        assert period(per, ends, starts_at)[0] == ends
        assert period(per, ends - timedelta(microseconds=1), starts_at) == (begins, ends)


def test_the_zone_in_which_a_moment_is_written_changes_nothing_and_none_is_refused():
    now = datetime(2028, 2, 29, 23, 30, tzinfo=UTC)
    for per in PERS:
        elsewhere = now.astimezone(timezone(timedelta(hours=14)))
        assert period(per, now) == period(per, elsewhere)
        with pytest.raises(Misuse):
            period(per, now.replace(tzinfo=None))
    assert period("period", now, seconds=None) == (metering.BEGINNING, None)
