"""Azure's virtual TPM, with a cloud of our own so that each field can be wrong."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.attest.authorities import certificates as c
from tests.attest.authorities.azure import NONCE, PCRS, Azure, Vm
from tests.attest.authorities.crls import crl
from tests.attest.authorities.event_logs import separator, write
from tests.attest.authorities.intel import Guest
from tests.attest.authorities.snp import TCB, Report
from tests.attest.judging import NOW, found, judge, sample, verdict

from modelseal.attest.verify.steps import Status, Step
from modelseal.types import Level

GOOD = Vm()
REFERENCE = {f"pcr{i}": PCRS[i].hex() for i in (0, 4, 7)}


@pytest.fixture(scope="module")
def azure() -> Azure:
    return Azure()


def ask(azure, raw, *more, **given):
    given.setdefault("roots", azure.pins)
    given.setdefault("expected", NONCE)
    given.setdefault("reference", REFERENCE)
    beside = [azure.amd.intermediate, crl(azure.amd.ark, NOW)]
    beside.append(azure.intel.collateral(NOW, tdx=True))
    given.setdefault("options", {"minimum_tcb": TCB})
    return judge("azure-vtpm", raw, *more, endorsements=beside, **given)


def both(azure, vm):
    return ask(azure, azure.on_amd(vm)), ask(azure, azure.on_intel(vm))


def test_a_good_machine_is_affirmed_on_either_hardware(azure):
    for result, hardware in zip(both(azure, GOOD), ("snp", "tdx"), strict=True):
        assert result.affirming and result.level is Level.L4
        assert result.claims["hardware"] == hardware and result.claims["bound_by"] == "nonce"


def test_the_hardwares_own_values_can_be_referred_to(azure):
    on_amd = {**REFERENCE, "measurement": Report().measurement.hex()}
    assert ask(azure, azure.on_amd(), reference=on_amd).affirming
    on_intel = {**REFERENCE, "mr_td": Guest().mr_td.hex()}
    assert ask(azure, azure.on_intel(), reference=on_intel).affirming
    assert verdict(ask(azure, azure.on_amd(), reference=on_intel))[1] == "measurement"


def test_nothing_of_it_is_affirmed_under_the_shipped_roots(azure):
    for raw in (azure.on_amd(), azure.on_intel()):
        assert verdict(ask(azure, raw, roots=())) == (False, "chain", "chain_not_anchored")


def test_claims_that_the_hardware_does_not_bind_are_refused(azure):
    for result in both(azure, GOOD.but(bound=bytes(32))):
        assert verdict(result) == (False, "signature", "azure_claims_unbound")
    for result in both(azure, GOOD.but(bound=azure.bound(GOOD)[:32] + b"\1")):
        assert verdict(result) == (False, "signature", "azure_claims_unbound")


def test_another_machines_report_is_refused(azure):
    for name in ("evidence-v1.json", "tdx-evidence-v1.json"):
        mine, other = json.loads(azure.on_amd()), json.loads(sample(f"azure-vtpm/{name}"))
        mine["hcl_report"] = other["hcl_report"]
        assert ask(azure, json.dumps(mine).encode(), roots=()).genuine is False
    names = ("evidence-v1.json", "tdx-evidence-v1.json")
    snp, tdx = (json.loads(sample(f"azure-vtpm/{name}")) for name in names)
    for a, b in ((snp, tdx), (tdx, snp)):
        swapped = json.dumps({**a, "hcl_report": b["hcl_report"]}).encode()
        assert judge("azure-vtpm", swapped, expected=b"challenge").genuine is False
        quoted = json.dumps({**a, "tpm_quote": b["tpm_quote"]}).encode()
        result = judge("azure-vtpm", quoted, expected=b"challenge")
        assert verdict(result) == (False, "signature", "signature_invalid")


def test_a_quote_by_another_key_is_refused(azure):
    other = GOOD.but(quote_key=rsa.generate_private_key(65537, 2048))
    for result in both(azure, other):
        assert verdict(result) == (False, "signature", "signature_invalid")


def test_registers_that_the_tpm_did_not_sign_are_refused(azure):
    told = (b"\xee" * 32, *PCRS[1:])
    for result in both(azure, GOOD.but(told=told)):
        assert verdict(result) == (False, "signature", "pcr_digest_mismatch")


@pytest.mark.parametrize(
    "vm",
    [
        GOOD.but(magic=b"\xffTCH"),
        GOOD.but(kind=0x8017),
        GOOD.but(kind=0x8001),
        GOOD.but(selection=b"\0\0\0\1\0\x0b\3\xff\xff\x7f"),
        GOOD.but(selection=b"\0\0\0\1\0\x0c\3\xff\xff\xff"),
        GOOD.but(told=PCRS[1:]),
        GOOD.but(told=(b"\0" * 31, *PCRS[1:])),
        GOOD.but(header=b"HCLB"),
        GOOD.but(header_version=3),
        GOOD.but(hash_type=2),
        GOOD.but(size=1300),
        GOOD.but(behind=b"\1"),
        GOOD.but(keys=[]),
        GOOD.but(keys=...),
        GOOD.but(keys=[{"kid": "HCLAkPub", "kty": "EC"}]),
        GOOD.but(keys=[{"kid": "HCLAkPub", "kty": "RSA", "n": "AQ", "e": "AQAB"}]),
        GOOD.but(keys=[{"kid": "HCLAkPub", "kty": "RSA", "n": 5, "e": "AQAB"}]),
        GOOD.but(more={"version": 9}),
        GOOD.but(more={"version": True}),
        GOOD.but(more={"hcl_report": "!"}),
        GOOD.but(more={"hcl_report": ...}),
        GOOD.but(more={"tpm_quote": []}),
        GOOD.but(more={"tpm_quote": {"pcrs": 1}}),
    ],
    ids=range(23),
)
def test_evidence_of_another_form_is_refused(azure, vm):
    for result in both(azure, vm):
        assert verdict(result) == (False, "parse", "evidence_malformed")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}", b"\0" * 100])
def test_what_is_no_evidence_is_refused(azure, raw):
    assert verdict(ask(azure, raw))[:2] == (False, "parse")


def test_the_quote_of_another_guest_than_the_report_shows_is_refused(azure):
    shown = Guest().but(mr_td=b"\x11" * 48)
    result = ask(azure, azure.on_intel(shown=shown))
    assert verdict(result) == (False, "signature", "azure_report_mismatch")


def test_a_report_without_its_quote_or_certificate_proves_nothing(azure):
    bare = ask(azure, azure.on_intel(GOOD.but(more={"td_quote": ...})))
    assert verdict(bare) == (False, "chain", "certificate_missing")
    bare = ask(azure, azure.on_amd(GOOD.but(more={"vcek": ...})))
    assert verdict(bare) == (False, "chain", "certificate_missing")


def test_the_certificate_may_be_pem_or_lie_beside(azure):
    pem = c.pem([azure.amd.certificate()])
    assert ask(azure, azure.on_amd(GOOD.but(more={"vcek": pem.decode()}))).affirming
    assert ask(azure, azure.on_amd(GOOD.but(more={"vcek": ...})), pem).affirming


def test_older_collectors_write_lists_of_numbers_and_other_names(azure):
    now = json.loads(azure.on_amd())
    quote = now["tpm_quote"]
    old = {
        "quote": {
            "message": list(bytes.fromhex(quote["message"])),
            "signature": list(bytes.fromhex(quote["signature"])),
            "pcrs": [list(bytes.fromhex(value)) for value in quote["pcrs"]],
        },
        "report": now["hcl_report"],
        "vcek": now["vcek"],
    }
    assert ask(azure, json.dumps(old).encode()).affirming


def test_secure_boot_off_is_refused_unless_the_policy_admits_it(azure):
    for vm in (GOOD.but(configuration={"secure-boot": False}), GOOD.but(configuration={})):
        raw = azure.on_amd(vm)
        assert verdict(ask(azure, raw)) == (True, "platform", "secure_boot_off")
        options = {"minimum_tcb": TCB, "allow_insecure_boot": True}
        assert ask(azure, raw, options=options).affirming


def test_the_hardwares_refusals_hold_here_too(azure):
    debug = azure.on_amd(report=Report().but(policy=0x3001F | 1 << 19))
    assert verdict(ask(azure, debug)) == (True, "platform", "debug_enabled")
    guest = azure.on_intel(guest=Guest().but(td_attributes=bytes((1, 0, 0, 0x10, 0, 0, 0, 0))))
    assert found(ask(azure, guest), Step.PLATFORM)[0] == "debug_enabled"


def test_another_nonce_or_length_is_refused(azure):
    raw = azure.on_amd()
    assert verdict(ask(azure, raw, expected=NONCE[:-1]))[1:] == ("binding", "binding_length")
    assert verdict(ask(azure, raw, expected=bytes(len(NONCE))))[2] == "binding_mismatch"
    empty = azure.on_amd(GOOD.but(nonce=b""))
    assert ask(azure, empty, expected=b"").status is Status.CONTRAINDICATED


def test_an_event_log_explains_the_registers_or_the_evidence_is_refused(azure):
    log = write([separator(n) for n in range(8)])
    once = sha256(bytes(32) + sha256(bytes(4)).digest()).digest()
    pcrs = (*[once] * 8, *[bytes(32)] * 16)
    vm = GOOD.but(pcrs=pcrs, told=pcrs)
    reference = {"pcr0": pcrs[0].hex()}
    good = ask(azure, azure.on_amd(vm), log, reference=reference)
    assert good.affirming and good.claims["event_log_replayed"] is True
    bent = ask(azure, azure.on_amd(GOOD), log)
    assert verdict(bent) == (True, "measurement", "event_log_mismatch")
