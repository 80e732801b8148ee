"""SGX and TDX, with an Intel of our own so that each field can be wrong."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.attest.authorities import certificates as c
from tests.attest.authorities.crls import crl
from tests.attest.authorities.intel import (
    FMSPC,
    PPID,
    REPORT_DATA,
    SGX_QE,
    Enclave,
    Guest,
    Intel,
    Tcb,
    Wrong,
)
from tests.attest.judging import NOW, found, holds, judge, sample, verdict

from modelseal.attest.verify.steps import Status, Step
from modelseal.types import Level

ENCLAVE, GUEST, UP_TO_DATE, RIGHT = Enclave(), Guest(), Tcb(), Wrong()
REFERENCE = {
    "sgx": {"mr_enclave": ENCLAVE.mr_enclave.hex(), "mr_signer": ENCLAVE.mr_signer.hex()},
    "tdx": {"mr_td": GUEST.mr_td.hex(), "rtmr2": GUEST.rtmrs[2].hex()},
}
BOTH = pytest.mark.parametrize("said", [ENCLAVE, GUEST], ids=["sgx", "tdx"])


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


@pytest.fixture(scope="module")
def package() -> Intel:
    return Intel(package=True)


def ask(intel, said, wrong=RIGHT, tcb=UP_TO_DATE, beside=(), raw=None, more=(), **given):
    kind = "tdx" if isinstance(said, Guest) else "sgx"
    given.setdefault("roots", [intel.pin])
    given.setdefault("expected", REPORT_DATA)
    given.setdefault("reference", REFERENCE[kind])
    collateral = [] if tcb is None else [intel.collateral(NOW, tcb, tdx=kind == "tdx")]
    evidence = intel.quote(said, wrong) if raw is None else raw
    return judge(kind, evidence, *more, endorsements=[*collateral, *beside], **given)


@BOTH
def test_a_good_machine_is_affirmed_at_level_four(intel, said):
    result = ask(intel, said)
    assert result.affirming and result.level is Level.L4
    assert result.claims["tcb_status"] == "UpToDate" and result.claims["chip"] == PPID.hex()


@pytest.mark.parametrize(
    ("said", "version"), [(ENCLAVE, 3), (GUEST, 4), (GUEST, 5), (GUEST.but(later=True), 5)]
)
def test_every_version_of_the_quote_is_read(intel, said, version):
    result = ask(intel, said, Wrong(version=version))
    assert result.affirming and result.claims["quote_version"] == version


@pytest.mark.parametrize("version", [4, 5])
def test_an_enclaves_later_quote_is_genuine_and_its_platform_is_not_judged(intel, version):
    result = ask(intel, ENCLAVE, Wrong(version=version))
    assert verdict(result) == (True, "platform", "tcb_not_judged")
    assert holds(result, Step.SIGNATURE) and result.status is Status.NONE


@BOTH
def test_zeros_behind_the_quote_are_padding_and_anything_else_is_refused(intel, said):
    assert ask(intel, said, Wrong(behind=bytes(3000))).affirming
    bent = ask(intel, said, Wrong(behind=bytes(30) + b"\1"))
    assert verdict(bent) == (False, "parse", "evidence_malformed")


@BOTH
def test_the_quote_may_come_as_text_or_in_json(intel, said):
    raw = intel.quote(said)
    assert ask(intel, said, raw=raw.hex().encode()).affirming
    assert ask(intel, said, raw=base64.b64encode(raw)).affirming
    wrapped = {"quote": base64.urlsafe_b64encode(raw).decode().rstrip("="), "cc_eventlog": None}
    assert ask(intel, said, raw=json.dumps(wrapped).encode()).affirming


@BOTH
def test_nothing_of_it_is_affirmed_under_the_shipped_root(intel, said):
    assert verdict(ask(intel, said, roots=())) == (False, "chain", "chain_not_anchored")


def test_a_quote_is_only_taken_for_what_it_is(intel):
    swapped = ask(intel, ENCLAVE, raw=intel.quote(GUEST))
    assert verdict(swapped) == (False, "parse", "evidence_malformed")
    assert verdict(ask(intel, GUEST, raw=intel.quote(ENCLAVE)))[:2] == (False, "parse")


@BOTH
@pytest.mark.parametrize(
    ("wrong", "step", "code"),
    [
        (Wrong(quote_key=c.p256()), "signature", "signature_invalid"),
        (Wrong(qe_key=c.p256()), "signature", "signature_invalid"),
        (Wrong(qe_binds=bytes(32)), "signature", "signature_invalid"),
        (Wrong(qe_signer=b"\x13" * 32), "chain", "quoting_enclave_unknown"),
        (Wrong(certificates=b""), "chain", "certificate_missing"),
        (Wrong(certificates=b"-----BEGIN"), "parse", "evidence_malformed"),
        (Wrong(certificate_type=2), "chain", "certificate_missing"),
        (Wrong(key_type=3), "parse", "evidence_malformed"),
        (Wrong(vendor=bytes(16)), "parse", "evidence_malformed"),
        (Wrong(version=6), "parse", "evidence_malformed"),
    ],
    ids=range(10),
)
def test_each_link_of_the_quote_has_to_hold(intel, said, wrong, step, code):
    assert verdict(ask(intel, said, wrong)) == (False, step, code)
    assert verdict(ask(intel, said, wrong, tcb=None)) == (False, step, code)


def test_an_enclaves_quoting_enclave_does_not_quote_guests(intel):
    bent = ask(intel, GUEST, Wrong(qe_signer=SGX_QE))
    assert verdict(bent) == (False, "chain", "quoting_enclave_unknown")


@BOTH
def test_the_certificates_in_a_quote_are_exactly_its_chain(intel, said):
    leaf, issuer, root = (c.pem([der]) for der in chain_of(intel))
    stranger = c.pem([c.issue(c.Plan({c.COMMON_NAME: "x"}, c.p256()), intel.root)])
    for listed in (leaf + issuer + root, leaf + issuer):
        assert ask(intel, said, Wrong(certificates=listed + b"\n\0")).genuine
    for listed in (leaf + root, leaf + root + issuer, leaf + issuer + root + stranger):
        bent = ask(intel, said, Wrong(certificates=listed), tcb=None)
        assert verdict(bent) == (False, "chain", "chain_not_anchored")
    swapped = ask(intel, said, Wrong(certificates=issuer + leaf + root), tcb=None)
    assert swapped.genuine is False
    for junk in (b"x", b"-----BEGIN JUNK-----\nAA==\n-----END JUNK-----\n"):
        bent = ask(intel, said, Wrong(certificates=leaf + issuer + root + junk), tcb=None)
        assert verdict(bent) == (False, "parse", "evidence_malformed")


@BOTH
def test_an_older_issue_of_the_same_root_may_be_carried(intel, said):
    leaf, issuer, _ = (c.pem([der]) for der in chain_of(intel))
    older = intel.root.but(serial=9, end=datetime(2033, 5, 21, tzinfo=UTC))
    renewed = c.pem([c.issue(older, older)])
    assert ask(intel, said, Wrong(certificates=leaf + issuer + renewed)).affirming
    other = c.Plan(older.name, c.p256(), older.extensions)
    forged = c.pem([c.issue(older, other)])
    bent = ask(intel, said, Wrong(certificates=leaf + issuer + forged), tcb=None)
    assert verdict(bent) == (False, "chain", "chain_not_anchored")


def chain_of(intel):
    return c.issue(intel.pck, intel.ca), intel.ca_der, intel.root_der


def test_a_point_that_lies_on_no_curve_is_no_key(intel):
    raw = bytearray(intel.quote(ENCLAVE))
    at = 48 + 384 + 4 + 64
    raw[at : at + 64] = b"\1" * 64
    assert verdict(ask(intel, ENCLAVE, raw=bytes(raw)))[:2] == (False, "signature")


def test_the_platforms_certificate_may_lie_beside_the_quote(intel):
    bare = Wrong(certificates=b"", certificate_type=3)
    assert ask(intel, GUEST, bare, beside=[intel.chain()]).affirming is False  # no TCB without it
    result = ask(intel, GUEST, bare, tcb=None, beside=[intel.chain()])
    assert verdict(result)[:2] == (True, "revocation") and holds(result, Step.SIGNATURE)
    listed = UP_TO_DATE.but(changes={"pck_certificate_chain": intel.chain().decode()})
    assert ask(intel, GUEST, bare, listed).affirming


@BOTH
def test_a_stranger_under_the_same_names_leads_nowhere(intel, said):
    other = Intel()
    assert verdict(ask(intel, said, raw=other.quote(said)))[1:] == ("chain", "chain_not_anchored")
    plain = c.pem([c.issue(intel.pck.but(extensions={}), intel.ca), intel.ca_der])
    bent = ask(intel, said, Wrong(certificates=plain))
    assert verdict(bent) == (False, "chain", "pck_extension")


@BOTH
def test_without_collateral_it_is_genuine_and_nobody_knows_more(intel, said):
    result = ask(intel, said, tcb=None)
    assert verdict(result) == (True, "revocation", "collateral_missing")
    assert result.status is Status.NONE and FMSPC.hex() in result.reason
    assert found(result, Step.PLATFORM) == ["collateral_missing"]


@BOTH
@pytest.mark.parametrize(
    ("status", "gravity", "code"),
    [
        ("SWHardeningNeeded", Status.WARNING, "tcb_status"),
        ("ConfigurationNeeded", Status.WARNING, "tcb_status"),
        ("ConfigurationAndSWHardeningNeeded", Status.WARNING, "tcb_status"),
        ("OutOfDate", Status.CONTRAINDICATED, "tcb_out_of_date"),
        ("OutOfDateConfigurationNeeded", Status.CONTRAINDICATED, "tcb_out_of_date"),
    ],
)
def test_a_platform_behind_its_updates_is_refused_in_words(intel, said, status, gravity, code):
    tcb = UP_TO_DATE.but(status=status, advisories=("INTEL-SA-00615",))
    result = ask(intel, said, tcb=tcb)
    assert verdict(result) == (True, "platform", code) and result.status is gravity
    assert "BIOS update for INTEL-SA-00615 missing" in result.reason
    allowed = {"tcb_statuses": ["UpToDate", status]}
    assert ask(intel, said, tcb=tcb, options=allowed).affirming
    rejected = ask(
        intel, said, tcb=tcb, options={**allowed, "reject_advisories": ["INTEL-SA-00615"]}
    )
    assert verdict(rejected) == (True, "platform", "tcb_out_of_date")


@BOTH
def test_a_revoked_level_is_refused_whatever_the_policy_says(intel, said):
    result = ask(intel, said, tcb=UP_TO_DATE.but(status="Revoked"))
    assert verdict(result) == (True, "platform", "tcb_revoked")


@BOTH
def test_a_revoked_platform_is_not_genuine(intel, said):
    result = ask(intel, said, tcb=UP_TO_DATE.but(revoked=(77,)))
    assert verdict(result) == (False, "revocation", "certificate_revoked")
    late = ask(intel, said, tcb=UP_TO_DATE.but(revoked=(77,)), now=NOW + timedelta(days=90))
    assert verdict(late) == (False, "revocation", "certificate_revoked")
    alone = ask(intel, said, tcb=None, beside=[crl(intel.ca, NOW, [77]), crl(intel.root, NOW)])
    assert verdict(alone) == (False, "revocation", "certificate_revoked")


@BOTH
def test_lists_alone_settle_revocation_and_not_the_platform(intel, said):
    result = ask(intel, said, tcb=None, beside=[crl(intel.ca, NOW), crl(intel.root, NOW)])
    assert holds(result, Step.REVOCATION)
    assert verdict(result) == (True, "platform", "collateral_missing")


@BOTH
def test_collateral_has_its_time(intel, said):
    late = ask(intel, said, now=NOW + timedelta(days=33))
    assert verdict(late) == (True, "freshness", "collateral_expired")
    assert "expired 3 days ago" in late.reason and "import a bundle" in late.reason
    early = ask(intel, said, now=NOW - timedelta(hours=2))
    assert verdict(early) == (True, "freshness", "collateral_not_yet_valid")


@BOTH
def test_collateral_of_another_platform_or_bent_says_nothing(intel, said):
    foreign = ask(intel, said, tcb=UP_TO_DATE.but(fmspc=bytes(6)))
    assert verdict(foreign) == (True, "platform", "collateral_foreign")
    for name in ("tcb_info_signature", "qe_identity_signature"):
        bent = ask(intel, said, tcb=UP_TO_DATE.but(changes={name: "00" * 64}))
        assert verdict(bent) == (True, "platform", "collateral_invalid")
    for name in ("pck_crl", "tcb_info_issuer_chain"):
        bent = ask(intel, said, tcb=UP_TO_DATE.but(changes={name: "00"}))
        assert not bent.affirming and bent.genuine


@BOTH
def test_intels_own_answers_are_put_together(intel, said):
    whole = json.loads(intel.collateral(NOW, tdx=isinstance(said, Guest)))
    answers = [
        f'{{"{name}":{whole[text]},"signature":"{whole[text + "_signature"]}"}}'.encode()
        for name, text in (("tcbInfo", "tcb_info"), ("enclaveIdentity", "qe_identity"))
    ]
    lists = [bytes.fromhex(whole[name]) for name in ("root_ca_crl", "pck_crl")]
    signer = whole["tcb_info_issuer_chain"].encode()
    beside = [*answers, *lists, signer]
    assert ask(intel, said, tcb=None, beside=beside).affirming
    for missing in range(len(beside)):
        rest = [part for place, part in enumerate(beside) if place != missing]
        less = ask(intel, said, tcb=None, beside=rest)
        assert less.genuine and found(less, Step.PLATFORM) == ["collateral_missing"]
    bent = [answers[0].replace(b'"version":3', b'"version": 3'), *beside[1:]]
    result = ask(intel, said, tcb=None, beside=bent)
    assert found(result, Step.PLATFORM) == ["collateral_invalid"]


def test_open_enclaves_header_is_taken_off(intel):
    raw = intel.quote(ENCLAVE)
    head = (1).to_bytes(4, "little") + (2).to_bytes(4, "little") + len(raw).to_bytes(8, "little")
    assert ask(intel, ENCLAVE, raw=head + raw).affirming


def test_collateral_signed_by_a_stranger_says_nothing(intel):
    other = Intel()
    result = ask(intel, ENCLAVE, tcb=None, beside=[other.collateral(NOW)])
    assert result.genuine and not result.affirming
    assert found(result, Step.PLATFORM) == ["collateral_invalid"]


def test_the_collateral_for_the_platform_is_found_among_others(intel):
    others = [
        intel.collateral(NOW, tdx=True),
        intel.collateral(NOW, UP_TO_DATE.but(fmspc=bytes(6))),
        b"{}",
        b"[1]",
        b'{"tcb_info": 1}',
    ]
    assert ask(intel, ENCLAVE, beside=others).affirming


def test_older_evaluations_are_refused_where_the_policy_says_so(intel):
    result = ask(intel, ENCLAVE, options={"minimum_tcb_evaluation": 18})
    assert verdict(result) == (True, "platform", "tcb_evaluation_old")


def test_how_the_package_is_set_up_is_for_the_policy_to_admit(package):
    result = ask(package, GUEST)
    assert verdict(result) == (True, "platform", "package_setup")
    names = ("allow_dynamic_platform", "allow_cached_keys", "allow_smt")
    assert ask(package, GUEST, options=dict.fromkeys(names, True)).affirming
    for missing in names:
        options = {name: name != missing for name in names}
        assert verdict(ask(package, GUEST, options=options))[2] == "package_setup"


def test_debugging_is_refused_with_collateral_and_without(intel):
    for said in (
        ENCLAVE.but(attributes=bytes((7, *ENCLAVE.attributes[1:]))),
        GUEST.but(td_attributes=bytes((1, *GUEST.td_attributes[1:]))),
    ):
        for tcb in (UP_TO_DATE, None):
            result = ask(intel, said, tcb=tcb)
            assert result.genuine and "debug_enabled" in found(result, Step.PLATFORM)
            assert result.status is Status.CONTRAINDICATED


def test_a_guest_whose_host_may_inject_exceptions_is_refused(intel):
    result = ask(intel, GUEST.but(td_attributes=bytes(8)))
    assert verdict(result) == (True, "platform", "td_attributes")


def test_an_old_tdx_module_is_refused(intel):
    result = ask(intel, GUEST.but(tee_tcb_svn=bytes((1, 1, 2, *[0] * 13))))
    assert result.genuine and verdict(result)[1] == "platform"
    assert verdict(result)[2] == "tcb_not_listed"


def test_an_old_enclave_is_refused_where_the_policy_says_so(intel):
    result = ask(intel, ENCLAVE, options={"minimum_isv_svn": 4})
    assert verdict(result) == (True, "platform", "tcb_too_old")


@BOTH
def test_what_runs_there_is_held_against_the_reference(intel, said):
    other = said.but(mr_td=b"x" * 48) if isinstance(said, Guest) else said.but(mr_enclave=b"x" * 32)
    assert verdict(ask(intel, other)) == (True, "measurement", "measurement_mismatch")
    assert verdict(ask(intel, said, reference=None)) == (True, "measurement", "reference_missing")


@BOTH
@pytest.mark.parametrize("size", [0, 32, 48, 63, 65])
def test_a_bound_value_of_another_length_is_refused_not_padded(intel, said, size):
    result = ask(intel, said, expected=(REPORT_DATA * 2)[:size])
    assert verdict(result) == (True, "binding", "binding_length")


def test_the_platforms_certificate_has_its_time(intel):
    late = ask(intel, ENCLAVE, tcb=None, now=datetime(2041, 1, 1, tzinfo=UTC))
    assert verdict(late) == (True, "freshness", "certificate_expired")


def test_an_event_log_explains_the_registers_or_the_evidence_is_refused():
    quote = sample("sgx-tdx-dcap/cos-113-tdx-quote.dat")
    log = sample("sgx-tdx-dcap/cos-113-ccel_data.dat.gz")
    good = judge("tdx", quote, log, expected=bytes(64))
    assert good.claims["event_log_replayed"] is True and good.genuine
    assert judge("tdx", log, quote, expected=bytes(64)).claims["event_log_replayed"] is True
    other = sample("sgx-tdx-dcap/tdx_quote")
    bent = judge("tdx", other, log)
    assert found(bent, Step.MEASUREMENT)[0] == "event_log_mismatch"
    assert bent.status is Status.CONTRAINDICATED
    assert verdict(judge("tdx", quote, log, log))[:2] == (False, "parse")
    assert (
        verdict(judge("tdx", quote, b"not a log at all, but long enough to be one" * 3))[0] is False
    )


def test_the_two_libraries_agree_on_real_quotes():
    """With collateral ``dcap-qvl`` judges all of it; without, our own reader has to come as far."""
    for kind, name in (("sgx", "sgx_quote"), ("tdx", "tdx_quote")):
        quote = sample(f"sgx-tdx-dcap/{name}")
        at = datetime(2025, 7, 4, 10, 28, 44, tzinfo=UTC)
        ours = judge(kind, quote, now=at)
        theirs = judge(
            kind, quote, endorsements=[sample(f"sgx-tdx-dcap/{name}_collateral.json")], now=at
        )
        for step in (Step.PARSE, Step.CHAIN, Step.SIGNATURE):
            assert holds(ours, step) and holds(theirs, step)
        assert found(theirs, Step.PLATFORM) != ["collateral_invalid"]
