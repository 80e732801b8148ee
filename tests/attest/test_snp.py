"""SEV-SNP, with a maker of chips of our own so that each field can be wrong."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.attest.authorities import certificates as c
from tests.attest.authorities.crls import crl
from tests.attest.authorities.snp import (
    CHIP_ID,
    CSP,
    MEASUREMENT,
    REPORT_DATA,
    TCB,
    Amd,
    Endorsed,
    Report,
)
from tests.attest.judging import NOW, found, holds, judge, sample, verdict

from modelseal.attest.verify import snp_json
from modelseal.attest.verify.steps import Status, Step
from modelseal.types import Level

GOOD, KEY = Report(), Endorsed()
REFERENCE = {"measurement": MEASUREMENT.hex()}
OPTIONS = {"minimum_tcb": TCB}


@pytest.fixture(scope="module")
def amd() -> Amd:
    return Amd()


def ask(amd, report, *certificates, lists=None, options=OPTIONS, **given):
    given.setdefault("roots", [amd.pin])
    given.setdefault("expected", REPORT_DATA)
    given.setdefault("reference", REFERENCE)
    beside = [*(certificates or [amd.certificate()]), amd.intermediate]
    beside += [crl(amd.ark, NOW)] if lists is None else lists
    raw = report if isinstance(report, bytes) else amd.sign(report)
    given.setdefault("endorsements", beside)
    return judge("snp", raw, options=options, **given)


def test_a_good_machine_is_affirmed_at_level_four(amd):
    result = ask(amd, GOOD)
    assert result.affirming and result.level is Level.L4
    assert result.claims["reported_tcb"] == TCB and result.claims["product"] == "Milan"


def test_nothing_of_it_is_affirmed_under_the_shipped_roots(amd):
    assert verdict(ask(amd, GOOD, roots=()))[::2] == (False, "chain_not_anchored")


@pytest.mark.parametrize("encode", [bytes.hex, base64.b64encode, base64.urlsafe_b64encode])
def test_the_report_may_come_as_text(amd, encode):
    text = encode(amd.sign(GOOD))
    assert ask(amd, text.encode() if isinstance(text, str) else text).affirming


def test_the_report_may_come_in_the_firmwares_answer_padded_or_in_json(amd):
    raw = amd.sign(GOOD)
    assert ask(amd, bytes(4) + (1184).to_bytes(4, "little") + bytes(24) + raw).affirming
    assert ask(amd, raw + bytes(4000 - len(raw))).affirming
    assert ask(amd, json.dumps({"report": base64.b64encode(raw).decode()}).encode()).affirming
    assert ask(amd, json.dumps({"attestation_report": list(raw)}).encode()).affirming


def taken_apart(raw, turin=False):
    """A report as the ``sev`` crate's struct is written in JSON."""

    def tcb(at):
        part = raw[at : at + 8]
        if turin:
            names = dict(zip(("fmc", "bootloader", "tee", "snp"), part, strict=False))
            return {**names, "microcode": part[7]}
        return {"bootloader": part[0], "tee": part[1], "snp": part[6], "microcode": part[7]}

    def number(at, size):
        return int.from_bytes(raw[at : at + size], "little")

    members = {"version": number(0, 4), "guest_svn": number(4, 4), "policy": number(8, 8)}
    members |= {"vmpl": number(0x30, 4), "sig_algo": number(0x34, 4), "plat_info": number(0x40, 8)}
    members |= {"key_info": number(0x48, 4), "cpuid_fam_id": raw[0x188] or None}
    members |= {"cpuid_mod_id": raw[0x189], "cpuid_step": raw[0x18A]}
    for name, at, size in (
        ("family_id", 0x10, 16),
        ("image_id", 0x20, 16),
        ("report_data", 0x50, 64),
        ("measurement", 0x90, 48),
        ("host_data", 0xC0, 32),
        ("id_key_digest", 0xE0, 48),
        ("author_key_digest", 0x110, 48),
        ("report_id", 0x140, 32),
        ("report_id_ma", 0x160, 32),
        ("chip_id", 0x1A0, 64),
    ):
        members[name] = list(raw[at : at + size])
    for name, at in (("current", 0x38), ("reported", 0x180), ("committed", 0x1E0)):
        members[f"{name}_tcb"] = tcb(at)
    members["launch_tcb"] = tcb(0x1F0)
    for name, at in (("current", 0x1E8), ("committed", 0x1EC)):
        members[name] = dict(zip(("build", "minor", "major"), raw[at : at + 3], strict=True))
    members["signature"] = {"r": list(raw[0x2A0:0x2E8]), "s": list(raw[0x2E8:0x330])}
    return members


