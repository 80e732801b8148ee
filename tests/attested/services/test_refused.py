"""Attested key release at the server: evidence that is lent, bent or lacking, and by which code."""

from __future__ import annotations

import os
from dataclasses import replace

import msgspec
import pytest
from tests.attest.authorities import snp
from tests.attested.machines import Tee, endorse, list_of, set_policy, verdict
from tests.server.world import denied

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import (
    LeaseSuperseded,
    LicenseRevoked,
    Misuse,
    NotEntitled,
    NotFound,
    SealedKeyInvalid,
    TokenClaims,
)
from modelseal.license.claims import KeyWish
from modelseal.server.services.attesting import EvidenceOfKind
from modelseal.strict_json import b64u

# -- relay and mix-up: evidence for one question is none for another


@pytest.mark.parametrize("what", ["kem", "want", "level", "seq", "nonce", "device", "key"])
def test_evidence_collected_for_another_question_opens_nothing(shop, tee, makers, files, what):
    mine = tee.ask({files["restore"]: [0, 1]})
    if what == "device":  # a genuine machine elsewhere, licensed too, lends its evidence
        other = Tee(shop, seed="b", makers=makers)
        other.activate(shop.license("tee").license_key)
        theirs = other.ask({files["restore"]: [0, 1]})
    elif what == "key":  # the same machine under a signing key of its own
        other = Tee(shop, seed="b", makers=makers, key=tee.key)
        other.device_id, other.license_id, other.seq, other.prev = (
            tee.device_id, tee.license_id, tee.seq, tee.prev,
        )  # fmt: skip
        theirs = other.ask({files["restore"]: [0, 1]})
    else:
        changed = {
            "kem": {"kem": tee.kem(KemPrivateKey.generate())},
            "want": {"want": [KeyWish(file=b64u(files["restore"]), sections=[1])]},
            "level": {"level": 3},
            "seq": {"seq": tee.seq + 7},
            "nonce": {},
        }[what]
        theirs = tee.ask({files["restore"]: [0, 1]}, **changed)
    assert verdict(lambda: tee.send(mine, tee.evidence(theirs.transcript)), shop) == (
        "binding_mismatch"
    )


def test_a_request_changed_after_the_evidence_is_no_request_of_the_device(shop, tee, files):
    sent = tee.ask({files["restore"]: [0, 1]})
    head, payload, signature = sent.token.split(".")
    other = tee.ask({files["train"]: [0, 1]})
    mixed = replace(sent, token=f"{head}.{other.token.split('.')[1]}.{signature}")
    with pytest.raises(Exception, match="token_signature"):
        tee.send(mixed)
    assert payload


def test_what_was_released_opens_for_its_own_transcript_result_and_level_alone(shop, tee, files):
    sent = tee.ask({files["restore"]: [0, 1]})
    release = tee.send(sent)
    for wrong in (
        {"transcript": bytes(32)},
        {"result": bytes(32)},
        {"level": 3},
        {"nonce": b64u(bytes(32))},
        {"label": "release", "transcript": None, "result": None},
    ):
        with pytest.raises(SealedKeyInvalid):
            sent.opened(release, **wrong)


def test_another_devices_address_or_signature_is_refused(shop, tee, makers, files):
    other = Tee(shop, seed="b", makers=makers)
    other.activate(shop.license("tee").license_key)
    sent = tee.ask({files["restore"]: [0, 1]})
    with pytest.raises(NotFound):
        other.send(sent)


def test_a_plain_question_is_none_of_these_and_the_other_way_round(shop, tee, files):
    sent = tee.ask({files["restore"]: [0, 1]})
    with pytest.raises(Misuse):
        shop.server.devices.release(tee.device_id, sent.token.encode())
    nonce = tee.sign(tee.request("nonce")).decode()
    with pytest.raises(Misuse):
        tee.send(replace(sent, token=nonce))


@pytest.mark.parametrize(
    "less",
    [
        {"level": None}, {"level": 0}, {"server_nonce": None}, {"server_key": None},
        {"want": []}, {"kem": []}, {"lic": None}, {"server_key": "A" * 43},
    ],
    ids=str,
)  # fmt: skip
def test_a_question_that_names_too_little_or_another_key_is_no_question(shop, tee, files, less):
    sent = tee.ask({files["restore"]: [0, 1]})
    token = tee.sign(msgspec.structs.replace(sent.claims, **less)).decode()
    with pytest.raises(TokenClaims):
        tee.send(replace(sent, token=token))


# -- what is lacking: never good enough


@pytest.mark.parametrize(
    ("report", "code"),
    [
        ({"policy": 0x3001F | 1 << 19}, "debug_enabled"),
        ({"measurement": bytes(48)}, "measurement_mismatch"),
        ({"reported": {**snp.TCB, "snp": 3}}, None),
        ({"vmpl": 2}, None),
        ({"report_data": bytes(64)}, "binding_mismatch"),
    ],
    ids=str,
)
def test_each_wrong_field_of_the_evidence_is_refused(shop, tee, files, report, code):
    sent = tee.ask({files["restore"]: [0, 1]})
    found = verdict(lambda: tee.send(sent, tee.evidence(sent.transcript, **report)), shop)
    assert found and (code is None or found == code)


def test_without_a_revocation_list_nothing_is_affirmed(shop, tee, files):
    (shop.home / "server" / "endorsements" / "bundle.mse").unlink()
    sent = tee.ask({files["restore"]: [0, 1]})
    assert verdict(lambda: tee.send(sent), shop).startswith(("revocation", "crl"))


