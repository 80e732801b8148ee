"""NVIDIA GPUs, with a maker of our own so that each field can be wrong."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from tests.attest.authorities import certificates as c
from tests.attest.authorities.nvidia import FWID, NONCE, Maker, Report, as_json
from tests.attest.judging import NOW, found, holds, judge, sample, verdict

from modelseal.attest.verify import nvidia_report
from modelseal.attest.verify.steps import Status, Step
from modelseal.types import Level

GOOD = Report()
REFERENCE = {f"measurement_{i:02}": (bytes([i]) * 48).hex() for i in range(1, 65)}
HOPPER = (
    sample("nvidia-gpu/hopperAttestationReport.txt"),
    sample("nvidia-gpu/hopper_cert_chain_case1.txt"),
)
BLACKWELL = sample("nvidia-gpu/blackwell-evidence.json")


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker()


def ask(maker, *parts, **given):
    given.setdefault("roots", [c.pem([maker.pin]).decode()])
    given.setdefault("expected", NONCE)
    given.setdefault("reference", REFERENCE)
    return judge("nvidia", *parts, **given)


def test_a_good_gpu_is_affirmed_and_alone_shows_no_level(maker):
    result = ask(maker, maker.sign(GOOD), c.pem(maker.chain))
    assert result.affirming and result.level is Level.L0
    assert result.claims["vbios_version"] == "96.00.9f.00.01"
    assert result.claims["identity"] == "41abcdef0123456789"


def test_nvidias_json_says_the_same(maker):
    assert ask(maker, as_json(maker.entry(GOOD))).affirming
    assert ask(maker, json.dumps(maker.entry(GOOD)).encode()).affirming
    listed = {"device_evidence_list": [maker.entry(GOOD)]}
    assert ask(maker, json.dumps(listed).encode()).affirming


def test_several_gpus_are_judged_together(maker):
    result = ask(maker, as_json(maker.entry(GOOD), maker.entry(GOOD)))
    assert result.affirming and len(result.claims["gpus"]) == 2


def test_one_bad_gpu_spoils_the_rest(maker):
    bad = GOOD.but(measurements={**GOOD.measurements, 9: b"\x99" * 48})
    result = ask(maker, as_json(maker.entry(GOOD), maker.entry(bad)))
    assert verdict(result) == (True, "measurement", "measurement_mismatch")


def test_gpus_that_answered_different_nonces_are_bound_to_nothing(maker):
    other = maker.entry(GOOD.but(nonce=b"\x01" * 32))
    result = ask(maker, as_json(maker.entry(GOOD), other))
    assert found(result, Step.BINDING)[0] == "gpu_nonces_differ"
    assert not result.affirming


def test_the_reports_length_follows_from_its_header(maker):
    assert ask(maker, maker.sign(GOOD) + bytes(500), c.pem(maker.chain)).affirming
    result = ask(maker, maker.sign(GOOD) + b"\x01", c.pem(maker.chain))
    assert verdict(result) == (False, "parse", "evidence_malformed")


@pytest.mark.parametrize(
    "broken",
    [
        GOOD.but(version=0x12),
        GOOD.but(request_code=0xE1),
        GOOD.but(response_code=0x61),
        GOOD.but(blocks=63),
        GOOD.but(measurements={}),
        GOOD.but(measurements={1: b"\x01" * 47}),
        GOOD.but(measurements={0: b"\x01" * 48}),
        GOOD.but(opaque=((3, b"1"), (3, b"2"))),
    ],
)
def test_a_report_of_another_shape_is_no_evidence(maker, broken):
    result = ask(maker, maker.sign(broken), c.pem(maker.chain))
    assert verdict(result) == (False, "parse", "evidence_malformed")


def test_a_report_that_another_chip_signed_is_not_genuine(maker):
    result = ask(maker, Maker().sign(GOOD), c.pem(maker.chain))
    assert verdict(result) == (False, "signature", "signature_invalid")


def test_the_shipped_root_knows_nothing_of_another_maker(maker):
    result = judge("nvidia", maker.sign(GOOD), c.pem(maker.chain), expected=NONCE)
    assert verdict(result) == (False, "chain", "chain_not_anchored")


def test_a_leaf_on_another_curve_signs_nothing(maker):
    plain = Maker()
    plain.root, plain.family, plain.chip = maker.root, maker.family, maker.chip
    plain.leaf = maker.leaf.but(key=c.p256())
    result = ask(maker, maker.sign(GOOD), c.pem(plain.chain))
    assert verdict(result) == (False, "signature", "signature_invalid")


def test_firmware_that_the_certificate_was_not_made_for_is_refused(maker):
    report = GOOD.but(opaque=((3, b"550"), (20, b"\x01" * 48)))
    result = ask(maker, maker.sign(report), c.pem(maker.chain))
    assert verdict(result) == (True, "platform", "gpu_firmware_id")
    assert FWID != b"\x01" * 48


@pytest.mark.parametrize("model", ["LS10 A01 FSP FMC LF", "GA100 A01", ""])
def test_another_chip_of_the_same_vendor_is_no_gpu_with_confidential_computing(model):
    maker = Maker(model)
    result = ask(maker, maker.sign(GOOD), c.pem(maker.chain))
    assert result.code == "gpu_architecture"


@pytest.mark.parametrize(
    "options", [{"driver_versions": ["560.1"]}, {"vbios_versions": ["97.00.00.00.00"]}]
)
def test_versions_that_the_policy_does_not_list_are_refused(maker, options):
    result = ask(maker, maker.sign(GOOD), c.pem(maker.chain), options=options)
    assert verdict(result) == (True, "platform", "gpu_version")


def test_listed_versions_are_affirmed(maker):
    options = {"driver_versions": ["550.90.07"], "vbios_versions": ["96.00.9F.00.01"]}
    assert ask(maker, maker.sign(GOOD), c.pem(maker.chain), options=options).affirming


def test_another_nonce_is_refused_and_another_length_too(maker):
    evidence = (maker.sign(GOOD), c.pem(maker.chain))
    assert ask(maker, *evidence, expected=b"\xff" * 32).code == "binding_mismatch"
    assert ask(maker, *evidence, expected=NONCE[:31]).code == "binding_length"


def test_a_nonce_beside_the_report_must_be_its_own(maker):
    entry = {**maker.entry(GOOD), "nonce": "00" * 32}
    assert verdict(ask(maker, as_json(entry))) == (False, "parse", "evidence_malformed")


def test_an_ended_chain_is_refused(maker):
    old = Maker()
    old.chip = old.chip.but(end=NOW - timedelta(days=5))
    result = ask(old, old.sign(GOOD), c.pem(old.chain))
    assert verdict(result) == (True, "freshness", "certificate_expired")


def test_without_reference_values_the_measurement_is_unknown(maker):
    result = ask(maker, maker.sign(GOOD), c.pem(maker.chain), reference=None)
    assert verdict(result) == (True, "measurement", "reference_missing")
    assert result.status is Status.NONE


@pytest.mark.parametrize("junk", [b"{}", b"[]", b"[1]", b'{"evidence": 1}', b"\x11", b"", b"{"])
def test_what_is_no_evidence_is_a_verdict(junk):
    assert verdict(judge("nvidia", junk)) == (False, "parse", "evidence_malformed")


@pytest.mark.parametrize(("parts", "nonce"), [(HOPPER, "931d8dd0"), ((BLACKWELL,), "cb86922a")])
def test_the_recorded_gpus_are_genuine_and_their_measurements_unknown(parts, nonce):
    result = judge("nvidia", *parts)
    assert result.genuine and result.status is Status.NONE
    assert all(holds(result, step) for step in (Step.CHAIN, Step.SIGNATURE, Step.PLATFORM))
    assert result.claims["nonce"].startswith(nonce)
    assert found(result, Step.REVOCATION) == ["revocation_unknown"]


def test_a_fresh_nonce_refuses_the_recorded_gpu():
    result = judge("nvidia", *HOPPER, expected=b"\x42" * 32)
    assert verdict(result) == (True, "binding", "binding_mismatch")


def test_the_recorded_measurements_are_those_of_the_vendors_reader():
    told = json.loads(sample("nvidia-gpu/hopperAttestationReport-claims.txt"))
    report = nvidia_report.read(bytes.fromhex(HOPPER[0].decode().strip()))
    assert {str(i): v.hex() for i, v in report.measurements.items()} == told["measurements"]
    shown = report.claims()
    for name in ("driver_version", "vbios_version", "chip_sku", "project", "board_id", "fwid"):
        assert shown[name] == told["config"][name], name
    counts = {str(i + 1): n for i, n in enumerate(shown["measurement_counts"])}
    assert counts == told["config"]["measurement_count"]
