"""What holds for every evidence kind: steps, statuses, composites, results that can be redone."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.attest.judging import NOW

from modelseal.attest import selftest
from modelseal.attest.verify import (
    Case,
    Endorsements,
    Evidence,
    Kind,
    Ledger,
    NotGenuine,
    Status,
    Step,
    appraise,
    ear,
    strict,
)
from modelseal.attest.verify import policy as policies
from modelseal.attest.verify.registry import builtin
from modelseal.crypto.signing import SigningKey
from modelseal.errors import EvidenceInvalid, Misuse, ModelsealError, TokenClaims, TokenType
from modelseal.license import jws
from modelseal.texts import en, said, use_language, zh_cn
from modelseal.types import Level

JUDGED = [step for step in Step if step not in (Step.BINDING, Step.MEASUREMENT, Step.COMPOSITE)]


def good(case: Case, ledger: Ledger) -> None:
    for step in JUDGED:
        ledger.ok(step)
    ledger.bound["nonce"] = case.parts[0]
    ledger.measured["image"] = "aa"
    ledger.chip, ledger.owner = "01", "us"


def kind(judge=good, name="own", level=Level.L4, **more: Any) -> Kind:
    return Kind(name=name, level=level, judge=judge, reference=("image",), **more)


def ask(kinds, *evidences, rules=None, expected=b"question"):
    known = {one.name: one for one in kinds}
    said = {"reference": {name: [{"image": "aa"}] for name in known}, **(rules or {})}
    policy = policies.parse(policies.write(said), known).base
    given = tuple(Evidence(name, (b"question",)) for name in evidences or ("own",))
    return appraise(given, expected, Endorsements(), policy, NOW, kinds=known)


def test_all_steps_affirmed_is_affirming_at_the_kinds_level():
    result = ask([kind()])
    assert result.genuine and result.affirming and result.level is Level.L4
    assert (result.code, result.step) == ("ok", Step.COMPOSITE)


@pytest.mark.parametrize("step", JUDGED)
def test_a_step_of_which_nothing_was_said_is_unknown_and_never_affirming(step):
    def silent(case, ledger):
        good(case, ledger)
        ledger.findings = [finding for finding in ledger.findings if finding.step is not step]

    result = ask([kind(silent)])
    assert result.genuine and not result.affirming and result.level is Level.L0
    assert (result.status, result.step, result.code) == (Status.NONE, step, "step_not_judged")


@pytest.mark.parametrize("step", JUDGED)
def test_the_heaviest_finding_decides_and_of_equals_the_earliest_step(step):
    def mixed(case, ledger):
        good(case, ledger)
        ledger.unknown(Step.PARSE, "unknown")
        ledger.refuse(step, "refused")
        ledger.refuse(Step.PLATFORM, "also")
        ledger.warn(Step.PARSE, "warned")

    result = ask([kind(mixed)])
    assert (result.status, result.step, result.code) == (Status.CONTRAINDICATED, step, "refused")


def test_a_warning_outweighs_what_is_unknown():
    def warned(case, ledger):
        good(case, ledger)
        ledger.unknown(Step.CHAIN, "unknown")
        ledger.warn(Step.PLATFORM, "warned")

    assert ask([kind(warned)]).status is Status.WARNING


@pytest.mark.parametrize("error", [EvidenceInvalid("odd"), ValueError(), RecursionError()])
def test_a_kind_that_fails_on_hostile_bytes_fails_closed(error):
    def failing(_case, _ledger):
        raise error

    result = ask([kind(failing)])
    assert not result.genuine and result.status is Status.CONTRAINDICATED
    assert result.step is Step.PARSE


def test_what_a_policy_lets_stay_unknown_is_waived_and_what_is_refused_never_is():
    def listless(case, ledger):
        good(case, ledger)
        ledger.findings = [f for f in ledger.findings if f.step is not Step.REVOCATION]
        ledger.unknown(Step.REVOCATION, "revocation_unknown", issuer="x")

    waive = {"accept_unknown": ["revocation"]}
    assert ask([kind(listless)], rules=waive).affirming
    assert not ask([kind(listless)]).affirming

    def refused(case, ledger):
        listless(case, ledger)
        ledger.refuse(Step.REVOCATION, "bad")

    assert not ask([kind(refused)], rules=waive).affirming


def test_a_missing_policy_binding_or_reference_fails_closed():
    known = {"own": kind()}
    evidence = Evidence("own", (b"question",))
    result = appraise(evidence, b"question", Endorsements(), strict(), NOW, kinds=known)
    assert (result.step, result.code) == (Step.MEASUREMENT, "reference_missing")
    assert ask([kind()], expected=None).code == "binding_not_asked"
    both = [kind(), kind(name="gpu")]
    assert ask(both, "own", rules={"kinds": ["gpu"]}).code == "kind_not_allowed"


def test_a_composite_needs_one_of_each_group():
    both = [kind(), kind(name="gpu", level=Level.L5)]
    rules = {"composite": [["own"], ["gpu"]]}
    together = ask(both, "own", "gpu", rules=rules)
    assert together.affirming and together.level is Level.L5 and together.names == ("own", "gpu")
    alone = ask(both, "own", rules=rules)
    assert (alone.status, alone.code) == (Status.CONTRAINDICATED, "composite_missing")
    assert ask(both, "gpu").level is Level.L0  # a GPU alone protects no memory of the host


def test_one_bad_part_of_a_composite_spoils_it():
    def forged(_case, _ledger):
        raise NotGenuine(Step.SIGNATURE, "signature_invalid", detail="x")

    result = ask([kind(), kind(forged, name="gpu", level=Level.L5)], "own", "gpu")
    assert not result.genuine and result.code == "signature_invalid" and result.level is Level.L0
    assert [one.genuine for one in result.submodules] == [True, False]


def test_each_kind_of_a_composite_can_have_its_own_question():
    both = [kind(), kind(name="gpu")]
    assert ask(both, "own", "gpu", expected={"own": b"question", "gpu": b"question"}).affirming
    half = ask(both, "own", "gpu", expected={"own": b"question"})
    assert half.code == "binding_not_asked"


def test_two_of_one_kind_are_told_apart():
    assert ask([kind()], "own", "own").names == ("own", "own-2")


def test_the_caller_cannot_replace_a_built_in_kind():
    fake = {"snp": kind(name="snp")}
    evidence = Evidence("snp", (b"question",))
    result = appraise(evidence, b"question", Endorsements(), strict(), NOW, kinds=fake)
    assert not result.genuine and result.step is Step.PARSE


@pytest.mark.parametrize(
    ("evidence", "now"),
    [
        ((), NOW),
        (Evidence("own", ()), NOW),
        (Evidence("other", (b"x",)), NOW),
        (Evidence("own", (b"x",)), datetime(2025, 1, 1)),
        (tuple([Evidence("own", (b"x",))] * 17), NOW),
    ],
)
def test_a_question_that_makes_no_sense_is_misuse(evidence, now):
    with pytest.raises(Misuse):
        appraise(evidence, None, Endorsements(), strict(), now, kinds={"own": kind()})


def test_too_many_files_are_refused_before_they_are_read():
    evidence = Evidence("nitro", (b"x",) * 257)
    result = appraise(evidence, None, Endorsements(), strict(), NOW)
    assert result.code == "evidence_malformed" and "256" in result.reason


@pytest.mark.parametrize("case", selftest.cases(), ids=lambda case: case.name)
def test_every_recorded_sample_has_its_verdict_at_its_own_time(case):
    result = case.judge()
    known = case.known
    assert result.genuine is known["genuine"]
    assert (result.status, result.step, result.code) == (
        known["status"],
        known["step"],
        known["code"],
    )
    assert result.reason
    assert result.level is (builtin()[case.kind].level if result.affirming else Level.L0)


def test_a_verdict_can_be_come_to_again_from_the_named_inputs():
    for case in selftest.cases()[::5]:
        first, again = case.judge(), case.judge()
        assert first.digest == again.digest and first.record() == again.record()
        assert len({first.evidence_digest, first.policy_digest, first.endorsements_digest}) == 3


def test_the_digests_name_their_inputs_whatever_the_order_of_endorsements():
    a, b = Endorsements((b"1", b"2")), Endorsements((b"2", b"1"))
    assert a.digest == b.digest != Endorsements((b"12",)).digest
    assert Evidence("a", (b"1", b"2")).digest != Evidence("a", (b"12",)).digest
    assert Evidence("a", (b"1",)).digest != Evidence("b", (b"1",)).digest


def known(key):
    """The keys of a verifier that has just this one."""
    return lambda kid, at: [key.verify_key()]


def test_an_ear_is_read_back_with_its_key_and_no_other():
    key = SigningKey.generate()
    for case in selftest.cases()[::7]:
        result = case.judge()
        token = ear.issue(result, key, "modelseal test")
        found = ear.read(token, known(key))
        assert found["eat_profile"] == ear.PROFILE == "tag:ietf.org,2026:rats/ear#04"
        assert found["iat"] == int(result.now.timestamp())
        assert found["modelseal"]["digest"] == result.digest.hex()
        one = found["submods"][case.kind]
        assert one["ear_status"] == result.submodules[0].status
        assert set(one["ear_trustworthiness_vector"].values()) <= set(range(128))
        with pytest.raises(ModelsealError):
            ear.read(token, known(SigningKey.generate()))


def test_an_ear_of_another_type_or_profile_is_refused():
    key = SigningKey.generate()
    body = {"eat_profile": ear.PROFILE, "iat": 0, "submods": {}, "modelseal": {}}
    with pytest.raises(TokenType):
        ear.read(jws.build("lease+jwt", body, [key]), known(key))
    untimed = [{**body, "iat": at} for at in (None, -1, 1 << 60, True, "0")]
    bare = [{**body, name: None} for name in ("submods", "modelseal")]
    for bent in ({**body, "eat_profile": "tag:x"}, *bare, *untimed):
        with pytest.raises(TokenClaims):
            ear.read(jws.build(ear.TYP, bent, [key]), known(key))


def test_the_vector_says_what_the_steps_found():
    named = {case.name: case for case in selftest.cases()}
    vector = lambda name: ear.vector(named[name].judge().submodules[0])  # noqa: E731
    fine = vector("SGX quote, its status allowed")
    assert fine == {
        "instance-identity": 2,
        "configuration": 2,
        "executables": 3,
        "hardware": 2,
        "runtime-opaque": 2,
    }
    assert vector("SGX quote, strict policy")["hardware"] == 32
    assert vector("SEV-SNP on Milan, newer firmware demanded")["hardware"] == 96
    assert vector("SEV-SNP on Milan under Genoa's chain")["instance-identity"] == 97
    assert vector("SEV-SNP on Milan under a VLEK")["instance-identity"] == 99


def test_every_code_has_its_sentence_in_both_languages():
    codes = {case.judge().code for case in selftest.cases()}
    assert {f"attest_{code}" for code in codes} <= set(en.SAID) & set(zh_cn.SAID)


def test_a_strangers_code_is_told_as_it_stands():
    def odd(case, ledger):
        good(case, ledger)
        ledger.refuse(Step.PLATFORM, "oven_too_hot", detail="200 degrees")

    assert ask([kind(odd)]).reason == "oven_too_hot: 200 degrees."


def test_a_reason_is_in_the_language_of_the_door():
    case = next(c for c in selftest.cases() if c.name == "SGX quote, strict policy")
    use_language("zh-CN")
    try:
        assert "INTEL-SA-00615" in case.judge().reason and "缺少" in case.judge().reason
    finally:
        use_language("en")
    assert said("attest_ok") == "Genuine and acceptable."


def test_the_room_opens_no_socket_and_reads_no_clock():
    """In a process whose clock and sockets bite. What the room imports, import-linter holds."""
    code = """
from modelseal.attest.verify.registry import builtin
builtin()
import socket, time
def bite(*a, **k): raise AssertionError("touched")
socket.socket = socket.create_connection = socket.getaddrinfo = bite
from modelseal.attest import selftest
cases = [c for c in selftest.cases()]
for name in ("time", "monotonic", "time_ns", "sleep"): setattr(time, name, bite)
for case in cases:
    result = case.judge()
    assert result.code == case.known["code"], case.name
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-800:]


def test_times_are_utc_wherever_the_caller_lives():
    case = selftest.cases()[1]
    assert case.judge().now.tzinfo is UTC
