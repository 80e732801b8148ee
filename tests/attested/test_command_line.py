"""``attest appraise --also``, ``policy use`` and ``prove`` as an operator types them."""

from __future__ import annotations

import json

import pytest
from tests.attest.authorities import nvidia as gpus
from tests.attest.authorities import snp
from tests.attest.authorities.crls import crl
from tests.attest.judging import NOW
from tests.attested.machines import Makers
from tests.client.real_shop import running

from modelseal.cli import main
from modelseal.client import Client

BOUND = bytes(range(64))
NONCE = bytes(range(32))


@pytest.fixture(scope="module")
def makers():
    return Makers()


@pytest.fixture
def evidence(tmp_path, makers):
    """A processor's report with what endorses it, a GPU's report, and a policy for both."""
    (tmp_path / "snp.bin").write_bytes(makers.amd.sign(snp.Report().but(report_data=BOUND)))
    (tmp_path / "vcek.der").write_bytes(makers.amd.certificate())
    (tmp_path / "ask.der").write_bytes(makers.amd.intermediate)
    (tmp_path / "ark.crl").write_bytes(crl(makers.amd.ark, NOW))
    entry = makers.gpu.entry(gpus.Report().but(nonce=NONCE))
    (tmp_path / "gpus.json").write_bytes(gpus.as_json(entry))
    rules = makers.rules(composite=[["snp"], ["nvidia"]])
    whole = {"typ": "modelseal-appraisal-policy", "version": 1, **rules}
    (tmp_path / "policy.json").write_text(json.dumps(whole), encoding="utf-8")
    return tmp_path


def run(capsys, *words):
    code = main(["attest", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def appraise(capsys, folder, *words):
    beside = [w for n in ("vcek.der", "ask.der", "ark.crl") for w in ("--endorsements", folder / n)]
    return run(
        capsys, "appraise", folder / "snp.bin", "--kind", "snp", *beside,
        "--policy", folder / "policy.json", "--now", NOW.isoformat(), *words,
    )  # fmt: skip


def test_a_composite_rule_is_judged_over_evidence_of_two_kinds(capsys, evidence):
    both = ["--report-data", BOUND.hex(), "--report-data", f"nvidia={NONCE.hex()}"]
    code, told = appraise(capsys, evidence, "--also", f"nvidia={evidence / 'gpus.json'}", *both)
    assert (code, told["code"]) == (0, "ok")
    assert set(told["claims"]) == {"snp", "nvidia"}
    assert list(told) == ["genuine", "status", "step", "code", "reason", "claims"]
    code, told = appraise(capsys, evidence, "--report-data", BOUND.hex())
    assert (code, told["step"], told["code"]) == (6, "composite", "composite_missing")
    code, told = appraise(
        capsys, evidence, "--also", f"nvidia={evidence / 'gpus.json'}", *both[:2],
        "--report-data", f"nvidia={BOUND[:32][::-1].hex()}",
    )  # fmt: skip
    assert (code, told["code"]) == (6, "binding_mismatch")


@pytest.mark.parametrize(
    "words",
    [
        ["--also", "gpus.json"], ["--also", "gpu=gpus.json"], ["--also", "snp=snp.bin"],
        ["--report-data", "00", "--report-data", "snp=00"], ["--report-data", "nvidia=xy"],
    ],
    ids=str,
)  # fmt: skip
def test_a_composite_question_that_makes_no_sense_ends_with_2(capsys, evidence, words):
    code, told = appraise(capsys, evidence, *words)
    assert (code, told["code"]) == (2, "misuse")


def test_a_policy_with_a_fault_never_becomes_the_servers_and_proving_says_what_is_missing(
    capsys, evidence, tmp_path
):
    (tmp_path / "shop").mkdir()
    with running(tmp_path / "shop") as shop:
        home = shop.server.home
        code, told = run(capsys, "policy", "use", evidence / "policy.json", "--home", home)
        assert code == 0 and told["path"] == str(home / "server" / "attestation-policy.json")
        (evidence / "bent.json").write_text('{"typ": "modelseal-appraisal-policy"}')
        code, told = run(capsys, "policy", "use", evidence / "bent.json", "--home", home)
        assert (code, told["code"]) == (2, "appraisal_policy_invalid")
        kept = (home / "server" / "attestation-policy.json").read_bytes()
        assert kept == (evidence / "policy.json").read_bytes()
        state = tmp_path / "state"
        with Client(
            state=state, server=shop.server.url, trust=home / "trust.json", background=False
        ) as client:
            client.activate(shop.issue()[0])
        capsys.readouterr()
        words = [shop.sealed["swap.onnx"], "--state", state, "--level", "L5", "--by", "software"]
        code, told = run(capsys, "prove", *words)
        assert (code, told["code"]) == (6, "level_not_reached")
