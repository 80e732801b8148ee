"""The one encoding of CBOR: whatever else decodes to the same value is refused."""

from __future__ import annotations

import contextlib
import sys

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal import cbor

KEYS = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=4)
VALUES = st.recursive(
    KEYS | st.none() | st.booleans() | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_encoded_is_decoded_to_the_same_and_keys_ascend_by_their_bytes(
    value: object,
) -> None:
    data = cbor.encode({0: value})
    decoded = cbor.decode(data, max_bytes=10_000)
    assert decoded == {0: value}
    ascending(decoded)


def ascending(value: object) -> None:
    if isinstance(value, dict):
        keys = [cbor2.dumps(key) for key in value]  # in the order in which they stood
        assert keys == sorted(keys)
    for inner in value.values() if isinstance(value, dict) else value or ():  # type: ignore[attr-defined]
        if isinstance(inner, (dict, list)):
            ascending(inner)


def test_keys_are_ordered_by_their_bytes_and_not_by_their_length() -> None:
    assert cbor.encode({"a": 1, 1000: 1}).hex() == "a21903e801616101"
    assert cbor.encode({-1: 1, 24: 1}).hex() == "a21818012001"
    with pytest.raises(cbor.CborInvalid):
        cbor.decode(bytes.fromhex("a26161011903e801"), max_bytes=100)


@pytest.mark.parametrize("data", ["c249010000000000000000", "c349010000000000000000"])
def test_a_number_beyond_64_bits_is_a_tag_and_refused(data: str) -> None:
    with pytest.raises(cbor.CborInvalid):
        cbor.decode(bytes.fromhex(data), max_bytes=100)


def both(data: bytes) -> tuple[object, object]:
    """What ``decode`` and ``decode_secret`` make of ``data``; nothing where they refuse."""
    found = []
    for read in (cbor.decode, cbor.decode_secret):
        try:
            found.append((read(bytes(bytearray(data)), max_bytes=10_000),))
        except cbor.CborInvalid:
            found.append(())
    return found[0], found[1]


@given(VALUES)
def test_a_secret_is_decoded_as_everything_else(value: object) -> None:
    one, other = both(cbor.encode(value))
    assert one == other == (value,)


@given(VALUES, st.data())
def test_a_changed_secret_is_refused_as_everything_else(value: object, data: st.DataObject) -> None:
    changed = bytearray(cbor.encode(value))
    place = data.draw(st.integers(0, len(changed) - 1))
    changed[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(changed) + 1))
    for each in (bytes(changed), bytes(changed[:cut]), bytes(changed) + b"\x00"):
        one, other = both(each)
        assert repr(one) == repr(other)


@given(st.binary(max_size=24))
def test_any_bytes_are_no_other_secret_than_they_are_a_value(data: bytes) -> None:
    one, other = both(data)
    assert repr(one) == repr(other)


def test_a_boolean_is_no_key_of_a_map() -> None:
    assert both(bytes.fromhex("a1f501")) == ((), ())


@pytest.mark.parametrize("depth", [15, 16, 17, 18, 5000])
def test_a_secret_may_be_nested_as_deeply_as_a_value(depth: int) -> None:
    one, other = both(b"\x81" * depth + b"\x01")
    assert one == other and bool(one) == (depth <= cbor.MAX_DEPTH)
    for empty in (b"\x80", b"\xa0"):
        one, other = both(b"\x81" * depth + empty)
        assert one == other


def test_a_length_beyond_the_end_takes_neither_time_nor_memory() -> None:
    for head in ("9bffffffffffffffff", "bbffffffffffffffff", "5bffffffffffffffff", "9a00ffffff"):
        assert both(bytes.fromhex(head)) == ((), ())


def test_bytes_of_a_secret_hold_zeros_once_it_was_decoded_or_refused() -> None:
    for end in (b"", b"\x00"):
        data = cbor.encode(["k" * 32, b"s" * 32]) + end
        with contextlib.suppress(cbor.CborInvalid):
            assert cbor.decode_secret(data, max_bytes=100) == ["k" * 32, b"s" * 32]
        assert data == bytes(len(data)) or sys.implementation.name != "cpython"
