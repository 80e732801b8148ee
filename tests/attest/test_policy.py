"""Policies are data: strict where silent, refused where odd."""

from __future__ import annotations

import json

import pytest
from tests.attest.authorities import certificates as c

from modelseal.attest.verify.policy import TYP, parse, strict, write
from modelseal.attest.verify.registry import builtin
from modelseal.attest.verify.steps import Step
from modelseal.errors import AppraisalPolicyInvalid, Misuse

KINDS = builtin()
WHOLE = {
    "name": "our machines",
    "kinds": ["snp", "tdx"],
    "accept_unknown": ["revocation"],
    "reference": {"snp": [{"measurement": ["AA", "bb"]}], "tdx": [{"mr_td": "cc", "rtmr3": "dd"}]},
    "chips": ["AB"],
    "owners": ["aws"],
    "composite": [["snp", "tdx"], ["nvidia"]],
    "max_lease_seconds": 3600,
    "snp": {"minimum_tcb": {"snp": 20}, "vmpl": [0, 1]},
}


def test_the_shipped_policy_demands_every_step():
    policy = strict()
    assert policy.accept_unknown == frozenset() and policy.reference == {}
    assert policy.kinds is None and policy.roots == {} and len(policy.digest) == 32
    assert parse(write({}), KINDS).base.digest == policy.digest


def test_everything_a_policy_says_is_read():
    policy = parse(write(WHOLE), KINDS).base
    assert policy.kinds == {"snp", "tdx"} and policy.accept_unknown == {Step.REVOCATION}
    assert policy.reference["snp"] == ({"measurement": ("aa", "bb")},)
    assert policy.chips == {"ab"} and policy.owners == {"aws"}
    assert policy.composite == ({"snp", "tdx"}, {"nvidia"}) and policy.max_lease_seconds == 3600
    options = policy.options_of(KINDS["snp"])
    assert options["minimum_tcb"] == {"snp": 20} and options["allow_debug"] is False


def test_toml_says_the_same_and_has_its_own_digest():
    toml = b"""
typ = "modelseal-appraisal-policy"
version = 1
kinds = ["snp"]
[snp.minimum_tcb]
snp = 20
[[reference.snp]]
measurement = ["aa"]
"""
    same = {"kinds": ["snp"], "snp": {"minimum_tcb": {"snp": 20}}}
    same["reference"] = {"snp": [{"measurement": ["aa"]}]}
    assert parse(toml, KINDS).base == parse(write(same), KINDS).base


def test_an_entitlement_replaces_single_rules_and_keeps_the_others():
    rules = {**WHOLE, "entitlements": {"face.swap": {"max_lease_seconds": 60, "kinds": ["snp"]}}}
    file = parse(write(rules), KINDS)
    mine = file.for_entitlement("face.swap")
    assert mine.max_lease_seconds == 60 and mine.kinds == {"snp"} and mine.chips == {"ab"}
    assert file.for_entitlement("face.restore") is file.base is file.for_entitlement(None)
    assert mine.digest != file.base.digest


def test_a_root_in_a_policy_replaces_the_shipped_ones():
    pem = c.pem([c.issue(*[c.Plan({c.COMMON_NAME: "ours"}, c.p384(), c.CA)] * 2)]).decode()
    policy = parse(write({"roots": {"snp": [pem]}}), KINDS).base
    assert len(policy.roots["snp"]) == 1 and policy.roots["snp"][0][:1] == b"\x30"


