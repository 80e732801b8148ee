"""What a TPM states: each field that is wrong has a code of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.attest.tpm_mint import BOUND, PCRS, SoftTpm, new_key, point_of

from modelseal.attest.verify import tpm2
from modelseal.attest.verify.steps import NotGenuine, Step
from modelseal.attest.verify.tpm2 import Clock, LeaseKey, Point
from modelseal.errors import EvidenceInvalid
from modelseal.tpm2.wire.attest import Attest, Quoted
from modelseal.tpm2.wire.codes import Alg, Attribute, Hierarchy, Operation, TimeField
from modelseal.tpm2.wire.policy import PcrSelection, Policy

TPM = SoftTpm()


def certified(evidence, key=None, by=None, bound=BOUND):
    return tpm2.certified(*evidence, by=by or TPM.by, key=key or TPM.key(), bound=bound)


def refused(act) -> tuple[Step, str]:
    with pytest.raises(NotGenuine) as caught:
        act()
    return caught.value.step, caught.value.code


def test_a_lease_key_is_certified_with_the_clock_of_its_tpm():
    assert certified(TPM.certify()) == TPM.clock


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ak_hierarchy": Hierarchy.OWNER}, "ak_hierarchy"),  # its reset count would be obfuscated
        ({"ak_hierarchy": Hierarchy.NULL}, "ak_hierarchy"),
        ({"key_hierarchy": Hierarchy.ENDORSEMENT}, "key_hierarchy"),  # would outlive TPM2_Clear
        ({"key_hierarchy": Hierarchy.NULL}, "key_hierarchy"),
        ({"bound": bytes(32)}, "attest_bound"),
        ({"bound": BOUND[:31]}, "attest_bound"),
        ({"bound": BOUND + b"\0"}, "attest_bound"),
        ({"signed_by": new_key()}, "attest_signature"),
        ({"name": b"\0\x0b" + bytes(32)}, "key_not_certified"),
        ({"statement": Quoted((PcrSelection(Alg.SHA256, (7,)),), bytes(32))}, "evidence_malformed"),
    ],
)
def test_a_statement_that_is_wrong_in_one_point_says_in_which(wrong, code):
    assert refused(lambda: certified(TPM.certify(**wrong)))[1] == code


@pytest.mark.parametrize("wrong", [{"clock_limit_ms": 1_600_001}, {"reset_limit": 32}])
def test_a_key_of_another_policy_is_not_the_one_that_was_certified(wrong):
    evidence = TPM.certify(TPM.key())
    assert refused(lambda: certified(evidence, TPM.key(**wrong)))[1] == "key_not_certified"


@pytest.mark.parametrize(
    "attributes",
    [
        Attribute.USER_WITH_AUTH,  # an empty password would stand beside the policy
        Attribute.ADMIN_WITH_POLICY,
        Attribute.RESTRICTED,
        Attribute.SIGN,
        Attribute.ENCRYPTED_DUPLICATION,
        Attribute.FIXED_TPM,
        Attribute.FIXED_PARENT,
        Attribute.SENSITIVE_DATA_ORIGIN,
        Attribute.NO_DA,
    ],
)
def test_a_key_with_one_attribute_more_or_less_is_refused(attributes):
    public = TPM.public(TPM.key())
    other = replace(public, attributes=public.attributes ^ attributes)
    assert refused(lambda: certified(TPM.certify(public=other)))[1] == "key_not_certified"


def test_a_statement_of_another_tpm_does_not_hold_under_this_ones_key():
    assert refused(lambda: certified(SoftTpm().certify()))[1] == "attest_signature"


def test_an_attestation_key_on_no_curve_is_malformed():
    for point in (Point(bytes(32), bytes(32)), Point(b"", b""), Point(bytes(33), bytes(31))):
        assert refused(lambda p=point: certified(TPM.certify(), by=p))[1] == "evidence_malformed"


@given(st.binary(max_size=300), st.binary(max_size=120))
def test_any_bytes_get_a_verdict_and_nothing_else(raw, signature):
    good_raw, good_signature = TPM.certify()
    for evidence in ((raw, signature), (good_raw, signature), (raw, good_signature)):
        assert refused(lambda e=evidence: certified(e))[0] in (Step.PARSE, Step.SIGNATURE)


@given(st.data())
def test_every_flipped_bit_of_a_statement_is_refused(data):
    raw, signature = TPM.certify()
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    flipped = bytearray(raw)
    flipped[at // 8] ^= 1 << at % 8
    assert refused(lambda: certified((bytes(flipped), signature)))[0] in Step


def test_the_policy_is_the_one_the_tpm_computes():
    """Its two assertions, in this order; computed here by hand from part 3, 23.2."""
    policy = Policy().counter_timer((5).to_bytes(8, "big"), TimeField.CLOCK, Operation(5))
    policy = policy.counter_timer((9).to_bytes(4, "big"), TimeField.RESET_COUNT, Operation(9))
    assert tpm2.lease_policy(5, 9) == policy.digest
    assert tpm2.lease_policy(5, 9) != tpm2.lease_policy(9, 5)
    for clock, resets in ((-1, 0), (2**64, 0), (0, -1), (0, 2**32)):
        with pytest.raises(EvidenceInvalid):
            tpm2.lease_policy(clock, resets)


@pytest.mark.parametrize(
    ("seconds", "cuts", "code"),
    [(599, 24, "key_limit"), (600, 23, "key_resets"), (600, 24, None), (10**9, 10**6, None)],
)
def test_a_key_may_end_early_and_never_late(seconds, cuts, code):
    key, clock = TPM.key(), TPM.clock

    def check():
        tpm2.check_end(key, clock, seconds=seconds, power_cuts=cuts)

    if code is None:
        check()
    else:
        assert refused(check)[1] == code


@pytest.mark.parametrize(
    "clock",
    [
        Clock(1_600_000, 7, 0, safe=True),
        Clock(1_599_001, 7, 0, safe=True),
        Clock(0, 32, 0, safe=True),
    ],
)
def test_a_key_that_is_over_before_it_is_given_anything_is_made_anew(clock):
    act = lambda: tpm2.check_end(TPM.key(), clock, seconds=10**7, power_cuts=10**4)  # noqa: E731
    assert refused(act)[1] == "key_ended"


def test_the_printed_figure_is_the_time_and_seventy_minutes_for_each_power_cut():
    assert tpm2.longest_seconds(7 * 86400, 24) == 7 * 86400 + 24 * 70 * 60
    assert tpm2.CLOCK_STEP_SECONDS * 1000 >= 2**22


def quoted(evidence, values=PCRS):
    return tpm2.quoted(*evidence, by=TPM.by, bound=BOUND, values=values)


def test_a_quote_covers_exactly_the_registers_that_were_asked_for():
    assert isinstance(quoted(TPM.quote()), Attest)
    fewer = {place: value for place, value in PCRS.items() if place[1] == 7}
    more = {**PCRS, (int(Alg.SHA256), 0): bytes(32)}
    for values in (fewer, more, {}):
        assert refused(lambda v=values: quoted(TPM.quote(), v))[1] == "pcr_selection"
    double = (PcrSelection(Alg.SHA256, (7,)), PcrSelection(Alg.SHA256, (11,)))
    assert refused(lambda: quoted(TPM.quote(selections=double)))[1] == "pcr_selection"


def test_a_quote_of_other_values_nonce_or_key_is_refused():
    other = {place: bytes([9]) * 32 for place in PCRS}
    assert refused(lambda: quoted(TPM.quote(), other))[1] == "pcr_digest"
    short = dict.fromkeys(PCRS, b"")
    assert refused(lambda: quoted(TPM.quote(), short))[1] == "evidence_malformed"
    assert refused(lambda: quoted(TPM.quote(bound=bytes(32))))[1] == "attest_bound"
    assert refused(lambda: quoted(TPM.quote(signed_by=new_key())))[1] == "attest_signature"
    assert refused(lambda: quoted(TPM.certify()))[1] == "evidence_malformed"


def test_a_wrong_secret_is_another_tpms():
    tpm2.check_secret(b"s" * 32, b"s" * 32)
    for found in (b"", b"s" * 31, b"t" * 32):
        assert refused(lambda f=found: tpm2.check_secret(f, b"s" * 32))[1] == "credential_wrong"


def test_what_is_bound_differs_in_every_part():
    parts = {"server": "s", "product": "p", "jkt": "j", "nonce": "n", "kem": "k"}
    seen = {tpm2.lease_bound(**{**parts, name: "other"}) for name in parts}
    assert len({*seen, tpm2.lease_bound(**parts)}) == len(parts) + 1


def test_a_lease_key_is_no_attestation_key():
    """A key of one kind is never taken for the other: their public areas differ."""
    point = point_of(TPM.lease)
    assert tpm2.attestation_public(point).name != TPM.public(LeaseKey(point, 1, 1)).name
