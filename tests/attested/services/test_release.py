"""Attested key release at the server: who gets keys, and which question is none."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import msgspec
import pytest
from tests.attested.machines import Tee, list_of, set_policy, verdict
from tests.server.world import denied

from modelseal.attest.verify import Endorsements, Evidence, appraise, ear
from modelseal.attest.verify import policy as policies
from modelseal.attest.verify.registry import builtin
from modelseal.errors import (
    EvidenceOutdated,
    NotFound,
)
from modelseal.license.claims import KeyWish
from modelseal.server.services.attesting import EvidenceOfKind
from modelseal.strict_json import b64u, unb64u

# -- what is given


def test_a_good_guest_gets_exactly_the_keys_it_asked_for(shop, tee, files):
    sent = tee.ask({files["restore"]: [0, 1]})
    release = tee.send(sent)
    assert set(sent.opened(release)) == {(files["restore"], 0), (files["restore"], 1)}
    assert (release.level, release.attested.kinds) == (4, ["snp"])
    assert [item.level for item in release.keys] == [4]
    assert release.exp == tee.lease.exp


def test_nothing_above_what_a_lease_proved_is_in_it_or_in_a_plain_release(shop, makers, files):
    for plan in ("tee", "runs"):
        tee = Tee(shop, seed=plan, makers=makers)
        tee.activate(shop.license(plan).license_key)
        tee.renew()
        _, released = tee.release()
        wanted = [KeyWish(file=b64u(f), sections=[0, 1]) for f in files.values()]
        _, named = tee.release(want=wanted)
        for keys in (tee.keys, released, named):
            assert {file_id for file_id, _ in keys} <= {files["swap"]}


def test_what_the_file_itself_demands_counts_where_the_plan_demands_nothing(shop, tee, files):
    sent = tee.ask({files["inner"]: [0, 1]})
    assert set(sent.opened(tee.send(sent))) == {(files["inner"], 0), (files["inner"], 1)}
    low = tee.ask({files["inner"]: [0, 1]}, level=3)
    assert verdict(lambda: tee.send(low), shop) == "level_short"


def test_a_processor_and_a_gpu_together_are_level_five_and_neither_alone(shop, tee, files):
    sent = tee.ask({files["train"]: [0, 1]}, level=5)
    assert verdict(lambda: tee.send(sent), shop) == "level_short"
    tee.with_gpu = True
    sent = tee.ask({files["train"]: [0, 1]}, level=5)
    release = tee.send(sent)
    assert (release.level, release.attested.kinds) == (5, ["nvidia", "snp"])
    assert sent.opened(release)
    alone = tee.ask({files["train"]: [0, 1]}, level=5)
    gpu = tee.evidence(alone.transcript)[1:]
    assert verdict(lambda: tee.send(alone, gpu), shop) == "level_none"


def test_each_entitlement_has_a_policy_of_its_own(shop, tee, makers, files):
    other = {"reference": {"snp": [{"measurement": ["66" * 48]}]}}
    set_policy(shop.home, makers.rules(entitlements={"face.restore": other}))
    sent = tee.ask({files["restore"]: [0, 1]})
    assert verdict(lambda: tee.send(sent), shop) == "measurement_mismatch"
    sent = tee.ask({files["inner"]: [0, 1]})
    assert sent.opened(tee.send(sent))


def test_a_policy_limits_how_long_the_keys_are_kept(shop, tee, makers, files):
    set_policy(shop.home, makers.rules(max_lease_seconds=600))
    release = tee.send(tee.ask({files["restore"]: [0, 1]}))
    assert release.exp - release.iat == 600


def test_the_event_tells_verdict_and_digests_and_the_decision_can_be_replayed(shop, tee, files):
    good = tee.send(tee.ask({files["restore"]: [0, 1]}))
    event = shop.events("keys_released")[-1]
    told = event.params["evidence"]
    assert event.params["level"] == 4 and told["kinds"] == ["snp"]
    assert told["results"][0]["verdict"] == "ok"
    assert bytes.fromhex(told["results"][0]["result"]) == _raw(good.attested.result)
    sent = tee.ask({files["restore"]: [0, 1]})
    bad = tee.evidence(sent.transcript, measurement=bytes(48))
    error, _ = denied(lambda: tee.send(sent, bad), shop)
    explained = shop.admin.explain(error.reference)
    assert (explained.code, explained.replayed) == ("level_not_reached", True)
    assert explained.params["verdict"] == "measurement_mismatch"
    assert shop.events("lease_denied")[-1].params["evidence"]["results"][0]["step"] == "measurement"


def _raw(text):
    return unb64u(text)


# -- replay, reuse, time


def test_a_nonce_is_good_for_one_question(shop, tee, files):
    nonce = tee.nonce()
    first = tee.ask({files["restore"]: [0, 1]}, nonce=nonce)
    second = tee.ask({files["restore"]: [0, 1]}, nonce=nonce)
    tee.send(first)
    for again in (first, second):
        with pytest.raises(EvidenceOutdated) as found:
            tee.send(again)
        assert found.value.params["verdict"] == "nonce_used"


def test_a_refused_question_has_used_its_nonce_too(shop, tee, files):
    sent = tee.ask({files["restore"]: [0, 1]})
    assert verdict(lambda: tee.send(sent, tee.evidence(sent.transcript, vmpl=3)), shop)
    with pytest.raises(EvidenceOutdated):
        tee.send(sent)


def test_a_nonce_lives_for_two_minutes_and_another_process_knows_it(shop, tee, files):
    sent = tee.ask({files["restore"]: [0, 1]})
    other = shop.reopen()
    shop.clock.pass_(seconds=119)
    tee.send(sent, server=other.server)
    with pytest.raises(EvidenceOutdated):
        tee.send(sent)
    late = tee.ask({files["restore"]: [0, 1]})
    shop.clock.pass_(seconds=120)
    with pytest.raises(EvidenceOutdated) as found:
        tee.send(late, server=other.server)
    assert found.value.params["verdict"] == "nonce_late"
    other.server.close()


def test_a_nonce_of_another_device_or_of_nobody_is_unknown(shop, tee, makers, files):
    other = Tee(shop, seed="b", makers=makers)
    other.activate(shop.license("tee").license_key)
    stolen = tee.ask({files["restore"]: [0, 1]}, nonce=other.nonce())
    with pytest.raises(EvidenceOutdated) as found:
        tee.send(stolen)
    assert found.value.params["verdict"] == "nonce_unknown"
    made_up = msgspec.structs.replace(tee.nonce(), nonce=b64u(os.urandom(32)))
    with pytest.raises(EvidenceOutdated):
        tee.send(tee.ask({files["restore"]: [0, 1]}, nonce=made_up))


def test_a_device_keeps_no_more_than_sixteen_unused_nonces(shop, tee, files):
    first = tee.nonce()
    for _ in range(16):
        shop.clock.pass_(seconds=1)
        last = tee.nonce()
    with pytest.raises(EvidenceOutdated):
        tee.send(tee.ask({files["restore"]: [0, 1]}, nonce=first))
    tee.send(tee.ask({files["restore"]: [0, 1]}, nonce=last))


# -- races and results


def test_of_many_who_use_one_nonce_at_once_one_gets_an_answer(shop, tee, files):
    sent = tee.ask({files["restore"]: [0, 1]})
    evidence = tee.evidence(sent.transcript)
    other, outcomes = shop.reopen(), []
    ready = threading.Barrier(4)

    def use(server):
        ready.wait()
        try:
            tee.send(sent, evidence, server=server)
        except EvidenceOutdated as error:
            outcomes.append(error.params["verdict"])
        else:
            outcomes.append("ok")

    servers = [shop.server, other.server, shop.server, other.server]
    threads = [threading.Thread(target=use, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.server.close()
    assert sorted(outcomes) == ["nonce_used", "nonce_used", "nonce_used", "ok"]


def test_an_attestation_result_opens_nothing(shop, tee, makers, files):
    """A signed EAR of the very evidence, affirming, in place of evidence or of the request."""
    sent = tee.ask({files["restore"]: [0, 1]})
    evidence = tee.evidence(sent.transcript)[0]
    policy = policies.parse(policies.write(makers.rules()), builtin()).base
    result = appraise(
        Evidence("snp", tuple(evidence.parts)), sent.transcript.bound("snp"),
        Endorsements((*tee.beside, list_of(makers, shop.clock))), policy, shop.clock(),
    )  # fmt: skip
    assert result.affirming
    token = ear.issue(result, tee.key, "test")
    found = verdict(lambda: tee.send(sent, [EvidenceOfKind("snp", [token.encode()])]), shop)
    assert found == "evidence_malformed"
    with pytest.raises(NotFound):  # it names no device as its issuer
        tee.send(replace(tee.ask({files["restore"]: [0, 1]}), token=token))
