"""Android key attestation, with a phone maker of our own so that each field can be wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.attest.authorities import certificates as c
from tests.attest.authorities import der_writer as w
from tests.attest.authorities.android import BOOT_HASH, BOOT_KEY, OID, SIGNER, Description, Maker
from tests.attest.judging import NOW, SAMPLES, found, holds, judge, verdict

from modelseal.attest.verify.steps import Status, Step
from modelseal.types import Level

CLEAN = json.dumps({"entries": {}}).encode()
GOOD = Description()
CHALLENGE = GOOD.challenge
REFERENCE = {"boot_key": BOOT_KEY.hex(), "boot_hash": BOOT_HASH.hex(), "signer": SIGNER.hex()}
LEAF, PHONE, FACTORY, ROOT = (
    (SAMPLES / f"android-key/algorithm_EC_SecurityLevel_TEE/cert{i}.pem").read_bytes()
    for i in range(4)
)


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker()


def ask(maker, evidence, **given):
    given.setdefault("roots", [c.pem([maker.pin]).decode()])
    given.setdefault("endorsements", [CLEAN])
    given.setdefault("expected", CHALLENGE)
    given.setdefault("reference", REFERENCE)
    return judge("android", evidence, **given)


def test_a_good_phone_is_affirmed_and_shows_level_two(maker):
    result = ask(maker, maker.evidence(GOOD))
    assert result.affirming and result.level is Level.L2
    assert result.claims["boot_state"] == "verified"
    assert result.claims["packages"] == [["com.example.swap", 7]]


@pytest.mark.parametrize("version", [1, 2, 3, 4, 100, 200, 300, 400])
def test_every_known_version_is_read(maker, version):
    assert ask(maker, maker.evidence(GOOD.but(version=version))).affirming


def test_a_version_of_the_future_is_genuine_and_unknown(maker):
    result = ask(maker, maker.evidence(GOOD.but(version=900)))
    assert verdict(result) == (True, "platform", "android_version_unknown")
    assert result.status is Status.NONE


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"level": 0}, "android_level"),
        ({"keymint_level": 0}, "android_level"),
        ({"root_of_trust": False}, "android_no_root_of_trust"),
        ({"locked": False}, "bootloader_unlocked"),
        ({"boot_state": 1}, "boot_state"),
        ({"boot_state": 2}, "boot_state"),
        ({"boot_state": 3}, "boot_state"),
        ({"boot_key": bytes(32)}, "boot_key_empty"),
        ({"boot_key": b""}, "boot_key_empty"),
        ({"origin": 2}, "key_not_generated"),
        ({"origin": 4}, "key_not_generated"),
        ({"origin": None}, "key_not_generated"),
    ],
)
def test_one_bad_field_is_genuine_and_refused(maker, changes, code):
    result = ask(maker, maker.evidence(GOOD.but(**changes)))
    assert verdict(result) == (True, "platform", code)
    assert result.status is Status.CONTRAINDICATED


@pytest.mark.parametrize(
    ("options", "changes", "code"),
    [
        ({"levels": ["strongbox"]}, {}, "android_level"),
        ({"min_os_version": 150000}, {}, "android_too_old"),
        ({"min_os_patch_level": 202406}, {}, "android_too_old"),
        ({"min_vendor_patch_level": 202406}, {}, "android_too_old"),
        ({"min_boot_patch_level": 20240506}, {}, "android_too_old"),
        ({"packages": ["com.example.other"]}, {}, "android_application"),
        ({"packages": ["com.example.swap"]}, {"packages": ()}, "android_application"),
        ({"signers": ["44" * 32]}, {}, "android_signer"),
    ],
)
def test_what_the_policy_demands_is_refused_where_it_is_missing(maker, options, changes, code):
    result = ask(maker, maker.evidence(GOOD.but(**changes)), options=options)
    assert verdict(result) == (True, "platform", code)


def test_what_the_policy_demands_is_affirmed_where_it_is_there(maker):
    options = {
        "levels": ["strongbox"],
        "min_os_version": 140000,
        "min_os_patch_level": 202405,
        "min_vendor_patch_level": 202405,
        "min_boot_patch_level": 20240505,
        "packages": ["com.example.swap", "com.example.helper"],
        "signers": [SIGNER.hex()],
    }
    strongbox = GOOD.but(level=2, keymint_level=2)
    assert ask(maker, maker.evidence(strongbox), options=options).affirming


def test_a_self_signed_system_is_for_the_policy_to_admit(maker):
    evidence = maker.evidence(GOOD.but(boot_state=1))
    assert ask(maker, evidence, options={"boot_states": ["verified", "self_signed"]}).affirming


@pytest.mark.parametrize("expected", [b"", b"x", CHALLENGE[:-1], CHALLENGE + b"\0"])
def test_another_challenge_is_refused_as_it_stands(maker, expected):
    result = ask(maker, maker.evidence(GOOD), expected=expected)
    assert result.genuine and result.step is Step.BINDING
    assert not result.affirming


def test_without_a_status_list_revocation_is_unknown_and_not_affirming(maker):
    result = ask(maker, maker.evidence(GOOD), endorsements=[])
    assert verdict(result) == (True, "revocation", "android_status_list_missing")
    assert result.status is Status.NONE


@pytest.mark.parametrize("name", ["beef", "BEEF", str(0xBEEF), "fac"])
def test_a_revoked_key_is_not_genuine(maker, name):
    listed = json.dumps({"entries": {name: {"status": "REVOKED", "reason": "KEY_COMPROMISE"}}})
    result = ask(maker, maker.evidence(GOOD), endorsements=[listed.encode()])
    assert verdict(result) == (False, "revocation", "certificate_revoked")
    assert "KEY_COMPROMISE" in result.reason


def test_a_suspended_key_counts_as_taken_back(maker):
    listed = json.dumps({"entries": {"beef": {"status": "SUSPENDED"}}}).encode()
    assert not ask(maker, maker.evidence(GOOD), endorsements=[CLEAN, listed]).genuine


def test_the_shipped_roots_know_nothing_of_another_maker(maker):
    result = judge("android", maker.evidence(GOOD), expected=CHALLENGE)
    assert verdict(result) == (False, "chain", "chain_not_anchored")


def test_the_root_may_be_left_out(maker):
    short = c.pem(c.chain([maker.leaf(GOOD), *maker.above])[:-1])
    assert ask(maker, short).affirming


def test_files_of_one_certificate_each_are_one_chain(maker):
    parts = [c.pem([der]) for der in c.chain([maker.leaf(GOOD), *maker.above])]
    roots = [c.pem([maker.pin]).decode()]
    result = judge(
        "android",
        *parts,
        roots=roots,
        endorsements=[CLEAN],
        expected=CHALLENGE,
        reference=REFERENCE,
    )
    assert result.affirming


def test_der_one_after_the_other_is_read_too(maker):
    assert ask(maker, b"".join(c.chain([maker.leaf(GOOD), *maker.above]))).affirming


def test_a_leaf_with_null_parameters_gets_a_verdict(maker):
    assert ask(maker, maker.evidence(GOOD, null_parameters=True)).affirming


def test_the_leafs_own_dates_do_not_count(maker):
    long_ago = NOW - timedelta(days=9000)
    assert ask(maker, maker.evidence(GOOD, start=long_ago, end=long_ago)).affirming


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_ended_certificate_above_the_leaf_is_refused_and_told(maker, place):
    plans = maker.above
    plans[place] = plans[place].but(end=NOW - timedelta(days=3))
    result = ask(maker, c.pem(c.chain([maker.leaf(GOOD), *plans])))
    assert verdict(result) == (True, "freshness", "certificate_expired")
    assert "3 days" in result.reason


def test_a_certificate_of_the_future_is_refused(maker):
    plans = maker.above
    plans[0] = plans[0].but(start=NOW + timedelta(days=1))
    result = ask(maker, c.pem(c.chain([maker.leaf(GOOD), *plans])))
    assert verdict(result) == (True, "freshness", "certificate_not_yet_valid")


def test_an_ended_root_of_the_same_key_is_for_the_policy_to_admit(maker):
    plans = maker.above
    plans[2] = plans[2].but(end=NOW - timedelta(days=3))
    evidence = c.pem(c.chain([maker.leaf(GOOD), *plans]))
    assert ask(maker, evidence, options={"accept_expired_root": True}).affirming
    plans[1] = plans[1].but(end=NOW - timedelta(days=3))
    evidence = c.pem(c.chain([maker.leaf(GOOD), *plans]))
    assert not ask(maker, evidence, options={"accept_expired_root": True}).affirming


def test_an_attested_key_cannot_mint_phones(maker):
    """The leaf of a real phone signs a certificate with a description of the attacker's choice."""
    forged = maker.leaf(GOOD).but(key=c.p256())
    result = ask(maker, c.pem(c.chain([forged, maker.leaf(GOOD), *maker.above])))
    assert verdict(result) == (False, "chain", "chain_extended")