def test_a_report_taken_apart_into_json_is_put_together_again(amd):
    whole = {
        "attestation_report": taken_apart(amd.sign(GOOD)),
        "cert_chain": [{"cert_type": "VCEK", "data": list(amd.certificate())}],
    }
    beside = [amd.intermediate, crl(amd.ark, NOW)]
    assert ask(amd, json.dumps(whole).encode(), endorsements=beside).affirming
    older = {**whole["attestation_report"]}
    for name in ("current", "committed"):
        older |= {f"{name}_{part}": n for part, n in older.pop(name).items()}
    older["_author_key_en"] = older.pop("key_info")
    assert ask(amd, json.dumps({**whole, "attestation_report": older}).encode()).affirming
    for name, bad in (("vmpl", -1), ("measurement", [1]), ("signature", 1), ("launch_tcb", 0)):
        bent = {**whole, "attestation_report": {**whole["attestation_report"], name: bad}}
        assert verdict(ask(amd, json.dumps(bent).encode()))[:2] == (False, "parse")
    bent = {**whole, "attestation_report": {**whole["attestation_report"], "guest_svn": 9}}
    assert verdict(ask(amd, json.dumps(bent).encode()))[2] == "signature_invalid"


@pytest.mark.parametrize("name", ["milan-report.bin", "vlek-report.bin"])
def test_recorded_reports_survive_being_taken_apart(name):
    raw = sample(f"sev-snp/{name}")
    assert snp_json.report(taken_apart(raw)) == raw


def test_certificates_may_come_in_the_hosts_table_behind_or_beside_the_report(amd):
    table = amd.table([amd.certificate(), amd.intermediate])
    lists = [crl(amd.ark, NOW)]
    assert ask(amd, amd.sign(GOOD) + table, endorsements=lists).affirming
    for parts in (
        (amd.sign(GOOD), table),
        (amd.certificate(), amd.sign(GOOD), amd.intermediate),
    ):
        result = judge(
            "snp",
            *parts,
            roots=[amd.pin],
            expected=REPORT_DATA,
            reference=REFERENCE,
            options=OPTIONS,
            endorsements=lists,
        )
        assert result.affirming


def test_a_table_that_points_outside_itself_is_refused(amd):
    table = amd.table([amd.certificate()])
    assert verdict(ask(amd, amd.sign(GOOD) + table[:-1])) == (False, "parse", "evidence_malformed")
    assert verdict(ask(amd, amd.sign(GOOD) + table[:30]))[0] is False


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (GOOD.but(policy=GOOD.policy | 1 << 19), "debug_enabled"),
        (GOOD.but(policy=GOOD.policy | 1 << 18), "migration_allowed"),
        (GOOD.but(vmpl=1), "vmpl_not_allowed"),
        (GOOD.but(launched={**TCB, "snp": 19}), "tcb_too_old"),
    ],
)
def test_a_guest_that_the_host_can_open_is_genuine_and_refused(amd, report, code):
    result = ask(amd, report)
    assert verdict(result) == (True, "platform", code)
    assert result.status is Status.CONTRAINDICATED and result.reason


def test_old_firmware_is_told_by_its_part(amd):
    result = ask(amd, GOOD, options={"minimum_tcb": {**TCB, "microcode": 211}})
    assert verdict(result) == (True, "platform", "tcb_too_old")
    assert "microcode is at 210, 211 is needed" in result.reason


def test_without_a_minimum_nobody_knows_whether_it_is_new_enough(amd):
    result = ask(amd, GOOD, options={})
    assert verdict(result) == (True, "platform", "minimum_tcb_missing")
    assert result.status is Status.NONE


def test_smt_is_refused_where_the_policy_forbids_it(amd):
    report = GOOD.but(platform_info=1)
    assert ask(amd, report).affirming
    forbidden = ask(amd, report, options={**OPTIONS, "forbid_smt": True})
    assert verdict(forbidden) == (True, "platform", "smt_enabled")


@pytest.mark.parametrize("name", sorted(TCB))
def test_a_certificate_for_other_firmware_does_not_endorse_the_report(amd, name):
    other = amd.certificate(KEY.but(tcb={**TCB, name: TCB[name] - 1}))
    assert verdict(ask(amd, GOOD, other)) == (False, "signature", "snp_tcb_mismatch")


