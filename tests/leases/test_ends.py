"""When a lease key ends: by the TPM's clock and by its resets, whatever is done to it."""

from __future__ import annotations

import contextlib
import os
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from modelseal.attest.verify.tpm2 import CLOCK_STEP_SECONDS, lease_template, longest_seconds
from modelseal.client.tpm import HardwareKey, _lease_key
from modelseal.errors import KeyPolicyFailed, LeaseKeyEnded, TpmFailed
from modelseal.tpm2.chip import objects, policies, policy_session, using
from modelseal.tpm2.chip.state import clear, clock_rate_adjust, clock_set, read_clock
from modelseal.tpm2.wire.codec import u32, u64
from modelseal.tpm2.wire.codes import Attribute, Hierarchy, Operation, TimeField

PEER = ec.generate_private_key(ec.SECP256R1())
AT = PEER.public_key().public_numbers()
X, Y = AT.x.to_bytes(32, "big"), AT.y.to_bytes(32, "big")


def opens(chip, key: HardwareKey) -> bool:
    """Whether the TPM uses the key, and then with the right result."""
    try:
        shared = chip.exchange(key, X, Y)
    except LeaseKeyEnded:
        return False
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(key.x, "big"), int.from_bytes(key.y, "big"), ec.SECP256R1()
    )
    assert shared == PEER.exchange(ec.ECDH(), numbers.public_key())
    return True


def verdict(chip, key: HardwareKey) -> str:
    with pytest.raises(LeaseKeyEnded) as caught:
        chip.exchange(key, X, Y)
    return caught.value.params["verdict"]


def set_clock(tpm, milliseconds: int) -> None:
    """Time passes, without anything being stored: as the emulator's clock runs by itself."""
    with tpm.connect() as found:
        clock_set(found, milliseconds)


def make(chip, seconds: int = 3600, resets: int = 3) -> HardwareKey:
    return chip.make(os.urandom(32), seconds, resets)


def test_the_key_works_before_its_end_and_is_refused_after(tpm, chip):
    key = make(chip)
    assert opens(chip, key)
    set_clock(tpm, key.clock_limit_ms - 5000)
    assert opens(chip, key)
    set_clock(tpm, key.clock_limit_ms)
    assert verdict(chip, key) == "time_over"


def test_the_tpm_itself_says_no_by_its_two_codes(tpm, chip):
    """0x126 to the assertion, and 0x99d to whoever leaves it out."""
    key = make(chip, seconds=0)
    with tpm.connect() as found, _lease_key(found, key) as loaded:
        with policy_session(found) as session:
            with pytest.raises(TpmFailed) as caught:
                limit = u64(key.clock_limit_ms)
                policies.counter_timer(session, limit, TimeField.CLOCK, Operation.UNSIGNED_LESS)
            assert caught.value.params["rc"] == 0x126
        with policy_session(found) as session, pytest.raises(KeyPolicyFailed):
            using.exchange(found, loaded, X, Y, (session.use(),))
        with pytest.raises(TpmFailed) as caught:  # no password stands beside the policy
            using.exchange(found, loaded, X, Y)
        assert caught.value.params["rc"] & 0xFF == 0x2F  # TPM_RC_AUTH_UNAVAILABLE


def test_only_the_whole_policy_in_its_order_opens(tpm, chip):
    key = make(chip)
    limit, last = u64(key.clock_limit_ms), u32(key.reset_limit)
    clock = (limit, TimeField.CLOCK, Operation.UNSIGNED_LESS)
    resets = (last, TimeField.RESET_COUNT, Operation.UNSIGNED_LESS_OR_EQUAL)
    later = (u64(key.clock_limit_ms + 1), *clock[1:])
    for assertions in ([clock], [resets], [resets, clock], [later, resets], [clock, clock]):
        with (
            tpm.connect() as found,
            _lease_key(found, key) as loaded,
            policy_session(found) as session,
        ):
            for assertion in assertions:
                policies.counter_timer(session, *assertion)
            with pytest.raises(KeyPolicyFailed):
                using.exchange(found, loaded, X, Y, (session.use(),))


@pytest.mark.parametrize("cuts", [0, 3])
def test_power_cuts_after_the_end_open_it_no_longer_than_the_printed_figure(tpm, chip, cuts):
    """The emulator's clock falls back to where it was last stored; each time costs a reset."""
    seconds = CLOCK_STEP_SECONDS - 60
    key = make(chip, seconds, cuts)
    opened, boots = 0, 0
    for _ in range(cuts + 3):
        now = chip.clock()
        if opens(chip, key):
            opened += key.clock_limit_ms - now.clock
            boots += 1
        set_clock(tpm, max(key.clock_limit_ms, chip.clock().clock) + 1)
        tpm.kill()  # before the clock is stored
        tpm.start()
    assert boots == cuts + 1
    assert opened <= longest_seconds(seconds, cuts) * 1000
    assert not opens(chip, key)
    tpm.stop()
    tpm.start()
    assert not opens(chip, key)


def test_a_refusal_that_was_asked_for_here_is_for_good(tpm, chip):
    """The client has the clock stored whenever it asks, so a power cut brings nothing back."""
    key = make(chip, seconds=30 * 86400, resets=24)
    set_clock(tpm, key.clock_limit_ms)
    for _ in range(4):
        assert verdict(chip, key) == "time_over"
        tpm.kill()
        tpm.start()


