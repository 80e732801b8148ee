"""The verdict of an attested release as a signed result, which an auditor comes to again."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select
from tests.attested.machines import set_policy, verdict
from tests.server.world import Shop

from modelseal.attest.verify import Endorsements, Evidence, appraise, bundle, ear
from modelseal.attest.verify import policy as policies
from modelseal.attest.verify.endorsements import certificates_in
from modelseal.attest.verify.registry import builtin
from modelseal.desk import rotating
from modelseal.desk import workspace as workspaces
from modelseal.errors import NotFound, TokenKeyUnknown
from modelseal.ids import new_id
from modelseal.server.services.attesting import EvidenceOfKind
from modelseal.server.store import results as store
from modelseal.server.store import tables as t
from modelseal.strict_json import b64u
from modelseal.trust import Use


def event_of(shop: Shop):
    """The newest event with evidence."""
    return [e for e in shop.events() if "evidence" in e.params][-1]


def read(shop: Shop, token: str):
    return ear.read(token, lambda kid, at: shop.trust.verify_keys(Use.ATTESTATION, kid, at))


def again(shop: Shop, sent, evidence, beside, one):
    """The digest that the evidence, the policy of the answer and its time come to."""
    claims = read(shop, one.ear)["modelseal"]
    policy = policies.parse(one.policy.encode(), builtin()).base
    assert policy.digest.hex() == claims["digests"]["policy"]
    result = appraise(
        [Evidence(e.kind, tuple(e.parts)) for e in evidence],
        {e.kind: sent.transcript.bound(e.kind) for e in evidence},
        Endorsements((list_of_bundle(shop), *map(der, beside))), policy,
        datetime.fromisoformat(claims["now"]),
    )  # fmt: skip
    assert result.digest.hex() == claims["digest"]
    return result


def der(certificate: bytes) -> bytes:
    """A certificate as the server takes it."""
    (found,) = certificates_in(certificate)
    return found.public_bytes(Encoding.DER)


def list_of_bundle(shop: Shop) -> bytes:
    """The one item of the bundle in force."""
    data = (shop.home / "server" / "endorsements" / "bundle.mse").read_bytes()
    keys = partial(shop.trust.verify_keys, Use.ENDORSEMENT)
    return bundle.read(data, keys, shop.clock(), product="facefusion").items[0].data


def test_a_release_leaves_a_signed_result_that_can_be_come_to_again(shop, tee, files):
    tee.with_gpu = True
    sent = tee.ask({files["restore"]: [0, 1]})
    evidence, beside = tee.evidence(sent.transcript), tee.beside
    tee.send(sent, evidence, beside)
    event = event_of(shop)
    (one,) = shop.admin.show_attestation(event.event_id).verdicts
    claims = read(shop, one.ear)
    assert claims["eat_profile"] == ear.PROFILE
    assert {name: s["ear_status"] for name, s in claims["submods"].items()} == {
        "snp": "affirming", "nvidia": "affirming",
    }  # fmt: skip
    told = event.params["evidence"]
    assert told["results"][0]["result"] == claims["modelseal"]["digest"]
    assert again(shop, sent, evidence, beside, one).affirming
    chip = claims["modelseal"]["submodules"]["snp"]["claims"]["chip_id"]
    assert chip not in str(event.params)


def test_a_denial_leaves_one_too_and_evidence_of_no_kind_leaves_none(shop, tee, files):
    sent = tee.ask({files["restore"]: [0, 1]})
    evidence, beside = tee.evidence(sent.transcript, measurement=bytes(48)), tee.beside
    assert verdict(lambda: tee.send(sent, evidence, beside), shop) == "measurement_mismatch"
    (one,) = shop.admin.show_attestation(event_of(shop).event_id).verdicts
    assert again(shop, sent, evidence, beside, one).code == "measurement_mismatch"
    sent = tee.ask({files["restore"]: [0, 1]})
    unknown = [EvidenceOfKind("unheard-of", [b"evidence"])]
    assert verdict(lambda: tee.send(sent, unknown), shop) == "kind_unknown"
    with pytest.raises(NotFound):
        shop.admin.show_attestation(event_of(shop).event_id)


def test_results_are_kept_as_long_as_the_configuration_says(shop, tee, files):
    """They name chips, so they go by themselves; the events beside which they stood stay."""
    context = shop.server.context
    days = context.config.attestation_results_days
    old = [
        new_id("evt", shop.clock() - timedelta(days=n), os.urandom) for n in (days + 1, days - 1)
    ]

    def put(tx):
        for event_id in old:
            store.add(tx, "lic_x", event_id, [{"ear": event_id}], {})

    context.store.write(put)
    sent = tee.ask({files["restore"]: [0, 1]})
    tee.send(sent, tee.evidence(sent.transcript), tee.beside)
    left = [context.store.read(store.of_event, event_id) for event_id in old]
    assert left == [[], [{"ear": old[1]}]]
    assert shop.admin.show_attestation(event_of(shop).event_id).verdicts


def test_results_are_exported_and_erased_with_their_customer(shop, tee, files):
    tee.send(tee.ask({files["restore"]: [0, 1]}))
    event = event_of(shop)
    found = shop.admin.show_attestation(event.event_id)
    customer = event.subjects["customer"]
    assert shop.admin.export_customer(customer).attestations == [found]
    shop.admin.erase_customer(customer)
    with pytest.raises(NotFound):
        shop.admin.show_attestation(event.event_id)
    rows = shop.server.context.store.read(
        lambda tx: tx.execute(select(t.appraisal_policies.c.data)).scalars().all()
    )
    assert len(rows) == 1  # what was demanded then stays, and names nobody


def test_each_policy_that_was_asked_has_its_result_and_is_kept_once(shop, tee, makers, files):
    shorter = {"max_lease_seconds": 600}
    set_policy(shop.home, makers.rules(entitlements={"face.restore": shorter}))
    for _ in range(2):
        sent = tee.ask({files["restore"]: [0, 1], files["inner"]: [0, 1]})
        evidence, beside = tee.evidence(sent.transcript), tee.beside
        release = tee.send(sent, evidence, beside)
        found = shop.admin.show_attestation(event_of(shop).event_id).verdicts
        results = [again(shop, sent, evidence, beside, one) for one in found]
        assert len({result.policy_digest for result in results}) == 2
        whole = sha256(b"".join(sorted(result.digest for result in results))).digest()
        assert release.attested.result == b64u(whole)
    rows = shop.server.context.store.read(
        lambda tx: tx.execute(select(t.appraisal_policies.c.digest)).scalars().all()
    )
    assert len(rows) == 2


def test_no_key_of_another_use_vouches_for_a_result(shop, tee, files):
    tee.send(tee.ask({files["restore"]: [0, 1]}))
    (one,) = shop.admin.show_attestation(event_of(shop).event_id).verdicts
    with pytest.raises(TokenKeyUnknown):
        ear.read(one.ear, lambda kid, at: shop.trust.verify_keys(Use.LEASE, kid, at))


def test_a_workspace_without_such_a_key_releases_and_signs_once_it_has_one(shop, tee, files):
    """As one is that was made before results were signed."""
    for path in (shop.home / "server" / "keys").glob("attestation-*"):
        path.unlink()
    shop.server.context._signers.clear()
    tee.send(tee.ask({files["restore"]: [0, 1]}))
    with pytest.raises(NotFound):
        shop.admin.show_attestation(event_of(shop).event_id)
    with workspaces.open(shop.home) as desk:
        rotating.rotate(desk, shop.admin, [Use.ATTESTATION], now=shop.clock())
    tee.send(tee.ask({files["restore"]: [0, 1]}))
    assert shop.admin.show_attestation(event_of(shop).event_id).verdicts
