"""Lease states, cell by cell, and which answer of the server counts."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.license.world import (
    DAY,
    DEVICE,
    IAT,
    NONCE,
    NOW,
    denial_claims,
    lease_claims,
    license_claims,
    release_claims,
)

from modelseal.errors import AnswerInvalid, Misuse, by_code
from modelseal.license import lease
from modelseal.license.claims import Confirmation
from modelseal.license.lease import Phase, Word
from modelseal.license.status import Status
from modelseal.types import LeaseState, from_numeric

JKT = "j" * 43
LICENSE = license_claims(JKT)
LEASE = lease_claims(JKT)

# The published table, written down a second time by hand: rows as in the enum, columns
# none, fresh, due, late, ended.
EXPECTED = """
nothing                NOT_ACTIVATED NOT_ACTIVATED NOT_ACTIVATED NOT_ACTIVATED NOT_ACTIVATED
lease                  EXPIRED       ACTIVE        RENEW_DUE     OVERDUE       EXPIRED
listed revoked         REVOKED       REVOKED       REVOKED       REVOKED       REVOKED
listed suspended       SUSPENDED     SUSPENDED     SUSPENDED     SUSPENDED     SUSPENDED
listed ended           RETURNED      RETURNED      RETURNED      RETURNED      RETURNED
denied NOT_ACTIVATED   NOT_ACTIVATED NOT_ACTIVATED NOT_ACTIVATED NOT_ACTIVATED NOT_ACTIVATED
denied EXPIRED         EXPIRED       EXPIRED       EXPIRED       EXPIRED       EXPIRED
denied SUSPENDED       SUSPENDED     SUSPENDED     SUSPENDED     SUSPENDED     SUSPENDED
denied REVOKED         REVOKED       REVOKED       REVOKED       REVOKED       REVOKED
denied FORKED          FORKED        FORKED        FORKED        FORKED        FORKED
denied RETURNED        RETURNED      RETURNED      RETURNED      RETURNED      RETURNED
"""
CELLS = [
    (Word(" ".join(parts[:-5])), phase, LeaseState(parts[-5 + column]))
    for parts in (line.split() for line in EXPECTED.strip().splitlines())
    for column, phase in enumerate(Phase)
]
AT = {
    Phase.NONE: NOW,
    Phase.FRESH: NOW,
    Phase.DUE: from_numeric(LEASE.renew_after_at),
    Phase.LATE: from_numeric(IAT) + timedelta(seconds=7 * DAY) * 2 / 3,
    Phase.ENDED: from_numeric(LEASE.exp),
}
LISTED = {
    Word.LISTED_REVOKED: Status.REVOKED,
    Word.LISTED_SUSPENDED: Status.SUSPENDED,
    Word.LISTED_ENDED: Status.ENDED,
}


def test_the_table_has_every_cell_once():
    assert {(word, phase) for word, phase, _ in CELLS} == set(itertools.product(Word, Phase))
    assert len(CELLS) == len(lease.TABLE) == len(Word) * len(Phase)


@pytest.mark.parametrize(("word", "phase", "expected"), CELLS)
def test_each_cell_is_reached_by_real_tokens(word, phase, expected):
    held = None if phase is Phase.NONE else LEASE
    denial = None
    if word.value.startswith("denied"):
        denial = denial_claims(JKT, seq=2, state=word.value.removeprefix("denied "))
    license_ = None if word is Word.NOTHING else LICENSE
    found = lease.state(license_, held, denial, LISTED.get(word), AT[phase])
    assert found is expected
    assert lease.TABLE[word, phase] is expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "ACTIVE"),
        (7 * DAY // 3 - 1, "ACTIVE"),
        (7 * DAY // 3, "RENEW_DUE"),
        (7 * DAY * 2 // 3 - 1, "RENEW_DUE"),
        (7 * DAY * 2 // 3, "OVERDUE"),
        (7 * DAY - 1, "OVERDUE"),
        (7 * DAY, "EXPIRED"),
        (7 * DAY + 1, "EXPIRED"),
        (-1, "ACTIVE"),
    ],
)
def test_a_seven_day_lease_changes_its_state_to_the_second(seconds, expected):
    at = NOW + timedelta(seconds=seconds)
    assert lease.state(LICENSE, LEASE, None, None, at) == expected
    assert lease.state(LICENSE, LEASE, None, Status.VALID, at) == expected


def test_a_clock_set_back_keeps_no_lease_alive():
    floor = from_numeric(LEASE.exp)
    assert lease.state(LICENSE, LEASE, None, None, NOW, floor) is LeaseState.EXPIRED


def test_a_lease_never_outlives_its_license():
    short = license_claims(JKT, exp=IAT + DAY)
    before, at = NOW + timedelta(seconds=DAY - 1), NOW + timedelta(days=1)
    assert lease.state(short, LEASE, None, None, before) is LeaseState.ACTIVE
    assert lease.state(short, LEASE, None, None, at) is LeaseState.EXPIRED


@given(lease_seq=st.integers(0, 9), denial_seq=st.integers(0, 9))
def test_the_highest_number_wins_either_way(lease_seq, denial_seq):
    held = lease_claims(JKT, seq=lease_seq)
    denial = denial_claims(JKT, seq=denial_seq, state="SUSPENDED")
    found = lease.state(LICENSE, held, denial, None, NOW)
    assert (found is LeaseState.ACTIVE) == (lease_seq > denial_seq)


@pytest.mark.parametrize("word", ["ACTIVE", "RENEW_DUE", "OVERDUE", "WHATEVER", "", "revoked"])
def test_a_denial_that_names_no_end_still_never_lets_run(word):
    assert lease.denied_state(denial_claims(JKT, state=word)) is LeaseState.SUSPENDED


def test_every_code_with_a_state_is_a_code_of_the_tree():
    for code, state in lease.DENIED_STATES.items():
        assert by_code(code) is not None
        assert lease.denied_state(denial_claims(JKT, state=state.value)) is state


def test_naive_times_are_refused():
    with pytest.raises(Misuse):
        lease.state(LICENSE, LEASE, None, None, NOW.replace(tzinfo=None))


ASKED = {"nonce": NONCE, "jkt": JKT, "seq": 1, "device": DEVICE}
ANSWERS = {
    "lease": lease_claims(JKT, seq=2),
    "denial": denial_claims(JKT, seq=2),
    "release": release_claims(JKT, seq=1),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_the_answer_to_the_pending_request_is_accepted(answer):
    lease.check_answer(answer, **ASKED)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize(
    "change", [{"nonce": "m" * 43}, {"jkt": "k" * 43}, {"device": "dev_other"}], ids=str
)
def test_the_answer_to_another_request_or_device_is_refused(answer, change):
    with pytest.raises(AnswerInvalid):
        lease.check_answer(answer, **(ASKED | change))


@pytest.mark.parametrize("seq", [0, 1])
def test_a_lease_or_denial_that_is_not_newer_is_refused(seq):
    for answer in (lease_claims(JKT, seq=seq), denial_claims(JKT, seq=seq)):
        with pytest.raises(AnswerInvalid):
            lease.check_answer(answer, **ASKED)


@pytest.mark.parametrize("seq", [0, 2])
def test_a_release_for_another_lease_is_refused(seq):
    with pytest.raises(AnswerInvalid):
        lease.check_answer(release_claims(JKT, seq=seq), **ASKED)


def test_a_first_lease_and_a_first_denial_are_accepted_before_there_is_a_device():
    first = {"nonce": NONCE, "jkt": JKT, "seq": 0, "device": None}
    lease.check_answer(lease_claims(JKT, seq=1), **first)
    lease.check_answer(denial_claims(JKT, seq=0, sub=JKT, cnf=Confirmation(JKT)), **first)
    with pytest.raises(AnswerInvalid):
        lease.check_answer(lease_claims(JKT, seq=0), **first)
