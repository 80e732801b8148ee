"""The trait-wrapped device key: opens where enough traits are, and nowhere else."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import cbor2
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from tests.device.world import LAPTOP, SERVER, cheap, counted, noise, reading

from modelseal import cbor
from modelseal.device import (
    ENTROPY_BITS,
    WEIGHTS,
    Confidence,
    TraitKind,
    TraitReading,
    _wrapped,
    rewrap,
    unwrap,
    wrap,
    wrapping,
)
from modelseal.device.drift import NO_DRIFT
from modelseal.device.trait_sets import minimal_sets, stretched_kinds, to_kinds, to_mask
from modelseal.device.wrapping import Unwrapped, unwrap_and_compare
from modelseal.errors import DeviceChanged, MemoryUnavailable, Misuse, ModelsealError, StateDamaged

SECRET = b"signing key and storage key"
KINDS = st.sets(st.sampled_from(list(TraitKind)))


def sealed(readings: Sequence[TraitReading], **more: object) -> bytes:
    more.setdefault("random", noise())
    return wrap(SECRET, readings, stretch=cheap, **more).data  # type: ignore[arg-type]


def opened(data: bytes, readings: Sequence[TraitReading]) -> Unwrapped:
    return unwrap_and_compare(data, readings, stretch=cheap)


def without(readings: Sequence[TraitReading], *kinds: str) -> list[TraitReading]:
    return [r for r in readings if r.kind not in kinds]


def test_unwrapping_with_real_argon2id_gives_back_the_secret() -> None:
    wrapped = wrap(SECRET, LAPTOP, random=noise())
    assert not wrapped.copyable
    assert unwrap(wrapped.data, LAPTOP) == SECRET
    assert unwrap(wrapped.data, [*without(LAPTOP, "mac"), reading("mac", "new")]) == SECRET


@given(kinds=KINDS)
def test_sets_are_minimal_and_enough_and_all_of_them(kinds: set[TraitKind]) -> None:
    def enough(chosen: tuple[TraitKind, ...]) -> bool:
        bits = sum(ENTROPY_BITS[k] for k in chosen)
        weight, total = (sum(WEIGHTS[k] for k in group) for group in (chosen, kinds))
        return bits >= 80 and 10 * weight >= 6 * total

    expected = {
        frozenset(chosen)
        for size in range(1, len(kinds) + 1)
        for chosen in itertools.combinations(sorted(kinds), size)
        if enough(chosen)
        and not any(enough(tuple(k for k in chosen if k != left)) for left in chosen)
    }
    masks = minimal_sets(kinds)
    assert {frozenset(to_kinds(mask)) for mask in masks} == expected
    assert len(masks) == len(expected) <= 70
    assert all(to_mask(to_kinds(mask)) == mask for mask in masks)


@given(enrolled=KINDS, here=KINDS)
def test_it_opens_exactly_where_a_qualifying_set_is_unchanged(
    enrolled: set[TraitKind], here: set[TraitKind]
) -> None:
    data = sealed([reading(kind) for kind in enrolled])
    present = [reading(kind) for kind in here]
    kept = enrolled & here
    bits = sum(ENTROPY_BITS[k] for k in kept)
    weight, total = (sum(WEIGHTS[k] for k in group) for group in (kept, enrolled))
    if not minimal_sets(enrolled) or (bits >= 80 and 10 * weight >= 6 * total):
        found = opened(data, present)
        assert found.secret == SECRET
        assert found.copyable == (not minimal_sets(enrolled))
        assert set(found.gone) == enrolled - here and found.changed == ()
    else:
        with pytest.raises(DeviceChanged) as caught:
            opened(data, present)
        assert set(caught.value.params["traits"]) == {str(k) for k in enrolled - here}


def test_another_computer_with_the_same_kinds_opens_nothing() -> None:
    data = sealed(SERVER)
    with pytest.raises(DeviceChanged) as caught:
        opened(data, [reading(r.kind, "other") for r in SERVER])
    assert caught.value.params == {
        "traits": [],
        "enrolled": [str(kind) for kind in to_kinds(to_mask(r.kind for r in SERVER))],
    }


def test_traits_that_root_enrolled_are_listed_when_a_user_cannot_read_them() -> None:
    with pytest.raises(DeviceChanged) as caught:
        opened(sealed(SERVER), LAPTOP)
    assert caught.value.params["traits"] == ["smbios_uuid", "board_serial"]


def test_too_little_entropy_makes_it_copyable_and_says_so() -> None:
    for weak in ([], [reading("disk_serial"), reading("mac"), reading("cpu_class")]):
        wrapped = wrap(SECRET, weak, random=noise(), stretch=cheap)
        assert wrapped.copyable
        anywhere = opened(wrapped.data, [])
        assert anywhere.secret == SECRET and anywhere.copyable


def test_changed_and_gone_traits_are_told_apart() -> None:
    data = sealed(SERVER)
    here = [*without(SERVER, "mac", "disk_serial"), reading("mac", "new")]
    found = opened(data, here)
    assert (found.changed, found.gone) == ((TraitKind.MAC,), (TraitKind.DISK_SERIAL,))
    assert "signing" not in repr(found)


def test_an_unchanged_computer_costs_one_argon2id_and_a_strong_one_none() -> None:
    calls: list[bytes] = []
    unwrap_and_compare(sealed(LAPTOP), LAPTOP, stretch=counted(calls))
    assert len(calls) == 1
    strong = [reading("smbios_uuid"), reading("machine_id"), reading("tpm_ek"), *LAPTOP[:1]]
    data = sealed(strong)
    unwrap_and_compare(data, strong, stretch=counted(calls))
    assert len(calls) == 1


def test_a_foreign_computer_costs_a_bounded_number_of_argon2id_runs() -> None:
    everything = [reading(kind) for kind in TraitKind]
    data = sealed(everything)
    calls: list[bytes] = []
    many = [reading(kind, f"{kind}{n}") for kind in TraitKind for n in range(40)]
    with pytest.raises(DeviceChanged):
        unwrap_and_compare(data, many, stretch=counted(calls))
    assert len(calls) == len(set(calls)) <= wrapping.MAX_STRETCHES
    lows = {stretched_kinds(mask) for mask in minimal_sets(TraitKind)}
    assert len(lows) <= wrapping.MAX_STRETCHES


def test_added_hardware_never_hurts_even_when_it_is_found_first() -> None:
    data = sealed(LAPTOP)
    added = [reading("disk_serial", "new"), reading("mac", "usb"), reading("board_serial")]
    found = opened(data, [*added, *LAPTOP])
    assert found.secret == SECRET and found.changed == found.gone == ()


def test_the_surer_of_two_readings_is_enrolled() -> None:
    pair = [reading("mac", "dock", confidence=Confidence.LOW), reading("mac", "board")]
    data = sealed([*pair, *without(LAPTOP, "mac")])
    assert opened(data, [pair[1], *without(LAPTOP, "mac")]).changed == ()
    assert opened(data, [pair[0], *without(LAPTOP, "mac")]).changed == (TraitKind.MAC,)


def test_nothing_in_the_file_repeats_between_two_wrappings_or_shows_a_value() -> None:
    one, two = sealed(LAPTOP), sealed(LAPTOP, random=noise(7))
    first, second = _wrapped.load(one), _wrapped.load(two)
    assert not {slot for _m, slot in first.slots} & {slot for _m, slot in second.slots}
    for item in LAPTOP:
        assert item.value.reveal() not in one
    assert SECRET not in one


def test_a_higher_score_needs_more_traits() -> None:
    data = sealed(LAPTOP, min_score=1.0)
    assert opened(data, LAPTOP).secret == SECRET
    with pytest.raises(DeviceChanged):
        opened(data, without(LAPTOP, "cpu_class"))


def kept(data: bytes, readings: Sequence[TraitReading], *, contact: bool) -> bytes:
    """One run of a client: open, then store what ``rewrap`` says."""
    new = rewrap(opened(data, readings), readings, random=noise(3), contact=contact, stretch=cheap)
    return data if new is None else new.data


def swapped(readings: Sequence[TraitReading], kind: str, value: str) -> list[TraitReading]:
    return [*without(readings, kind), reading(kind, value)]


def test_the_third_change_in_a_row_without_contact_is_refused() -> None:
    everything = [reading(kind) for kind in TraitKind]
    data, now = sealed(everything), everything
    for kind in ("mac", "cpu_class"):
        now = swapped(now, kind, "new")
        data = kept(data, now, contact=False)
        assert opened(data, now).changed == ()
    now = swapped(now, "disk_serial", "new")
    with pytest.raises(DeviceChanged) as caught:
        kept(data, now, contact=False)
    assert caught.value.params["traits"] == ["cpu_class", "disk_serial", "mac"]
    data = kept(data, now, contact=True)
    assert opened(data, now).drift == NO_DRIFT


def test_a_trait_that_comes_back_was_no_change() -> None:
    data = sealed(LAPTOP)
    for _round in range(5):
        assert kept(data, without(LAPTOP, "mac"), contact=False) == data
        assert kept(data, LAPTOP, contact=False) == data


def test_contact_stores_nothing_when_nothing_moved() -> None:
    data = sealed(LAPTOP)
    assert kept(data, LAPTOP, contact=True) == data


def test_a_copyable_key_is_bound_once_traits_are_there() -> None:
    data = sealed([reading("mac")])
    assert kept(data, LAPTOP, contact=False) == data
    bound = kept(data, LAPTOP, contact=True)
    assert not _wrapped.load(bound).copyable and opened(bound, LAPTOP).secret == SECRET


def test_one_run_as_root_does_not_lock_the_user_out() -> None:
    data = sealed(LAPTOP)
    assert kept(data, SERVER, contact=True) == data
    moved = swapped(SERVER, "mac", "new")
    data = kept(data, moved, contact=True)
    assert opened(data, swapped(LAPTOP, "mac", "new")).gone == ()


def test_a_copyable_key_stays_as_it_is_while_there_are_no_traits() -> None:
    data = sealed([])
    assert kept(data, [], contact=True) == data


@pytest.mark.parametrize("copyable", [False, True])
def test_every_flipped_byte_and_every_cut_is_damage(copyable: bool) -> None:
    readings = LAPTOP[:1] if copyable else LAPTOP
    data = sealed(readings)
    for place in range(len(data)):
        bent = bytearray(data)
        bent[place] ^= 1
        with pytest.raises(StateDamaged):
            opened(bytes(bent), readings)
    for length in range(len(data)):
        with pytest.raises(StateDamaged):
            opened(data[:length], readings)
    with pytest.raises(StateDamaged):
        opened(data + b"\x00", readings)


def forged(data: bytes, **changes: object) -> bytes:
    """The file with other fields and a fitting digest, as a forger makes it."""
    fields = cbor2.loads(data[9:-32])
    for name, value in changes.items():
        fields[int(name[1:])] = value
    import hashlib

    body = data[:9] + cbor.encode(fields)
    return body + hashlib.sha256(body).digest()


@pytest.mark.parametrize(
    "changes",
    [
        {"f1": 2}, {"f1": True}, {"f1": "1"}, {"f2": b"short"}, {"f2": 1}, {"f3": 256}, {"f3": -1},
        {"f3": 0}, {"f4": []}, {"f4": [[1]]}, {"f4": [[1, b"x"]]}, {"f4": [["1", bytes(48)]]},
        {"f4": [[0, bytes(48)], [64, bytes(48)]]}, {"f4": [[64, bytes(48)]] * 2},
        {"f4": [[64, bytes(48)]] * 200}, {"f4": 7}, {"f5": 1}, {"f5": b""}, {"f6": 1},
        {"f1": 0}, {"f4": [[True, bytes(48)]]}, {"f4": [[64, bytes(47)]]},
    ],
)  # fmt: skip
def test_a_forged_field_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises((StateDamaged, DeviceChanged)):
        opened(forged(sealed(LAPTOP), **changes), LAPTOP)


def test_a_copyable_key_with_a_forged_slot_is_damaged_and_not_another_computer() -> None:
    with pytest.raises(StateDamaged):
        opened(forged(sealed([]), f4=[[0, bytes(48)]]), [])


@pytest.mark.parametrize(
    "inside",
    [b"", b"\xa0", cbor.encode({1: b"s", 2: b"k", 3: {9: b"x"}, 4: [0, 0]}),
     cbor.encode({1: b"s", 2: b"k", 3: {}, 4: 7}),
     cbor.encode({1: b"s", 2: b"k", 3: [], 4: [0, 0]})],
)  # fmt: skip
def test_an_authentic_payload_of_an_unknown_content_is_refused(inside: bytes) -> None:
    """As a later release might write it; here the copyable form, whose key anybody derives."""
    whole = _wrapped.load(sealed([]))
    key = wrapping._SetKeys(whole.salt, cheap).derive(0, [])
    assert key is not None
    content = AESGCM(key).decrypt(bytes(12), whole.slots[0][1], _wrapped.MAGIC + b"\x00")
    bare = replace(whole, payload=b"")
    payload = AESGCM(content).encrypt(bytes(12), inside, _wrapped.head(bare))
    with pytest.raises(StateDamaged):
        opened(_wrapped.dump(replace(whole, payload=payload)), [])


STARVED = """
import re, resource
from modelseal.device.wrapping import rfc_9106_low_memory
from modelseal.errors import MemoryUnavailable
from pathlib import Path
used = int(re.search(r"VmSize:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + (20 << 20), used + (20 << 20)))
try:
    rfc_9106_low_memory(b"x", bytes(16))
except MemoryUnavailable as error:
    print(error.code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of Linux")
def test_argon2id_without_memory_is_unavailable() -> None:
    """In a process that may have 20 MiB more than it has, where 64 are needed."""
    done = subprocess.run(
        [sys.executable, "-c", STARVED], capture_output=True, text=True, check=False
    )
    assert done.stdout == MemoryUnavailable.code + "\n", done.stderr


@given(st.binary(max_size=200), st.sampled_from([b"", _wrapped.MAGIC, _wrapped.MAGIC + b"\x01"]))
def test_random_bytes_raise_our_own_error(data: bytes, start: bytes) -> None:
    with pytest.raises(ModelsealError):
        opened(start + data, LAPTOP)


def test_a_later_version_is_named() -> None:
    data = bytearray(sealed(LAPTOP))
    data[8] = 2
    with pytest.raises(StateDamaged, match="version"):
        opened(bytes(data), LAPTOP)


@pytest.mark.parametrize("secret", [b"", bytes(65537)])
def test_a_secret_has_a_length_within_bounds(secret: bytes) -> None:
    with pytest.raises(Misuse):
        wrap(secret, LAPTOP, random=noise())


def test_too_little_memory_for_argon2id_is_unavailable_and_not_a_changed_computer() -> None:
    def starved(_password: bytes, _salt: bytes) -> bytes:
        raise MemoryUnavailable("64 MiB are needed to open the device key")

    with pytest.raises(MemoryUnavailable):
        unwrap_and_compare(sealed(LAPTOP), LAPTOP, stretch=starved)