@pytest.mark.parametrize(
    ("rules", "member"),
    [
        ({"kindz": ["snp"]}, "kindz"),
        ({"kinds": []}, "kinds"),
        ({"kinds": ["oven"]}, "kinds"),
        ({"kinds": "snp"}, "kinds"),
        ({"name": 1}, "name"),
        ({"accept_unknown": ["binding"]}, "accept_unknown"),
        ({"accept_unknown": ["signature"]}, "accept_unknown"),
        ({"accept_unknown": ["platform"]}, "accept_unknown"),
        ({"reference": []}, "reference"),
        ({"reference": {"oven": [{"a": "00"}]}}, "reference"),
        ({"reference": {"snp": []}}, "reference.snp"),
        ({"reference": {"snp": [{}]}}, "reference.snp"),
        ({"reference": {"snp": [{"measurment": "00"}]}}, "reference.snp"),
        ({"reference": {"snp": [{"measurement": []}]}}, "reference.snp"),
        ({"reference": {"snp": [{"measurement": "0"}]}}, "reference.snp.measurement"),
        ({"reference": {"snp": [{"measurement": "xx"}]}}, "reference.snp.measurement"),
        ({"chips": []}, "chips"),
        ({"chips": ["zz"]}, "chips"),
        ({"owners": [1]}, "owners"),
        ({"composite": []}, "composite"),
        ({"composite": [[]]}, "composite"),
        ({"composite": [["oven"]]}, "composite"),
        ({"max_lease_seconds": 0}, "max_lease_seconds"),
        ({"max_lease_seconds": True}, "max_lease_seconds"),
        ({"max_lease_seconds": 10**9}, "max_lease_seconds"),
        ({"roots": []}, "roots"),
        ({"roots": {"snp": []}}, "roots.snp"),
        ({"roots": {"snp": ["-----BEGIN CERTIFICATE-----"]}}, "roots.snp"),
        ({"snp": []}, "snp"),
        ({"snp": {"alow_debug": True}}, "snp.alow_debug"),
        ({"snp": {"allow_debug": "no"}}, "snp.allow_debug"),
        ({"snp": {"allow_debug": 0}}, "snp.allow_debug"),
        ({"snp": {"vmpl": [7]}}, "snp.vmpl"),
        ({"snp": {"vmpl": 0}}, "snp.vmpl"),
        ({"snp": {"minimum_tcb": {"bios": 1}}}, "snp.minimum_tcb"),
        ({"snp": {"minimum_tcb": {"snp": -1}}}, "snp.minimum_tcb"),
        ({"snp": {"minimum_tcb": {"snp": True}}}, "snp.minimum_tcb"),
        ({"tdx": {"tcb_statuses": ["Revoked"]}}, "tdx.tcb_statuses"),
        ({"tdx": {"minimum_tcb_evaluation": -1}}, "tdx.minimum_tcb_evaluation"),
        ({"entitlements": []}, "entitlements"),
        ({"entitlements": {"a": []}}, "entitlements"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_odd_rule_is_refused_by_its_name(rules, member):
    with pytest.raises(AppraisalPolicyInvalid) as refused:
        parse(write(rules), KINDS)
    assert refused.value.params["member"] == member and member in refused.value.reason


def test_an_odd_rule_of_an_entitlement_is_refused_too():
    for entitlements in ({"face.swap": {"kindz": []}}, {"face.swap": {"entitlements": {}}}):
        with pytest.raises(AppraisalPolicyInvalid):
            parse(write({"entitlements": entitlements}), KINDS)
    with pytest.raises(Misuse):
        parse(write({"entitlements": {"Face Swap": {}}}), KINDS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"a = ",
        b'{"typ": "x", "version": 1}',
        json.dumps({"typ": TYP, "version": 2}).encode(),
        json.dumps({"typ": TYP, "version": 1, "a": 1.5}).encode(),
        b'{"typ": "%s", "version": 1, "kinds": ["snp"], "kinds": ["tdx"]}' % TYP.encode(),
        b'typ = "%s"\nversion = 1\na = 1979-05-27T07:32:00Z' % TYP.encode(),
        b'typ = "%s"\nversion = 1\na = 1.5' % TYP.encode(),
        b" " * ((4 << 20) + 1),
    ],
    ids=range(12),
)
def test_what_is_no_policy_is_refused(data):
    with pytest.raises(AppraisalPolicyInvalid):
        parse(data, KINDS)