def test_a_device_cannot_bring_its_own_revocation_list(shop, tee, makers, files):
    (shop.home / "server" / "endorsements" / "bundle.mse").unlink()
    sent = tee.ask({files["restore"]: [0, 1]})
    own = [*tee.beside, list_of(makers, shop.clock)]
    assert verdict(lambda: tee.send(sent, None, own), shop).startswith(("revocation", "crl"))


def test_a_bundle_that_is_over_rolled_back_or_damaged_endorses_nothing(shop, tee, makers, files):
    folder = shop.home / "server" / "endorsements"
    old = (folder / "bundle.mse").read_bytes()
    endorse(shop, list_of(makers, shop.clock, 2))
    for data in (old, old[:-1], b""):
        (folder / "bundle.mse").write_bytes(data)
        sent = tee.ask({files["restore"]: [0, 1]})
        assert verdict(lambda: tee.send(sent), shop).startswith(("revocation", "crl"))  # noqa: B023
    shop.clock.pass_(days=6)
    tee.renew()
    endorse(shop, list_of(makers, shop.clock), days=1)
    tee.send(tee.ask({files["restore"]: [0, 1]}))
    shop.clock.pass_(days=1)
    sent = tee.ask({files["restore"]: [0, 1]})
    assert verdict(lambda: tee.send(sent), shop).startswith(("revocation", "crl"))


def test_a_list_that_names_the_intermediate_ends_all_chips_under_it(shop, tee, makers, files):
    endorse(shop, list_of(makers, shop.clock, 2))
    sent = tee.ask({files["restore"]: [0, 1]})
    assert "revoked" in verdict(lambda: tee.send(sent), shop)


def test_no_policy_a_damaged_one_and_one_of_other_kinds_admit_nobody(shop, tee, makers, files):
    path = shop.home / "server" / "attestation-policy.json"
    for rules, code in (
        (None, "chain_not_anchored"),
        (b"[", "policy_unreadable"),
        ({**makers.rules(), "kinds": ["tdx"]}, "kind_not_allowed"),
        ({**makers.rules(), "composite": [["snp"], ["nvidia"]]}, "composite_missing"),
    ):
        if rules is None:
            path.unlink()
        elif isinstance(rules, bytes):
            path.write_bytes(rules)
        else:
            set_policy(shop.home, rules)
        sent = tee.ask({files["restore"]: [0, 1]})
        assert verdict(lambda: tee.send(sent), shop) == code  # noqa: B023


def test_a_kind_that_this_server_does_not_read_proves_nothing(shop, tee, files):
    sent = tee.ask({files["restore"]: [0, 1]})
    strange = [*tee.evidence(sent.transcript), EvidenceOfKind("sgx9", [b"x"])]
    assert verdict(lambda: tee.send(sent, strange), shop) == "kind_unknown"


def test_software_proves_nothing_even_where_a_policy_pins_it(shop, tee, makers, files):
    from modelseal.attest.verify import software
    from modelseal.crypto.signing import SigningKey

    key = SigningKey.generate()
    pinned = makers.rules(
        kinds=["software"], roots={"software": [msgspec.json.encode(dict(key.jwk)).decode()]},
        software={"accept_software": True}, accept_unknown=["measurement"], reference={}, snp={},
    )  # fmt: skip
    set_policy(shop.home, pinned)
    sent = tee.ask({files["restore"]: [0, 1]}, level=1)
    said = software.write(sent.transcript.bound("software"), key)
    found = verdict(lambda: tee.send(sent, [EvidenceOfKind("software", [said])]), shop)
    assert found == "level_none"


# -- the license is asked as ever


def test_what_is_not_granted_revoked_or_superseded_is_refused_whatever_is_proved(
    shop, makers, files
):
    small = Tee(shop, seed="s", makers=makers)
    small.activate(shop.license("small").license_key)
    sent = small.ask({files["restore"]: [0, 1]})
    assert isinstance(denied(lambda: small.send(sent), shop)[0], NotEntitled)
    tee = Tee(shop, seed="t", makers=makers)
    made = shop.license("tee")
    tee.activate(made.license_key)
    before = tee.copy()
    old = replace_tee(tee, before)
    tee.renew()
    sent = old.ask({files["restore"]: [0, 1]})
    assert isinstance(denied(lambda: old.send(sent), shop)[0], LeaseSuperseded)
    shop.admin.revoke_license(made.license_id, "chargeback")
    sent = tee.ask({files["restore"]: [0, 1]})
    assert isinstance(denied(lambda: tee.send(sent), shop)[0], LicenseRevoked)


def replace_tee(tee, before):
    made = Tee(tee.shop, seed=tee.seed, makers=tee.makers, key=tee.key)
    made.device_id, made.license_id = before.device_id, before.license_id
    made.seq, made.prev = before.seq, before.prev
    return made


def test_one_section_that_is_refused_refuses_all(shop, tee, files):
    sent = tee.ask({files["restore"]: [0, 1], files["train"]: [0, 1]})
    error, _ = denied(lambda: tee.send(sent), shop)
    assert error.params["entitlement"] == "face.train"
    for gone in ({os.urandom(32): [0]}, {files["restore"]: [0, 1, 99]}):
        sent = tee.ask(gone)
        assert denied(lambda: tee.send(sent), shop)[0].code == "release_too_old"  # noqa: B023
