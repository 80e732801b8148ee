"""Status lists: two bits per device, deflated, signed."""

from __future__ import annotations

import random
import zlib
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.license.world import IAT, LIST_URI, NOW, lease_claims, status_claims

from modelseal.errors import InvalidBytes, Misuse, TokenClaims, TokenTooLarge, TokenType
from modelseal.license import status, tokens
from modelseal.license.claims import StatusListBody
from modelseal.license.status import Status
from modelseal.strict_json import b64u, unb64u

STATUSES = st.dictionaries(st.integers(0, 999), st.sampled_from(list(Status)), max_size=40)


@settings(max_examples=50)
@given(entries=STATUSES)
def test_every_entry_is_read_as_it_was_packed(entries):
    bits = status.pack(entries, 1000)
    assert len(bits) == 250
    found = status.unpack(status.body(bits))
    listed = status.StatusList(LIST_URI, 1, NOW, NOW, 300, found)
    assert [listed.get(i) for i in range(1000)] == [
        entries.get(i, Status.VALID) for i in range(1000)
    ]


def test_the_bits_lie_as_the_draft_says():
    """Token Status List, section 4.1: two bits per entry, the first in the lowest bits."""
    order = [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]
    bits = status.pack({index: Status(value) for index, value in enumerate(order)}, 12)
    assert bits == bytes([0xC9, 0x44, 0xF9])


def test_the_compressed_example_of_the_draft_is_read():
    """Token Status List, section 4.2 (two bits): ``eNo76fITAAPfAgc``."""
    assert status.unpack(StatusListBody(bits=2, lst="eNo76fITAAPfAgc")) == bytes([0xC9, 0x44, 0xF9])


def test_a_signed_list_is_read_with_number_and_times(trust, key):
    listed = status.parse(tokens.sign(status_claims(), [key]), trust, uri=LIST_URI)
    assert [listed.get(i) for i in (0, 7, 9, 10)] == [0, 1, 2, 3]
    assert (listed.number, listed.ttl_seconds, listed.uri) == (IAT, 300, LIST_URI)
    assert listed.issued_at == NOW
    assert listed.fresh(NOW + timedelta(seconds=599))
    assert not listed.fresh(NOW + timedelta(seconds=600))


def test_an_entry_beyond_the_list_is_unknown_and_never_valid(trust, key):
    listed = status.parse(tokens.sign(status_claims(), [key]), trust)
    assert listed.size == 64
    assert [listed.get(i) for i in (-1, 64, 10**12)] == [None, None, None]


def test_the_list_of_another_address_is_refused(trust, key):
    with pytest.raises(TokenClaims):
        status.parse(tokens.sign(status_claims(), [key]), trust, uri="/v1/status-lists/2")


def test_an_older_list_never_replaces_a_newer_one(trust, key):
    token = tokens.sign(status_claims(number=5), [key])
    assert status.parse(token, trust, least_number=5).number == 5
    with pytest.raises(TokenClaims):
        status.parse(token, trust, least_number=6)


def test_no_other_token_is_a_list(trust, key, device):
    with pytest.raises(TokenType):
        status.parse(tokens.sign(lease_claims(device.kid), [key]), trust)


@pytest.mark.parametrize(
    "lst",
    [
        "",
        "=",
        "AB",
        b64u(b"not deflated"),
        b64u(zlib.compress(b"x" * 100)[:-1]),
        b64u(zlib.compress(b"x" * 100) + b"more"),
        b64u(zlib.compress(bytes(status.MAX_ENTRIES // 4 + 1))),
        b64u(zlib.compress(bytes(1 << 28))),
    ],
)
def test_a_list_that_is_cut_too_large_or_followed_by_something_is_refused(trust, key, lst):
    claims = status_claims(status_list=StatusListBody(bits=2, lst=lst))
    with pytest.raises(InvalidBytes) as found:
        status.parse(tokens.sign(claims, [key]), trust)
    assert found.value.code == "token_claims"


def test_the_largest_list_is_read(trust, key):
    claims = status_claims(status_list=status.body(bytes(status.MAX_ENTRIES // 4)))
    assert status.parse(tokens.sign(claims, [key]), trust).size == status.MAX_ENTRIES


def test_a_list_of_ten_million_with_one_in_a_hundred_revoked_fits_160_kilobytes(trust, key):
    chosen = random.Random(7).sample(range(10_000_000), 100_000)
    bits = status.pack(dict.fromkeys(chosen, Status.REVOKED), 10_000_000)
    body = status.body(bits)
    assert len(unb64u(body.lst)) <= 160_000
    listed = status.parse(tokens.sign(status_claims(status_list=body), [key]), trust)
    assert listed.size == 10_000_000
    assert listed.get(chosen[0]) is Status.REVOKED
    assert sum(byte.bit_count() for byte in listed.bits) == 100_000


def test_a_list_beyond_the_token_cap_is_refused_before_parsing(trust):
    with pytest.raises(TokenTooLarge):
        status.parse("A" * (tokens.MAX_STATUS_LIST_BYTES + 1), trust)


@pytest.mark.parametrize(
    ("entries", "size"),
    [
        ({}, 0),
        ({}, -1),
        ({}, status.MAX_ENTRIES + 1),
        ({5: Status.REVOKED}, 5),
        ({-1: Status.VALID}, 5),
    ],
)
def test_an_entry_outside_the_list_is_never_packed(entries, size):
    with pytest.raises(Misuse):
        status.pack(entries, size)