def test_a_certificate_of_another_chip_does_not_endorse_the_report(amd):
    other = amd.certificate(KEY.but(hwid=bytes(64)))
    assert verdict(ask(amd, GOOD, other)) == (False, "signature", "snp_chip_mismatch")


def test_a_masked_chip_id_is_known_by_the_certificate(amd):
    report = GOOD.but(chip_id=bytes(64))
    assert ask(amd, report).affirming
    assert ask(amd, report).submodules[0].claims["chip_id"] == "00" * 64


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (KEY.but(product="Naples-A0"), "product"),
        (KEY.but(hwid=None), "hwID/CSP"),
        (KEY.but(csp=CSP), "hwID/CSP"),
        (KEY.but(hwid=bytes(63)), "hwID"),
        (KEY.but(tcb={k: v for k, v in TCB.items() if k != "snp"}), "snp"),
        (KEY.but(tcb={**TCB, "snp": 256}), "snp"),
    ],
)
def test_a_certificate_without_what_amd_writes_endorses_nothing(amd, said, name):
    result = ask(amd, GOOD, amd.certificate(said))
    assert verdict(result) == (False, "chain", "snp_extension")
    assert result.deciding.params == {"name": name}


def test_another_key_of_the_same_issuer_does_not_hold(amd):
    assert verdict(ask(amd, amd.sign(GOOD, c.p384()))) == (False, "signature", "signature_invalid")


def test_of_several_certificates_the_one_that_signed_is_taken(amd):
    stranger = amd.certificate(key=c.p384())
    assert ask(amd, GOOD, stranger, amd.certificate()).affirming


@pytest.mark.parametrize("flags", [1 << 1, 7 << 2, 3 << 2])
def test_a_report_that_nobody_signed_proves_nothing(amd, flags):
    result = ask(amd, GOOD.but(flags=flags))
    assert verdict(result) == (False, "signature", "snp_not_signed")


def test_a_report_that_names_the_other_kind_of_key_is_refused(amd):
    assert verdict(ask(amd, GOOD.but(flags=1 << 2))) == (False, "signature", "snp_signer")


def test_milan_under_genoas_names_is_refused(amd):
    assert verdict(ask(amd, GOOD.but(model=0x11))) == (False, "chain", "snp_product")
    named = amd.certificate(KEY.but(product="Genoa-B1"))
    assert verdict(ask(amd, GOOD.but(version=2), named)) == (False, "chain", "snp_product")


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_every_version_of_the_report_is_read(amd, version):
    result = ask(amd, GOOD.but(version=version))
    assert result.affirming and result.claims["report_version"] == version
    assert ("launch_mitigations" in result.claims) is (version == 5)


@pytest.mark.parametrize("version", [0, 1, 6, 1 << 31])
def test_other_versions_are_refused(amd, version):
    assert verdict(ask(amd, GOOD.but(version=version)))[:2] == (False, "parse")


def test_turin_orders_its_versions_anew_and_has_a_short_chip_id():
    turin = Amd("Turin")
    versions = {**TCB, "fmc": 3}
    report = GOOD.but(
        family=0x1A, model=2, chip_id=CHIP_ID[:8], reported=versions, launched=versions
    )
    said = KEY.but(product="Turin-C1", hwid=CHIP_ID[:8], tcb=versions)
    result = ask(turin, report, turin.certificate(said), options={"minimum_tcb": versions})
    assert result.affirming and result.claims["reported_tcb"] == versions
    older = turin.certificate(said.but(tcb={**versions, "fmc": 2}))
    assert verdict(ask(turin, report, older))[2] == "snp_tcb_mismatch"


def test_a_clouds_key_proves_an_owner_and_no_chip():
    cloud = Amd(vlek=True)
    report = GOOD.but(flags=1 << 2, chip_id=bytes(64))
    key = cloud.certificate(KEY.but(hwid=None, csp=CSP))
    good = ask(cloud, report, key)
    assert good.affirming and good.claims["csp"] == CSP
    only = ask(cloud, report, key, options={**OPTIONS, "signers": ["vcek"]})
    assert verdict(only) == (True, "platform", "signer_not_allowed")


