"""Hostile bytes give a verdict, never an exception: damaged samples, and what hypothesis makes."""

from __future__ import annotations

import gzip
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.attest.judging import judge

from fuzz import appraised
from modelseal.attest import selftest
from modelseal.attest.verify import encodings
from modelseal.attest.verify.registry import builtin
from modelseal.attest.verify.steps import NotGenuine
from modelseal.errors import EvidenceInvalid

KINDS = ("sgx", "tdx", "snp", "nitro", "azure-vtpm")


def refused(kind: str, data: bytes) -> None:
    try:
        appraised.check(kind, data)
    except EvidenceInvalid:
        return


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.binary(max_size=6000))
@settings(max_examples=60, deadline=None)
def test_any_bytes_get_a_verdict(kind, data):
    refused(kind, data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_damaged_samples_get_a_verdict(kind, seed):
    chance = random.Random(f"{kind}{seed}")
    for sample in appraised.samples(kind):
        data = bytearray(encodings.peel(sample))
        for _ in range(chance.randrange(1, 6)):
            place, size = chance.randrange(len(data)), chance.randrange(1, 40)
            match chance.randrange(4):
                case 0:
                    del data[place : place + size]
                case 1:
                    data[place:place] = chance.randbytes(size)
                case 2:
                    data[place : place + size] = bytes(min(size, len(data) - place))
                case _:
                    data[place : place + 4] = b"\xff" * min(4, len(data) - place)
        refused(kind, bytes(data))


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_is_refused(kind):
    for sample in appraised.samples(kind):
        data = encodings.peel(sample).rstrip(b"\0\n")
        for size in range(0, len(data) - 1, max(1, len(data) // 25)):
            result = judge(kind, data[:size], now=appraised.NOW)
            assert not result.genuine and result.code != "kind_failed", size


@pytest.mark.parametrize("kind", sorted(builtin()))
def test_evidence_of_every_other_kind_is_refused(kind):
    for case in selftest.cases():
        inside = kind == "tdx" and case.kind == "azure-vtpm"  # Azure's JSON holds a quote of TDX
        if case.kind != kind and not inside:
            result = judge(kind, *map(selftest.sample, case.evidence))
            assert not result.genuine and result.code != "kind_failed", case.name


@given(data=st.binary(max_size=400))
def test_packing_is_taken_off_or_left_and_never_fails(data):
    try:
        encodings.peel(data)
    except NotGenuine as no:
        assert no.code == "evidence_malformed"


@given(data=st.binary(min_size=20, max_size=400))
def test_hex_and_gzip_are_taken_off_to_the_same_bytes(data):
    assert encodings.peel(data.hex().encode() + b"\n") == data
    assert encodings.peel(gzip.compress(data)) == encodings.peel(data)


def test_a_gzip_bomb_is_refused_within_its_cap():
    with pytest.raises(NotGenuine):
        encodings.peel(gzip.compress(bytes(encodings.MAX_BYTES + 1)))
    with pytest.raises(NotGenuine):
        encodings.peel(gzip.compress(b"x") + b"y")


def test_deep_json_is_refused():
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    for kind in KINDS:
        assert judge(kind, deep).code == "evidence_malformed"


SLOW = {
    "begun": b"-----BEGIN CERTIFICATE-----",
    "other": b"-----BEGIN A-----",
    "spaces": b"A" + b" " * (1 << 20) + b"!",
    "armour": b"-----BEGIN CERTIFICATE-----\n" + b" " * (1 << 20) + b"!",
    "braces": b'{"tcbInfo":{' + b"} " * (1 << 19),
    "lists": b"[" * (1 << 20),
    "commas": b'{"a":[' + b"0," * (1 << 19),
}


@pytest.mark.parametrize("pattern", SLOW)
@pytest.mark.parametrize("kind", sorted(builtin()))
def test_bytes_made_to_be_slow_are_judged_in_time_that_grows_with_their_length(kind, pattern):
    """A pattern that took time by the square of its length would not end within this test."""
    data = SLOW[pattern] * (1 if len(SLOW[pattern]) > 99 else (1 << 20) // len(SLOW[pattern]))
    assert not judge(kind, data, endorsements=[data]).genuine
    assert not judge(kind, b"{}", data).genuine
