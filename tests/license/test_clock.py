"""The time floor: what a clock may say on a device that nobody trusts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal.errors import Misuse
from modelseal.license import clock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def test_without_a_token_there_is_no_floor_and_every_time_is_believed():
    assert clock.floor(None, [NOW]) is None
    verdict = clock.judge(NOW, None)
    assert (verdict.at, verdict.behind_seconds, verdict.set_back) == (NOW, 0, False)


def test_the_newest_token_sets_the_floor_and_others_raise_it_by_a_day_at_most():
    assert clock.floor(NOW) == NOW
    assert clock.floor(NOW, [NOW - DAY]) == NOW
    assert clock.floor(NOW, [NOW + 5 * SECOND, NOW - DAY]) == NOW + 5 * SECOND
    assert clock.floor(NOW, [NOW + DAY]) == NOW + DAY
    assert clock.floor(NOW, [NOW + 365 * DAY]) == NOW + DAY


def test_a_server_a_year_ahead_is_forgotten_with_its_next_token():
    wrong = clock.floor(NOW + 365 * DAY)
    assert clock.judge(NOW, wrong).set_back
    right = clock.floor(NOW)
    assert not clock.judge(NOW, right).set_back


def test_five_minutes_are_forgiven_and_one_second_more_is_not():
    assert not clock.judge(NOW - timedelta(seconds=300), NOW).set_back
    late = clock.judge(NOW - timedelta(seconds=301), NOW)
    assert (late.set_back, late.behind_seconds, late.at) == (True, 301, NOW)
    assert clock.judge(NOW - timedelta(microseconds=1), NOW).behind_seconds == 1


@given(now=TIMES, floor=TIMES, later=st.timedeltas(timedelta(0), timedelta(days=40000)))
def test_a_clock_that_goes_forward_is_never_refused_for_it(now, floor, later):
    if not clock.judge(now, floor).set_back:
        assert not clock.judge(now + later, floor).set_back


@given(anchor=TIMES, others=st.lists(TIMES, max_size=5), now=TIMES)
def test_rules_are_judged_at_no_time_before_the_floor(anchor, others, now):
    floor = clock.floor(anchor, others)
    assert anchor <= floor <= anchor + DAY
    verdict = clock.judge(now, floor)
    assert verdict.at == max(now, floor)
    assert verdict.behind_seconds >= 0
    assert verdict.set_back == (floor - now > timedelta(seconds=300))


def test_naive_times_are_refused_and_zones_do_not_matter():
    naive = NOW.replace(tzinfo=None)
    for call in (
        lambda: clock.floor(naive),
        lambda: clock.floor(NOW, [naive]),
        lambda: clock.judge(naive, None),
        lambda: clock.judge(NOW, naive),
    ):
        with pytest.raises(Misuse):
            call()
    beijing = NOW.astimezone(timezone(timedelta(hours=8)))
    assert clock.judge(beijing, NOW).at == NOW