def test_the_next_reset_after_the_last_is_one_too_many(tpm, chip):
    key = make(chip, resets=3)
    for _ in range(3):
        tpm.kill()
        tpm.start()
        assert opens(chip, key)
    tpm.kill()
    tpm.start()
    assert verdict(chip, key) == "resets_over"
    assert opens(chip, make(chip))


def test_orderly_restarts_cost_no_time_of_the_lease(tpm, chip):
    key = make(chip, resets=3)
    set_clock(tpm, key.clock_limit_ms - 60_000)
    before = chip.clock()
    for _ in range(3):
        tpm.stop()
        tpm.start()
    after = chip.clock()
    assert after.reset_count == before.reset_count + 3
    assert 0 <= after.clock - before.clock < 60_000  # it neither fell back nor jumped
    assert opens(chip, key)


def test_clearing_the_tpm_sets_its_clock_to_zero_and_ends_every_lease_key(tpm, chip):
    seed = os.urandom(32)
    key, ak = make(chip), chip.attestation_point(seed)
    with tpm.connect() as found:
        clear(found)
    assert chip.clock().clock < key.clock_limit_ms
    assert verdict(chip, key) == "another_tpm"
    assert chip.attestation_point(seed) == ak  # why a lease key must not stand beside it


def test_a_key_of_the_endorsement_hierarchy_would_have_survived_the_clearing(tpm, chip):
    """What ``key_hierarchy`` of the verifier is for."""
    key = make(chip)
    template = lease_template(key.clock_limit_ms, key.reset_limit)
    with tpm.connect() as found:
        with objects.primary(found, Hierarchy.ENDORSEMENT, template) as before:
            name = before.name
        clear(found)
        with objects.primary(found, Hierarchy.ENDORSEMENT, template) as after:
            assert after.name == name


def test_a_clock_that_its_owner_slows_stays_within_a_third(tpm, chip):
    with tpm.connect() as found:
        for _ in range(100):
            with contextlib.suppress(TpmFailed):  # one TPM refuses more, another ignores it
                clock_rate_adjust(found, -3)
    least, most = _rate(tpm)
    assert least < 0.95 and most >= 2 / 3


def test_a_slow_clock_only_makes_the_next_lease_no_longer(tpm, chip):
    """It ends by the same count; the server measures nothing else."""
    with tpm.connect() as found:
        clock_rate_adjust(found, -3)
    key = make(chip, seconds=600)
    assert key.clock_limit_ms - chip.clock().clock <= 600_000


def _rate(tpm) -> tuple[float, float]:
    """How much of two seconds the TPM's clock counts, at least and at most: it is read at some
    moment between question and answer.
    """

    def read(found) -> tuple[float, int, float]:
        before = time.monotonic()
        return before, read_clock(found)[1].clock, time.monotonic()

    with tpm.connect() as found:
        first, start, answered = read(found)
        time.sleep(2)
        asked, end, last = read(found)
    passed = (end - start) / 1000
    return passed / (last - first), passed / (asked - answered)


def test_the_clock_cannot_be_set_back(tpm, chip):
    set_clock(tpm, 10_000_000)
    with pytest.raises(TpmFailed):
        set_clock(tpm, 9_000_000)


def test_a_session_that_was_let_in_before_the_end_stays_in(tpm, chip):
    """A limit of the TPM, told in the threat model: who prepared this had the data keys anyway."""
    key = make(chip)
    with (
        tpm.connect() as found,
        _lease_key(found, key) as loaded,
        policy_session(found) as session,
    ):
        limit, last = u64(key.clock_limit_ms), u32(key.reset_limit)
        policies.counter_timer(session, limit, TimeField.CLOCK, Operation.UNSIGNED_LESS)
        operation = Operation.UNSIGNED_LESS_OR_EQUAL
        policies.counter_timer(session, last, TimeField.RESET_COUNT, operation)
        clock_set(found, key.clock_limit_ms + 1)
        assert using.exchange(found, loaded, X, Y, (session.use(),))
    assert verdict(chip, key) == "time_over"


def test_another_seed_is_another_key_and_the_same_one_the_same(chip, new_tpm):
    key = make(chip)
    assert opens(chip, key)
    assert make(chip).x != key.x
    other = type(chip)(new_tpm(fresh=True).address)
    assert verdict(other, key) == "another_tpm"


def test_a_lease_key_is_what_the_verifier_takes_for_one(tpm, chip):
    key = make(chip)
    with tpm.connect() as found, _lease_key(found, key) as loaded:
        wanted = Attribute.FIXED_TPM | Attribute.FIXED_PARENT | Attribute.SENSITIVE_DATA_ORIGIN
        assert loaded.public.has(wanted | Attribute.DECRYPT | Attribute.NO_DA)
        for never in (Attribute.USER_WITH_AUTH, Attribute.RESTRICTED, Attribute.SIGN):
            assert not loaded.public.has(never)


def test_a_hundred_uses_leave_nothing_in_the_tpm(tpm, chip):
    key, seed = make(chip), os.urandom(32)
    for _ in range(25):
        assert opens(chip, key)
        chip.state_of(key, seed, bytes(32))
        chip.attestation_point(seed)
        with pytest.raises(LeaseKeyEnded):
            chip.exchange(make(chip, seconds=0), X, Y)
    with tpm.connect() as found:
        assert found.reap() == 0