def test_a_key_made_for_attesting_vouches_for_another_of_its_phone(maker):
    attester = maker.leaf(GOOD.but(purposes=(7,)))
    leaf = maker.leaf(GOOD).but(key=c.p256())
    assert ask(maker, c.pem(c.chain([leaf, attester, *maker.above]))).affirming


@pytest.mark.parametrize("changes", [{"purposes": (2, 7)}, {"origin": 2}, {"level": 0}])
def test_an_attesting_key_must_be_fit_for_it(maker, changes):
    attester = maker.leaf(GOOD.but(**{"purposes": (7,), **changes}))
    leaf = maker.leaf(GOOD).but(key=c.p256())
    result = ask(maker, c.pem(c.chain([leaf, attester, *maker.above])))
    assert verdict(result) == (False, "chain", "chain_extended")


def test_a_certificate_between_leaf_and_authority_must_be_one(maker):
    no_authority = maker.phone.but(extensions=c.LEAF)
    result = ask(maker, c.pem(c.chain([maker.leaf(GOOD), no_authority, *maker.above[1:]])))
    assert verdict(result) == (False, "chain", "signature_invalid")


def test_a_path_length_is_held(maker):
    short = {**c.CA, "2.5.29.19": w.sequence(w.boolean(True), w.integer(0))}
    plans = [maker.phone, maker.factory.but(extensions=short), maker.root]
    assert not ask(maker, c.pem(c.chain([maker.leaf(GOOD), *plans]))).genuine


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 2, 1, 3), (0, 1, 3), (0, 3)])
def test_a_chain_in_another_order_or_with_a_gap_is_not_genuine(maker, order):
    whole = c.chain([maker.leaf(GOOD), *maker.above])
    assert not ask(maker, c.pem([whole[i] for i in order])).genuine


