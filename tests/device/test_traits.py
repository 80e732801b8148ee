"""Traits: hidden values, gathered readings, digests that tell nothing."""

from __future__ import annotations

import copy
import hashlib
import hmac
import pickle
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.device.world import LAPTOP, SALT, SERVER, reading

from modelseal import device
from modelseal.device import (
    ENTROPY_BITS,
    WEIGHTS,
    MissingTrait,
    MissingWhy,
    TraitKind,
    TraitValue,
    gather,
)
from modelseal.errors import Misuse


def test_every_kind_has_the_weight_of_the_design_and_an_entropy() -> None:
    assert list(WEIGHTS.values()) == [4, 3, 3, 3, 2, 2, 2, 1]
    assert set(WEIGHTS) == set(ENTROPY_BITS) == set(TraitKind)


def test_no_print_copy_or_pickle_shows_a_value() -> None:
    one = reading("mac", "topsecret")
    traits = gather([one])
    for text in (repr(one), str(one.value), f"{traits}", repr([traits])):
        assert "topsecret" not in text
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(one.value)


def test_a_wiped_value_is_gone() -> None:
    traits = gather([reading("mac"), reading("cpu_class")])
    traits.wipe()
    traits.wipe()
    for one in traits.readings:
        with pytest.raises(Misuse):
            one.value.reveal()


@pytest.mark.parametrize("data", [b"", bytes(4097)])
def test_a_value_has_a_length_within_bounds(data: bytes) -> None:
    with pytest.raises(Misuse):
        TraitValue(data)


def test_values_compare_by_content() -> None:
    assert TraitValue(b"a") == TraitValue(b"a")
    assert TraitValue(b"a") != TraitValue(b"b")
    assert TraitValue(b"a") != "a"


def test_gathering_keeps_each_value_once_and_one_reason_for_each_missing_kind() -> None:
    traits = gather(
        [
            reading("mac", "b"),
            reading("disk_serial", "same"),
            reading("disk_serial", "same"),
            reading("disk_serial", "other"),
            MissingTrait(TraitKind.MAC, MissingWhy.VIRTUAL),
            MissingTrait(TraitKind.MACHINE_ID, MissingWhy.ABSENT),
            MissingTrait(TraitKind.MACHINE_ID, MissingWhy.SHARED_BY_IMAGE),
        ]
    )
    assert [r.kind for r in traits.readings] == ["disk_serial", "disk_serial", "mac"]
    whys = {item.kind: item.why for item in traits.missing}
    assert set(whys) == set(TraitKind) - {TraitKind.MAC, TraitKind.DISK_SERIAL}
    assert whys[TraitKind.MACHINE_ID] == MissingWhy.SHARED_BY_IMAGE
    assert whys[TraitKind.TPM_EK] == MissingWhy.NOT_SUPPORTED


def test_a_digest_is_four_bytes_of_hmac_under_a_derived_key() -> None:
    """Computed here from RFC 5869 and RFC 2104 alone."""
    prk = hmac.new(bytes(32), SALT, hashlib.sha256).digest()
    key = hmac.new(prk, b"modelseal trait digest v1\x01", hashlib.sha256).digest()
    expected = hmac.new(key, b"mac\x00\x00\x1b\x21\x01\x02\x03", hashlib.sha256).digest()[:4]
    one = device.TraitReading(TraitKind.MAC, TraitValue(bytes.fromhex("001b21010203")))
    assert device.digest_for_server(one, SALT).digest == int.from_bytes(expected, "big")


def test_two_products_see_digests_that_cannot_be_linked() -> None:
    one = {d.digest for d in device.enrol(gather(SERVER), SALT).digests}
    two = {d.digest for d in device.enrol(gather(SERVER), bytes(32)).digests}
    assert len(one) == len(SERVER) and not one & two


def test_the_same_value_of_two_kinds_gives_two_digests() -> None:
    pair = [reading("disk_serial", "X"), reading("board_serial", "X")]
    assert len({d.digest for d in device.enrol(gather(pair), SALT).digests}) == 2


def test_an_enrolment_says_what_is_missing_and_whether_it_binds() -> None:
    enrolment = device.enrol(gather(LAPTOP), SALT)
    assert (enrolment.live, enrolment.bound) == (4, True)
    assert Counter(m.why for m in enrolment.missing) == {"not_supported": 4}
    weak = device.enrol(gather([*LAPTOP[:2], reading("mac", "second")]), SALT)
    assert (weak.live, weak.bound) == (2, False)


def test_what_leaves_the_device_holds_no_value() -> None:
    enrolment = device.enrol(gather([reading("mac", "topsecret")]), SALT)
    assert b"topsecret" not in msgspec.json.encode(list(enrolment.digests))


@given(st.binary(max_size=64).filter(lambda salt: len(salt) != 32))
def test_a_salt_of_another_length_is_refused(salt: bytes) -> None:
    with pytest.raises(Misuse):
        device.digest_for_server(reading("mac"), salt)