def test_chips_and_owners_are_held_against_the_policys_lists(amd):
    listed = {"chips": [CHIP_ID.hex()]}
    assert ask(amd, GOOD, rules=listed).affirming
    assert verdict(ask(amd, GOOD, rules={"chips": ["00" * 64]})) == (
        True,
        "platform",
        "chip_not_listed",
    )
    assert verdict(ask(amd, GOOD, rules={"owners": [CSP]})) == (
        True,
        "platform",
        "owner_not_proved",
    )


def test_a_revoked_intermediate_endorses_nothing_even_by_an_old_list(amd):
    for at in (NOW, NOW - timedelta(days=400)):
        revoked = ask(amd, GOOD, lists=[crl(amd.ark, at, [amd.ask.serial])])
        assert verdict(revoked) == (False, "revocation", "certificate_revoked")


def test_without_a_current_list_revocation_is_unknown_and_never_affirming(amd):
    assert verdict(ask(amd, GOOD, lists=[])) == (True, "revocation", "revocation_unknown")
    old = ask(amd, GOOD, lists=[crl(amd.ark, NOW - timedelta(days=400))])
    assert verdict(old) == (True, "revocation", "revocation_list_expired")
    foreign = ask(amd, GOOD, lists=[crl(c.Plan(amd.ark.name, c.p384()), NOW)])
    assert verdict(foreign) == (True, "revocation", "revocation_unknown")


def test_dates_are_judged_apart_from_the_chain(amd):
    result = ask(amd, GOOD, lists=[], now=datetime(2041, 1, 1, tzinfo=UTC))
    assert verdict(result) == (True, "freshness", "certificate_expired")
    assert holds(result, Step.CHAIN) and holds(result, Step.SIGNATURE)
    early = ask(amd, GOOD, now=datetime(2019, 1, 1, tzinfo=UTC))
    assert verdict(early)[2] == "certificate_not_yet_valid"


@pytest.mark.parametrize("size", [0, 32, 63, 65, 128])
def test_a_bound_value_of_another_length_is_refused_not_padded(amd, size):
    result = ask(amd, GOOD, expected=(REPORT_DATA * 2)[:size])
    assert verdict(result) == (True, "binding", "binding_length")


def test_another_bound_value_or_none_is_not_affirmed(amd):
    assert verdict(ask(amd, GOOD, expected=bytes(64)))[1:] == ("binding", "binding_mismatch")
    assert verdict(ask(amd, GOOD, expected=None))[1:] == ("binding", "binding_not_asked")


def test_another_measurement_is_told_by_its_name(amd):
    result = ask(amd, GOOD.but(measurement=b"\x11" * 48))
    assert found(result, Step.MEASUREMENT) == ["measurement_mismatch"]
    assert "measurement" in result.reason


def test_bytes_that_nobody_signed_are_refused(amd):
    raw = amd.sign(GOOD)
    for at in (0x2A0 + 60, 0x2A0 + 140, 0x340, 0x49F):
        bent = raw[:at] + b"\1" + raw[at + 1 :]
        assert verdict(ask(amd, bent))[:2] == (False, "parse")


def test_the_key_is_on_p384(amd):
    weak = amd.certificate(key=c.p256())
    assert verdict(ask(amd, GOOD, weak)) == (False, "chain", "certificate_missing")


def test_pem_and_der_certificates_are_both_read(amd):
    pem = c.pem([amd.certificate(), amd.intermediate])
    assert ask(amd, GOOD, endorsements=[pem, crl(amd.ark, NOW)]).affirming


def test_shipped_intermediates_help_where_none_was_given():
    report, vcek = sample("sev-snp/milan-report.bin"), sample("sev-snp/milan-vcek.der")
    milan = sample("sev-snp/ask_ark_milan.pem")
    root = milan[milan.rindex(b"-----BEGIN") :]
    for beside in ([vcek], [vcek, milan], [vcek, root]):
        assert judge("snp", report, endorsements=beside).genuine
    genoa = sample("sev-snp/ask_ark_genoa.pem")
    wrong = judge("snp", report, endorsements=[vcek, genoa])
    assert verdict(wrong) == (False, "chain", "chain_not_anchored")


def test_an_intermediate_that_may_not_issue_leads_nowhere(amd):
    plain = c.issue(c.Plan(amd.ask.name, amd.ask.key, c.LEAF), amd.ark)
    result = ask(amd, GOOD, endorsements=[amd.certificate(), plain])
    assert verdict(result) == (False, "chain", "chain_not_anchored")
