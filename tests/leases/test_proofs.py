"""The server's proof of a level: what it takes, what it refuses, and what a device gets for it."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from tests.leases.proving import OFFERS, WEEK, TpmComputer
from tests.server.world import Computer, denied

from modelseal.client.tpm import DeviceTpm
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import (
    ConfigInvalid,
    EnforcementNotReached,
    EvidenceOutdated,
    IdempotencyMismatch,
    LevelNotReached,
    SealedKeyInvalid,
)
from modelseal.license import lease_keys
from modelseal.license import plans as plan_rules
from modelseal.license.plans import Binding, LeaseTerms, PlanEntitlement
from modelseal.server.services import LocalAdmin
from modelseal.strict_json import b64u

HARD = {"enforcement": "hardware", "seats": 5}


@pytest.fixture
def computer(shop, chip):
    return TpmComputer(shop, chip=chip)


def license_of(shop, **terms):
    shop.plan("p", **terms)
    return shop.license("p").license_key


def entitled(shop, *levels, **terms):
    """A license for ``face.swap`` and ``face.restore`` from these levels on."""
    from modelseal import admin
    from modelseal.license.plans import Plan

    names = ("face.swap", "face.restore")
    granted = [PlanEntitlement(id=n, min_level=at) for n, at in zip(names, levels, strict=True)]
    terms = Plan(entitlements=granted, seats=5, **terms)
    shop.admin.create_plan(admin.PlanDraft(name="levels", terms=terms))
    return shop.license("levels").license_key


def files(computer):
    return {file_id for file_id, section in computer.keys if section >= 0}


def test_a_proved_tpm_gets_a_hardware_lease_that_its_key_alone_opens(shop, computer):
    lease = computer.prove("activate", license_of(shop, **HARD))
    assert (lease.enforcement, lease.level, lease.keys[0].level) == ("hardware", 2, 2)
    assert lease.keys[0].suite == lease_keys.HARDWARE_SUITE and len(lease.keys) == 1
    assert len(files(computer)) == 1
    end = lease.hardware
    assert end.clock_limit_ms - end.clock_ms <= WEEK * 1000
    assert end.reset_limit - end.reset_count == 24
    assert 0 <= WEEK - (lease.exp - lease.iat) < 30
    with pytest.raises(SealedKeyInvalid):  # there is no copy for the KEM key alone
        super(TpmComputer, computer).opened(replace_hardware(lease), KemPrivateKey.generate())


def replace_hardware(lease):
    import msgspec

    return msgspec.structs.replace(lease, hardware=None)


def test_a_known_tpm_proves_its_next_key_in_one_round_trip(shop, computer):
    computer.prove("activate", license_of(shop, **HARD))
    before = computer.made
    lease = computer.prove("renew", enrol=False)
    assert (lease.seq, lease.enforcement, lease.level) == (2, "hardware", 2)
    assert computer.made.x != before.x and files(computer)


def test_without_a_proof_a_plan_for_hardware_refuses_with_six_and_says_what_is_missing(shop):
    text = license_of(shop, **HARD)
    error, denial = denied(lambda: Computer(shop).activate(text), shop)
    assert isinstance(error, EnforcementNotReached) and error.exit_code == 6
    assert (denial.code, denial.params["needed"]) == ("enforcement_not_reached", "hardware")


def test_offering_hardware_without_a_proof_is_not_having_it(shop):
    text = license_of(shop, **HARD)
    error, _ = denied(lambda: Computer(shop).activate(text, enforcement=OFFERS), shop)
    assert isinstance(error, EnforcementNotReached)


def test_a_root_that_is_not_pinned_means_l0_software_and_refusal_where_hardware_is_demanded(
    shop, computer
):
    for path in (shop.home / "server" / "endorsements" / "tpm2").iterdir():
        path.unlink()
    error, denial = denied(lambda: computer.prove("activate", license_of(shop, **HARD)), shop)
    assert error.exit_code == 6
    assert denial.params["verdict"] == "ek_root_unknown"
    soft = TpmComputer(shop, seed="b", chip=computer.chip)
    lease = soft.prove("activate", entitled(shop, 0, 2))
    assert (lease.enforcement, lease.level, soft.verdict) == ("software", 0, "ek_root_unknown")
    assert lease.hardware is None and len(files(soft)) == 1
    event = shop.events("device_activated")[-1]
    assert event.params["evidence"] == {"kind": "tpm2", "verdict": "ek_root_unknown"}


def test_a_root_that_is_withdrawn_counts_no_more_at_the_next_renewal(shop, computer):
    computer.prove("activate", entitled(shop, 0, 2))
    assert len(files(computer)) == 2
    for path in (shop.home / "server" / "endorsements" / "tpm2").iterdir():
        path.unlink()
    lease = computer.prove("renew", enrol=False)
    assert (lease.level, lease.enforcement) == (0, "software")
    assert computer.verdict == "ek_root_unknown" and len(files(computer)) == 1


def test_keys_of_a_level_go_only_to_a_device_that_proved_it(shop, computer):
    text = entitled(shop, 0, 2)
    plain = Computer(shop, "plain")
    assert plain.activate(text).level == 0
    assert len({f for f, s in plain.keys}) == 1
    lease = computer.prove("activate", text)
    assert lease.level == 2 and len(files(computer)) == 2
    lease = computer.renew()  # without a proof it is L0 again, at once
    assert lease.level == 0 and len(files(computer)) == 1
    lease = computer.prove("renew", enrol=False)
    assert lease.level == 2 and len(files(computer)) == 2


def test_a_plan_that_demands_a_level_names_it_when_it_is_missing(shop, computer):
    shop.plan("l2", binding=Binding(min_level=2), seats=5)
    text = shop.license("l2").license_key
    error, denial = denied(lambda: Computer(shop).activate(text), shop)
    assert isinstance(error, LevelNotReached) and error.exit_code == 6
    assert (denial.params["level"], denial.params["needed"]) == ("L0", "L2")
    assert computer.prove("activate", text).level == 2
    error, denial = denied(computer.renew, shop)
    assert (error.code, denial.params["needed"]) == ("level_not_reached", "L2")


def test_a_level_above_the_tpms_is_not_reached_by_it(shop, computer):
    text = entitled(shop, 0, 3)
    computer.prove("activate", text)
    assert len(files(computer)) == 1


@pytest.mark.parametrize("level", [3, 4, 5])
def test_a_plan_that_would_admit_nobody_is_not_made_and_one_from_before_says_the_level(
    shop, computer, monkeypatch, level
):
    with pytest.raises(ConfigInvalid, match=f"--entitlement NAME@L{level}"):
        shop.plan("top", binding=Binding(min_level=level))
    monkeypatch.setattr(plan_rules, "LEASE_LEVEL", 5)
    shop.plan("top", binding=Binding(min_level=level))
    text = shop.license("top").license_key
    error, _ = denied(lambda: computer.prove("activate", text), shop)
    assert error.params["level"] == "L2" and error.params["needed"] == f"L{level}"


def test_a_credential_that_another_tpm_answers_is_refused(shop, computer, new_tpm):
    """The relay of a challenge to a TPM that is not the one with the certificate."""
    stranger = DeviceTpm(new_tpm(fresh=True).address)
    text = license_of(shop, **HARD)
    answer = computer.credential(chip=stranger)
    error, denial = denied(lambda: computer.prove("activate", text, credential=answer), shop)
    assert denial.params["verdict"] == "credential_wrong" and error.exit_code == 6


def test_an_attestation_key_beside_no_endorsed_tpm_is_refused(shop, computer, new_tpm):
    """A key of a TPM without a certificate, under the certificate of another TPM."""
    stranger = TpmComputer(shop, chip=DeviceTpm(new_tpm(fresh=True).address))
    stranger.key = computer.key
    named = stranger.point()
    stolen = computer.credential(named=named)  # the endorsed TPM does not hold that key
    text = license_of(shop, **HARD)
    _, denial = denied(lambda: stranger.prove("activate", text, credential=stolen), shop)
    assert denial.params["verdict"] == "credential_wrong"


def test_a_credential_of_another_device_is_refused(shop, computer):
    """The challenge is for one signing key: nobody answers for his neighbour."""
    mine = TpmComputer(shop, chip=computer.chip, ak=computer.ak)
    answer = computer.credential()
    _, denial = denied(
        lambda: mine.prove("activate", license_of(shop, **HARD), credential=answer), shop
    )
    assert denial.params["verdict"] == "credential_wrong"


def test_a_challenge_is_over_after_ten_minutes(shop, computer):
    answer = computer.credential()
    shop.clock.pass_(minutes=10)
    with pytest.raises(EvidenceOutdated) as caught:
        computer.prove("activate", license_of(shop, **HARD), credential=answer)
    assert caught.value.params["verdict"] == "credential_late"
    import msgspec

    later = msgspec.structs.replace(answer, expires_at=answer.expires_at + 600)
    other = TpmComputer(shop, chip=computer.chip, ak=computer.ak, key=computer.key)
    _, denial = denied(
        lambda: other.prove("activate", shop.license("p").license_key, credential=later), shop
    )
    assert denial.params["verdict"] == "credential_wrong"


def test_a_tpm_that_the_server_does_not_know_is_asked_for_its_credential_first(shop, computer):
    text = license_of(shop, **HARD)
    with pytest.raises(EvidenceOutdated) as caught:
        computer.prove("activate", text, enrol=False)
    assert caught.value.params["verdict"] == "ak_unknown"
    assert shop.events("lease_denied") == []  # nothing was decided
    computer.prove("activate", text)
    computer.ak = os.urandom(32)
    with pytest.raises(EvidenceOutdated):
        computer.prove("renew", enrol=False)
    assert computer.prove("renew").level == 2


@pytest.mark.parametrize(
    "parts",
    [
        {"nonce": "n" * 43},
        {"jkt": "j" * 43},
        {"server": "srv_x"},
        {"product": "x"},
        {"kem": "k" * 43},
    ],
)
def test_a_statement_for_another_question_is_refused(shop, computer, parts):
    computer.prove("activate", entitled(shop, 0, 2))
    lease = computer.prove("renew", enrol=False, parts=parts)
    assert (lease.level, computer.verdict) == (0, "attest_bound")


def test_a_statement_that_was_answered_before_proves_nothing_again(shop, computer):
    computer.prove("activate", entitled(shop, 0, 2))
    nonce, kem = b64u(os.urandom(32)), KemPrivateKey.generate()
    old = computer.evidence(nonce, kem)
    lease = computer.prove("renew", enrol=False, tpm=old)
    assert (lease.level, computer.verdict) == (0, "attest_bound")


def test_a_key_of_another_policy_than_it_says_is_refused(shop, computer):
    computer.prove("activate", entitled(shop, 0, 2))
    for more in ({"clock_limit_ms": 5}, {"reset_limit": 5}):
        nonce, kem = b64u(os.urandom(32)), KemPrivateKey.generate()
        lying = computer.evidence(nonce, kem, seconds=WEEK * 50, **more)
        token = computer.sign(
            computer.request(
                "renew", nonce=nonce, kem=computer.kem(kem), tpm=lying, enforcement=OFFERS
            )
        )
        answer = shop.server.devices.renew(computer.device_id, token)
        assert answer.verdict == "key_not_certified"
        computer._accept(answer.lease, answer.license, kem)
        assert computer.lease.level == 0


def test_a_key_that_would_outlive_the_lease_is_made_anew_as_the_server_says(shop, computer):
    shop.plan("short", lease=LeaseTerms(max_seconds=3600, power_cuts=2), **HARD)
    text = shop.license("short").license_key
    for wrong, verdict in (
        ({"seconds": 3601}, "key_limit"),
        ({"seconds": 3600, "cuts": 3}, "key_resets"),
        ({"seconds": 0}, "key_ended"),
    ):
        with pytest.raises(EvidenceOutdated) as caught:
            computer.prove("activate", text, **wrong)
        found = caught.value.params
        assert (found["verdict"], found["seconds"], found["power_cuts"]) == (verdict, 3600, 2)
    lease = computer.prove("activate", text, seconds=3600, cuts=2)
    assert 0 <= 3600 - (lease.exp - lease.iat) < 30
    lease = computer.prove("renew", enrol=False, seconds=60, cuts=0)
    assert lease.exp - lease.iat <= 60 and lease.hardware.reset_limit == lease.hardware.reset_count


def test_a_lease_never_outlives_its_license_in_the_tpm_either(shop, computer):
    shop.plan("p", **HARD)
    text = shop.license("p", expires_in_seconds=7200).license_key
    with pytest.raises(EvidenceOutdated) as caught:
        computer.prove("activate", text)
    assert caught.value.params["seconds"] == 7200
    lease = computer.prove("activate", text, seconds=7200)
    shop.clock.pass_(seconds=7200)
    error, _ = denied(lambda: computer.prove("renew", enrol=False, seconds=60), shop)
    assert error.code == "license_expired"
    assert lease.exp - lease.iat <= 7200


def test_a_lost_reply_is_answered_again_for_the_same_key_and_for_no_other(shop, computer):
    computer.prove("activate", license_of(shop, **HARD))
    nonce, kem = b64u(os.urandom(32)), KemPrivateKey.generate()

    def ask(evidence):
        request = computer.request(
            "renew", nonce=nonce, kem=computer.kem(kem), tpm=evidence, enforcement=OFFERS
        )
        return shop.server.devices.renew(computer.device_id, computer.sign(request))

    first = ask(computer.evidence(nonce, kem))
    key = computer.made
    with pytest.raises(IdempotencyMismatch):
        ask(computer.evidence(nonce, kem))
    shop.clock.pass_(days=3)
    again = ask(computer.evidence(nonce, kem, key=key))
    lease = computer._accept(again.lease, again.license, kem)
    assert first.event_id == again.event_id and lease.seq == 2 and files(computer)


def test_a_software_lease_that_was_lost_is_answered_again_though_the_root_is_known_by_now(
    shop, computer
):
    folder = shop.home / "server" / "endorsements" / "tpm2"
    computer.prove("activate", entitled(shop, 0, 2))
    roots = {path: path.read_bytes() for path in folder.iterdir()}
    for path in roots:
        path.unlink()
    nonce, kem = b64u(os.urandom(32)), KemPrivateKey.generate()
    evidence = computer.evidence(nonce, kem)

    def ask():
        request = computer.request(
            "renew", nonce=nonce, kem=computer.kem(kem), tpm=evidence, enforcement=OFFERS
        )
        return shop.server.devices.renew(computer.device_id, computer.sign(request))

    ask()
    for path, data in roots.items():
        path.write_bytes(data)
    again = ask()
    lease = computer._accept(again.lease, again.license, kem)
    assert (lease.enforcement, lease.level) == ("software", 0) and len(files(computer)) == 1
    assert computer.prove("renew", enrol=False).level == 2


def test_the_keys_of_a_plan_for_hardware_are_released_to_no_software(shop, computer):
    """Otherwise whoever has the signing key alone would fetch them by a key release."""
    computer.prove("activate", license_of(shop, **HARD))
    error, denial = denied(computer.release, shop)
    assert (error.code, error.exit_code) == ("enforcement_not_reached", 6)
    assert denial.code == "enforcement_not_reached"


def test_an_online_run_gets_the_keys_of_a_level_under_a_key_of_its_tpm(shop, computer):
    text = entitled(shop, 0, 2, enforcement="online")
    lease = computer.prove("activate", text)
    assert (lease.enforcement, lease.level, lease.keys, lease.hardware) == ("online", 2, [], None)
    _, keys = computer.release()
    assert len({f for f, s in keys}) == 1
    nonce, kem = b64u(os.urandom(32)), KemPrivateKey.generate()
    evidence = computer.evidence(nonce, kem, seconds=3600)
    request = computer.request("release", nonce=nonce, kem=computer.kem(kem), tpm=evidence)
    token = computer.sign(request)
    answer = shop.server.devices.release(computer.device_id, token)
    from modelseal.license import tokens
    from modelseal.license.claims import ReleaseClaims

    claims = tokens.read(answer.release, ReleaseClaims, shop.trust)
    assert (claims.level, claims.keys[0].suite) == (2, lease_keys.HARDWARE_SUITE)


def test_a_trial_of_a_plan_for_hardware_demands_it_too(shop, computer):
    shop.plan("try", trial_once_per_device=True, period_seconds=86400, **HARD)
    error, _ = denied(lambda: computer.trial("try"), shop)
    assert error.code == "enforcement_not_reached"
    nonce, kem = b64u(os.urandom(32)), KemPrivateKey.generate()
    credential = computer.credential()
    tpm = computer.evidence(nonce, kem, seconds=86400, credential=credential)
    request = computer.request(
        "trial", nonce=nonce, kem=computer.kem(kem), plan="try", tpm=tpm, enforcement=OFFERS
    )
    answer = shop.server.devices.trial(computer.sign(request))
    assert computer._accept(answer.lease, answer.license, kem).enforcement == "hardware"


@pytest.mark.soak
def test_a_bundle_is_carried_under_the_tpm_as_well(shop, computer, tmp_path):
    for number in range(40):
        shop.publish(tmp_path, f"m{number}.onnx", "face.swap")
    lease = computer.prove("activate", license_of(shop, **HARD))
    assert lease.bundle is not None and lease.keys[0].suite == lease_keys.HARDWARE_SUITE
    assert len(computer.keys) == 1


def test_the_log_says_what_was_proved_and_a_decision_is_replayed_from_it(shop, computer):
    computer.prove("activate", license_of(shop, **HARD))
    event = shop.events("device_activated")[-1]
    assert (event.params["level"], event.params["enforcement"]) == (2, "hardware")
    assert event.params["evidence"]["verdict"] == "ok"
    assert event.params["hardware"]["reset_limit"] == computer.lease.hardware.reset_limit
    found = LocalAdmin(shop.server).explain(event.reference)
    assert found.replayed and found.facts["device"]["level"] == 2
    denied(computer.renew, shop)
    event = shop.events("lease_denied")[-1]
    found = LocalAdmin(shop.server).explain(event.reference)
    assert found.replayed and found.code == "enforcement_not_reached"


def test_the_device_row_shows_its_level_and_forgets_the_tpm_with_its_customer(shop, computer):
    text = license_of(shop, **HARD)
    computer.prove("activate", text)
    from modelseal.server.store import devices as device_store

    row = shop.server.context.store.read(device_store.get, computer.device_id)
    assert row.level == 2 and row.enforcement == "hardware" and len(row.tpm["ek"]) == 64
    shop.admin.erase_customer(shop.events("license_issued")[-1].subjects["customer"])
    row = shop.server.context.store.read(device_store.get, computer.device_id)
    assert row.tpm is None


def test_a_damaged_root_file_pins_nothing_and_stops_nobody(shop, computer):
    folder = shop.home / "server" / "endorsements" / "tpm2"
    (folder / "damaged.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    (folder / "damaged.crl").write_bytes(b"no list")
    (folder / "notes.txt").write_text("read by nobody")
    assert computer.prove("activate", license_of(shop, **HARD)).level == 2


def test_any_nonsense_as_evidence_is_l0_and_no_failure(shop, computer):
    computer.prove("activate", entitled(shop, 0, 2))
    nonce, kem = b64u(os.urandom(32)), KemPrivateKey.generate()
    good = computer.evidence(nonce, kem)
    for wrong in (
        {"attest": "AAAA"}, {"attest": "=="}, {"signature": "AAAA"},
        {"attest": b64u(bytes(700))}, {"signature": good.attest}, {"attest": good.signature},
    ):  # fmt: skip
        lease = computer.prove("renew", enrol=False, **wrong)
        assert lease.level == 0 and computer.verdict in ("evidence_malformed", "attest_signature")


def test_the_challenge_tells_why_there_is_none(shop, computer, new_tpm):
    from modelseal.license.claims import P256Point, TpmEndorsement

    def verdict(certificates, point=None):
        asked = TpmEndorsement(certificates, point or computer.point())
        token = computer.sign(computer.request("challenge", endorsement=asked))
        return shop.server.devices.challenge(token).verdict

    good = [b64u(data) for data in computer.chip.certificates()]
    assert verdict(good) == "ok"
    assert verdict(["AAAA"]) == "ek_certificate_malformed"
    assert verdict(["+"]) == "evidence_malformed"
    assert verdict(good, P256Point("A" * 43, "A" * 43)) == "evidence_malformed"
    shop.clock.now += timedelta(days=4000)
    assert verdict(good) in ("ok", "ek_certificate_expired")
