"""The forgery table: every known way to make a token that nobody signed, each with its code."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.license.forgeries import tables
from tests.license.world import lease_claims, raw_token, trust_of

from modelseal.crypto.signing import SigningKey
from modelseal.errors import InvalidBytes
from modelseal.license import tokens
from modelseal.license.claims import (
    LeaseClaims,
)

KEY = SigningKey.generate()
OTHER = SigningKey.generate()
RSA = SigningKey.generate("RS256")
PQ = SigningKey.generate("ML-DSA-65")
DEVICE = SigningKey.generate()
TRUST = trust_of(KEY)
HYBRID = trust_of(KEY, PQ)
TABLE, HYBRID_TABLE = tables(KEY, PQ, rsa=RSA, other=OTHER, device=DEVICE)

HEADER = {"alg": "Ed25519", "kid": KEY.kid, "typ": "lease+jwt"}
PAYLOAD = msgspec.to_builtins(lease_claims(DEVICE.kid))
GOOD = tokens.sign(lease_claims(DEVICE.kid), [KEY])
BOTH = tokens.sign(lease_claims(DEVICE.kid), [KEY, PQ])


def refused(token, trust=TRUST, cls=LeaseClaims):
    with pytest.raises(InvalidBytes) as found:
        tokens.read(token, cls, trust)
    return found.value.code


def test_the_table_starts_from_tokens_that_are_read():
    assert tokens.read(GOOD, LeaseClaims, TRUST) == tokens.read(BOTH, LeaseClaims, HYBRID)


@pytest.mark.parametrize("name", TABLE)
def test_a_forgery_is_refused_with_its_own_code(name):
    token, code = TABLE[name]
    assert refused(token) == code


@pytest.mark.parametrize("name", HYBRID_TABLE)
def test_a_forgery_of_a_hybrid_token_is_refused_with_its_own_code(name):
    token, code = HYBRID_TABLE[name]
    assert refused(token, HYBRID) == code


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_noise_is_refused_and_nothing_else_happens(noise):
    assert refused(noise).startswith("token_")


@settings(max_examples=200)
@given(place=st.integers(0, len(GOOD) - 1), char=st.characters(codec="ascii"))
def test_no_single_character_can_be_changed(place, char):
    if GOOD[place] != char:
        assert refused(GOOD[:place] + char + GOOD[place + 1 :]).startswith("token_")


@given(cut=st.integers(0, len(BOTH) - 1))
def test_no_cut_token_is_read(cut):
    assert refused(BOTH[:cut], HYBRID).startswith("token_")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
_KINDS = get_args(tokens.ServerClaims)


@settings(max_examples=200)
@given(
    cls=st.sampled_from(_KINDS),
    name=st.sampled_from(sorted({n for c in _KINDS for n in c.__struct_encode_fields__})),
    value=_JSON,
)
def test_a_signed_claim_of_any_other_type_gives_our_error_or_is_what_it_says(cls, name, value):
    body = PAYLOAD | {name: value}
    try:
        token = raw_token(HEADER | {"typ": cls.TYP}, body, KEY)
    except UnicodeEncodeError:
        return
    try:
        claims = tokens.read(token, cls, TRUST)
    except InvalidBytes as error:
        assert error.code.startswith("token_")
    else:
        assert msgspec.to_builtins(claims).get(name, value) == value