def test_a_leaf_without_a_description_is_no_evidence(maker):
    result = ask(maker, maker.evidence(GOOD, extensions=c.LEAF))
    assert verdict(result) == (False, "parse", "evidence_malformed")


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x30\x00",
        w.sequence(w.integer(300)),
        GOOD.encoded() + b"\0",
        GOOD.but(boot_state=4).encoded(),
        GOOD.but(level=3).encoded(),
        GOOD.but(more={705: w.octets(b"x")}).encoded(),
        GOOD.but(more={503: w.tlv(5, b"x")}).encoded(),
        GOOD.but(more={704: w.sequence(w.octets(b""))}).encoded(),
        GOOD.but(more={1: w.set_(w.integer(99))}).encoded(),
    ],
)
def test_a_broken_description_is_a_verdict_at_parsing(maker, broken):
    evidence = maker.evidence(GOOD, extensions={**c.LEAF, OID: broken})
    assert verdict(ask(maker, evidence)) == (False, "parse", "evidence_malformed")


def test_unknown_tags_are_named_and_what_names_a_person_is_not_shown(maker):
    tags = {713: w.octets(b"SERIAL-1"), 714: w.octets(b"IMEI-2"), 710: w.octets(b"acme")}
    result = ask(maker, maker.evidence(GOOD.but(more={**tags, 799: w.null()})))
    shown = json.dumps(result.record())
    assert result.claims["hardware"]["unknown_tags"] == [799]
    assert result.claims["hardware"]["id_brand"] == "acme"
    assert b"SERIAL-1".hex() not in shown and b"IMEI-2".hex() not in shown


def test_another_machine_than_the_golden_one_is_refused_by_name(maker):
    result = ask(maker, maker.evidence(GOOD.but(boot_hash=b"\x99" * 32)))
    assert verdict(result) == (True, "measurement", "measurement_mismatch")
    assert "boot_hash" in result.reason


def test_the_recorded_phone_is_genuine_and_refused_for_its_bootloader():
    at = datetime(2024, 1, 1, tzinfo=UTC)
    result = judge("android", LEAF, PHONE, FACTORY, ROOT, expected=b"abc", now=at)
    assert verdict(result) == (True, "platform", "bootloader_unlocked")
    assert all(holds(result, step) for step in (Step.CHAIN, Step.SIGNATURE, Step.BINDING))
    assert found(result, Step.PLATFORM) == ["bootloader_unlocked", "boot_state"]
    assert result.claims["attestation_version"] == 3
    assert result.claims["attestation_level"] == "trusted_environment"
    assert "Bootloader unlocked" in result.reason


def test_the_recorded_phones_root_ended_in_may_2026():
    at = datetime(2026, 5, 25, tzinfo=UTC)
    result = judge("android", LEAF, PHONE, FACTORY, ROOT, expected=b"abc", now=at)
    assert verdict(result)[0] and found(result, Step.FRESHNESS) == ["certificate_expired"]


def test_the_recorded_phone_without_its_root_still_reaches_googles_key():
    assert judge("android", LEAF, PHONE, FACTORY).genuine
