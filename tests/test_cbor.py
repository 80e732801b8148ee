"""The one encoding of CBOR: whatever else decodes to the same value is refused."""

from __future__ import annotations

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
