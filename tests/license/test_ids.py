"""Ids and references."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal import ids
from modelseal.errors import Misuse

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOISE = st.binary(min_size=10, max_size=10)


@given(prefix=st.sampled_from(sorted(ids.PREFIXES)), noise=NOISE, ms=st.integers(0, 2**47))
def test_an_id_is_its_prefix_and_a_uuid_of_version_seven(prefix, noise, ms):
    at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)
    made = ids.new_id(prefix, at, lambda count: noise[:count])
    name, text = made.split("_")
    found = uuid.UUID(text)
    assert (name, found.version, found.variant) == (prefix, 7, uuid.RFC_4122)
    assert abs((found.int >> 80) - ms) <= 1


@given(first=NOISE, second=NOISE, seconds=st.integers(1, 10**8))
def test_ids_sort_by_the_time_they_were_made(first, second, seconds):
    early = ids.new_id("evt", NOW, lambda _: first)
    late = ids.new_id("evt", NOW + timedelta(seconds=seconds), lambda _: second)
    assert early < late


def test_seventy_four_bits_of_an_id_are_random():
    zeros = ids.new_id("lic", NOW, lambda count: bytes(count))
    ones = ids.new_id("lic", NOW, lambda count: b"\xff" * count)
    differing = uuid.UUID(zeros[4:]).int ^ uuid.UUID(ones[4:]).int
    assert differing.bit_count() == 74


def test_another_prefix_or_an_odd_time_is_misuse():
    for prefix, at in (
        ("xyz", NOW),
        ("", NOW),
        ("lic", NOW.replace(tzinfo=None)),
        ("lic", datetime(1960, 1, 1, tzinfo=UTC)),
    ):
        with pytest.raises(Misuse):
            ids.new_id(prefix, at, lambda count: bytes(count))


@given(of=st.text(max_size=60))
def test_a_reference_has_eight_symbols_and_is_found_again_however_it_is_typed(of):
    reference = ids.reference(of)
    assert len(reference) == 8
    assert set(reference) <= set(ids.CROCKFORD)
    assert ids.reference(of) == reference
    typed = f"{reference[:4]}-{reference[4:]}".lower().replace("0", "o").replace("1", "l")
    assert ids.normal_reference(typed) == reference


def test_references_are_fixed_for_ever():
    assert ids.reference("evt_01890a5d-ac96-774b-bcce-b302099a8057") == "PG80K57V"
