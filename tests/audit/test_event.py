"""Audit events: canonical bytes, closed kinds, personal data beside them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.audit.world import START, event

from modelseal import audit
from modelseal.audit import EventKind, Personal, check_personal, commit
from modelseal.errors import AuditBroken, Misuse

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=6,
).filter(lambda value: "secret" not in json.dumps(value))


@given(
    kind=st.sampled_from(EventKind),
    at=st.integers(0, 250_000_000_000_000_000).map(lambda us: EPOCH + timedelta(microseconds=us)),
    params=st.dictionaries(st.sampled_from(["code", "step", "why"]), PLAIN, max_size=3),
    personal=st.none() | st.text("abcdef", min_size=43, max_size=43),
)
def test_decoding_gives_back_the_encoded_event_and_encoding_its_bytes(
    kind: EventKind, at: datetime, params: dict[str, object], personal: str | None
) -> None:
    one = replace(event(1, kind), at=at, params=params, personal=personal)
    try:
        data = audit.encode(one)
    except Misuse:
        assert "secret" in str(params) or _depth(params) > 5
        return
    assert audit.decode(data) == one
    assert audit.encode(audit.decode(data)) == data


def _depth(value: object) -> int:
    inner = (
        list(value.values())
        if isinstance(value, dict)
        else value
        if isinstance(value, list)
        else []
    )
    return 1 + max(map(_depth, inner), default=0)


def test_the_same_instant_in_another_zone_gives_the_same_bytes() -> None:
    elsewhere = START.astimezone(timezone(timedelta(hours=8)))
    assert audit.encode(event(0)) == audit.encode(replace(event(0), at=elsewhere))


@pytest.mark.parametrize(
    "params",
    [
        {"license_key": "MS-1"},
        {"passphrase": "x"},
        {"inner": {"secret": "x"}},
        {"score": 0.5},
        {"Upper": 1},
        {"at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"raw": b"x"},
        {"big": 2**53},
        {"text": "x" * 5000},
        {"text": "\ud800"},
        {"deep": [[[[[[[[1]]]]]]]]},
        {f"p{i}": "x" * 4000 for i in range(5)},
    ],
)
def test_what_does_not_belong_into_an_event_is_refused(params: dict[str, object]) -> None:
    with pytest.raises(Misuse):
        audit.encode(replace(event(0), params=params))


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(Misuse):
        audit.encode(replace(event(0), at=datetime(2026, 1, 1)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1', b'"v":2'),
        (b'"v":1', b'"v":true'),
        (b'"v":1', b'"v": 1'),
        (b'"kind":"lease_renewed"', b'"kind":"lease_forgotten"'),
        (b'"actor":"system"', b'"actor":7'),
        (b'"actor":"system"', b'"actor":"system","actor":"system"'),
        (b'"reference":"00000000"', b'"reference":"00000000","note":"x"'),
        (b'"at":"2026-03-04T05:06:07.250000Z"', b'"at":"2026-03-04T05:06:07.25Z"'),
        (b'"at":"2026-03-04T05:06:07.250000Z"', b'"at":"yesterday"'),
        (b'"params":{"seq":0}', b'"params":{"seq":0.0}'),
        (b'"params":{"seq":0}', b'"params":[]'),
        (b"modelseal-event", b"modelseal-other"),
        (b"}", b""),
    ],
)
def test_other_bytes_are_no_event(old: bytes, new: bytes) -> None:
    data = audit.encode(event(0))
    assert old in data
    with pytest.raises(AuditBroken) as caught:
        audit.decode(data.replace(old, new, 1))
    assert caught.value.params["fault"] == "malformed"


@given(data=st.binary(max_size=200))
def test_random_bytes_are_no_event(data: bytes) -> None:
    with pytest.raises(AuditBroken):
        audit.decode(data)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03- 4T05:06:07.250000Z",
        "2026-03-04t05:06:07.250000Z",
        "2026-03-04T05:06:07.250000z",
        "2026-03-04T05:06:07.25Z",
        "2026-3-04T05:06:07.250000Z",
    ],
)
def test_a_time_in_another_writing_is_no_event(text: str) -> None:
    members = json.loads(audit.encode(event(0)))
    with pytest.raises(AuditBroken):
        audit.event.from_members(members | {"at": text})


def test_the_commitment_holds_for_its_fields_and_for_no_others() -> None:
    personal = commit({"email": "li@example.com"}, lambda n: bytes(range(n)))
    one = replace(event(0), personal=personal.commitment)
    check_personal(one, personal)
    others = [
        Personal({"email": "al@example.com"}, personal.salt),
        Personal(personal.fields, bytes(32)),
        Personal(personal.fields, b""),
        Personal({"email": "\ud800"}, personal.salt),
    ]
    for other in others:
        with pytest.raises(AuditBroken):
            check_personal(one, other)
    with pytest.raises(AuditBroken):
        check_personal(replace(one, personal="é"), personal)


def test_equal_fields_get_unlinkable_commitments_and_never_show_when_printed() -> None:
    salts = iter([bytes(32), bytes([1]) * 32])
    one, two = (commit({"email": "li@example.com"}, lambda _n: next(salts)) for _ in range(2))
    assert one.commitment != two.commitment
    assert "li@" not in repr(one)


def test_the_event_itself_holds_nothing_personal() -> None:
    personal = commit({"email": "li@example.com"}, lambda n: bytes(n))
    data = audit.encode(replace(event(0), personal=personal.commitment))
    assert b"li@" not in data and personal.commitment.encode() in data
