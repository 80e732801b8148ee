"""``modelseal attest`` as an operator types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import modelseal.attest
from modelseal.cli import main

SAMPLES = Path(modelseal.attest.__file__).parent / "samples"
NITRO = str(SAMPLES / "nitro/aws_nitro_document.cbor")
REPORT, VCEK = (str(SAMPLES / "sev-snp" / name) for name in ("milan-report.bin", "milan-vcek.der"))
QUOTE = str(SAMPLES / "sgx-tdx-dcap/sgx_quote")
COLLATERAL = QUOTE + "_collateral.json"
AT = "2025-07-04T10:28:44Z"
MEMBERS = ["genuine", "status", "step", "code", "reason", "claims"]


def run(capsys, *words: str) -> tuple[int, dict]:
    code = main(["attest", *words, "--json"])
    out = capsys.readouterr()
    return code, json.loads(out.out)


def appraise(capsys, *words: str) -> tuple[int, dict]:
    return run(capsys, "appraise", *words)


def test_genuine_evidence_that_is_not_acceptable_ends_with_6(capsys):
    code, told = appraise(capsys, QUOTE, "--kind", "sgx", "--endorsements", COLLATERAL, "--now", AT)
    assert code == 6 and list(told) == MEMBERS
    assert told["genuine"] is True and told["status"] == "warning"
    assert (told["step"], told["code"]) == ("platform", "tcb_status")
    assert "INTEL-SA-00615" in told["reason"]
    assert told["claims"]["tcb_status"] == "ConfigurationAndSWHardeningNeeded"


def test_evidence_that_is_not_genuine_ends_with_4(capsys, tmp_path):
    bent = bytearray(Path(QUOTE).read_bytes())
    bent[100] ^= 1
    (tmp_path / "bent").write_bytes(bent)
    code, told = appraise(capsys, str(tmp_path / "bent"), "--kind", "sgx", "--now", AT)
    assert code == 4 and told["genuine"] is False and told["code"] == "signature_invalid"
    (tmp_path / "empty").write_bytes(b"")
    code, told = appraise(capsys, str(tmp_path / "empty"), "--kind", "snp")
    assert code == 4 and (told["step"], told["genuine"]) == ("parse", False)


def test_a_golden_machine_makes_the_policy_under_which_it_is_affirmed(capsys, tmp_path):
    policy = str(tmp_path / "fleet.json")
    given = ["--kind", "snp", "--endorsements", VCEK]
    code, told = run(
        capsys, "reference", "add", "--from", REPORT, *given, "--policy", policy,
        "--accept-unknown", "revocation",
    )  # fmt: skip
    assert code == 0 and told["rules"]["snp"]["minimum_tcb"]["microcode"] == 115
    data = Path(REPORT).read_bytes()[0x50:0x90].hex()
    words = [REPORT, *given, "--policy", policy, "--now", AT]
    code, told = appraise(capsys, *words, "--report-data", data)
    assert code == 0 and (told["status"], told["code"]) == ("affirming", "ok")
    code, told = appraise(capsys, *words)
    assert code == 6 and told["code"] == "binding_not_asked"
    code, told = appraise(capsys, *words, "--report-data", data[:64])
    assert code == 6 and told["code"] == "binding_length"


def test_a_second_golden_machine_widens_the_policy(capsys, tmp_path):
    policy = str(tmp_path / "fleet.json")
    for report, key in (("milan-report.bin", "milan-vcek.der"), ("vlek-report.bin", "vlek.der")):
        words = ["--from", str(SAMPLES / "sev-snp" / report), "--kind", "snp", "--endorsements"]
        code, told = run(capsys, "reference", "add", *words, str(SAMPLES / "sev-snp" / key),
                         "--policy", policy)  # fmt: skip
        assert code == 0
    assert len(told["rules"]["reference"]["snp"]) == 2
    assert told["rules"]["snp"]["vmpl"] == [0, 1]
    assert told["rules"]["snp"]["minimum_tcb"] == {
        "bootloader": 3, "tee": 0, "snp": 8, "microcode": 115,
    }  # fmt: skip


def test_a_forgery_sets_no_standard(capsys, tmp_path):
    policy = tmp_path / "fleet.json"
    wrong = str(SAMPLES / "sev-snp/milan-vcek-INVALID-new.der")
    words = ["--from", REPORT, "--kind", "snp", "--endorsements", wrong, "--policy", str(policy)]
    code, told = run(capsys, "reference", "add", *words)
    assert code == 4 and told["code"] == "evidence_invalid" and not policy.exists()


def test_policy_test_shows_who_would_be_refused(capsys, tmp_path):
    policy = str(tmp_path / "fleet.json")
    given = ["--kind", "snp", "--endorsements", VCEK]
    run(capsys, "reference", "add", "--from", REPORT, *given, "--policy", policy,
        "--accept-unknown", "revocation")  # fmt: skip
    folder = tmp_path / "other"
    folder.mkdir()
    for name in ("vlek-report.bin", "vlek.der"):
        (folder / name).write_bytes((SAMPLES / "sev-snp" / name).read_bytes())
    code, told = run(capsys, "policy", "test", policy, REPORT, str(folder), *given, "--now", AT)
    assert code == 0 and (told["accepted"], told["refused"]) == (1, 1)
    assert [machine["accepted"] for machine in told["machines"]] == [True, False]


def test_the_record_names_every_finding_and_input(capsys, tmp_path):
    record = tmp_path / "record.json"
    words = [NITRO, "--kind", "nitro", "--now", "2022-11-09T23:00:00Z", "--record", str(record)]
    code, _ = appraise(capsys, *words)
    found = json.loads(record.read_text())
    assert code == 6 and set(found["digests"]) == {"evidence", "endorsements", "policy"}
    steps = [finding["step"] for finding in found["submodules"]["nitro"]["findings"]]
    assert {"parse", "chain", "signature", "binding", "measurement"} <= set(steps)


def test_a_key_typed_on_the_line_counts_as_the_operators(capsys):
    token, key = (
        str(SAMPLES / "arm-cca-psa" / n) for n in ("psa-evidence.cbor", "iak-p256-pub.json")
    )
    code, told = appraise(capsys, token, "--kind", "psa")
    assert code == 4 and told["step"] == "chain"
    code, told = appraise(capsys, token, "--kind", "psa", "--endorsements", key)
    assert code == 6 and told["genuine"] is True


def test_the_selftest_passes_on_this_installation(capsys):
    code, told = run(capsys, "selftest")
    assert code == 0 and told["wrong"] == 0 and told["samples"] == len(told["rows"]) > 40
    assert {row["kind"] for row in told["rows"]} >= {"sgx", "tdx", "snp", "nitro", "azure-vtpm"}


@pytest.mark.parametrize(
    "words",
    [
        [NITRO, "--kind", "oven"],
        [NITRO, "--kind", "nitro", "--report-data", "xyz"],
        [NITRO, "--kind", "nitro", "--now", "yesterday"],
        [NITRO, "--kind", "nitro", "--now", "2022-11-09T23:00:00"],
        [NITRO, "--kind", "nitro", "--entitlement", "face.swap"],
        [NITRO + ".gone", "--kind", "nitro"],
        [NITRO, "--kind", "nitro", "--policy", NITRO],
        [NITRO],
    ],
    ids=range(8),
)
def test_a_question_that_makes_no_sense_ends_with_2(capsys, words):
    code, told = appraise(capsys, *words)
    assert code == 2 and set(told) >= {"code", "message", "next_step"}


def test_people_read_steps_and_what_to_do(capsys):
    code = main(["attest", "appraise", REPORT, "--kind", "snp", "--endorsements", VCEK])
    out = capsys.readouterr().out
    assert code == 6 and "minimum TCB" in out and "reported_tcb" in out
    assert main(["attest", "selftest"]) == 0
    assert "Nitro" in capsys.readouterr().out
    assert main(["attest", "reference", "add", "--from", REPORT, "--kind", "snp",
                 "--endorsements", VCEK]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["typ"] == "modelseal-appraisal-policy"
