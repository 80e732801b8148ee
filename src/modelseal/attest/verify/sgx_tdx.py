"""Intel SGX and TDX: the quote is judged here, the state of the platform by ``intel_tcb``."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from cryptography import x509

from modelseal.attest.verify import (
    intel_pck,
    intel_pcs,
    intel_roots,
    intel_tcb,
    pki,
    quote,
    wrappers,
)
from modelseal.attest.verify.endorsements import certificates_in
from modelseal.attest.verify.kinds import Case, Kind, Option
from modelseal.attest.verify.quote import Quote
from modelseal.attest.verify.sgx_tdx_claims import sgx_claims, tdx_claims
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step, malformed
from modelseal.types import Level

OPTIONS: Mapping[str, Option] = {
    "tcb_statuses": Option(["UpToDate"], intel_tcb.STATUSES),
    "reject_advisories": Option([]),
    "allow_dynamic_platform": Option(False),
    "allow_cached_keys": Option(False),
    "allow_smt": Option(False),
    "minimum_tcb_evaluation": Option(0),
}
_PACKAGE = (
    ("dynamic_platform", "allow_dynamic_platform"),
    ("cached_keys", "allow_cached_keys"),
    ("smt_enabled", "allow_smt"),
)
_FIXABLE = ("SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded")


def judge_quote(
    raw: bytes, case: Case, ledger: Ledger, *, tdx: bool, others: tuple[bytes, ...] = ()
) -> Quote:
    """Everything of a quote but binding and measurement. ``others``: certificates beside it."""
    found = quote.read(raw)
    if found.tdx is not tdx:
        malformed("a quote of TDX" if found.tdx else "a quote of SGX")
    ledger.claims.update(tdx_claims(found, ledger) if tdx else sgx_claims(found, ledger))
    ledger.ok(Step.PARSE)
    inside = found.inside()
    chain = found.check(inside, () if inside else _beside(case, others), case.roots)
    ledger.ok(Step.CHAIN)
    ledger.ok(Step.SIGNATURE)
    pck = intel_pck.read(chain[0])
    ledger.claims["fmspc"] = pck.fmspc
    ledger.chip = pck.ppid
    ledger.claims["chip"] = pck.ppid
    _judge_platform(found, chain, pck.fmspc, case, ledger)
    return found


def _beside(case: Case, others: tuple[bytes, ...]) -> tuple[x509.Certificate, ...]:
    """Certificates that were given beside the quote, the platform's first; none without it."""
    beside = [c for data in others for c in certificates_in(data)]
    for document in case.endorsements.documents:
        chain = document.get("pck_certificate_chain") if isinstance(document, dict) else None
        if isinstance(chain, str):
            beside += certificates_in(chain.encode("utf-8"))
    beside += case.endorsements.certificates
    leaves = [c for c in beside if intel_pck.is_leaf(c)]
    return (*leaves[:1], *(c for c in beside if pki.is_ca(c))) if leaves else ()


def _judge_platform(
    found: Quote, chain: tuple[x509.Certificate, ...], fmspc: str, case: Case, ledger: Ledger
) -> None:
    documents = [*case.endorsements.documents, *intel_pcs.assembled(case.endorsements, chain)]
    collateral = intel_tcb.find(documents, tdx=found.tdx, fmspc=fmspc)
    said = None
    if collateral is None:
        ledger.unknown(Step.PLATFORM, "collateral_missing", fmspc=fmspc)
    else:
        said = intel_tcb.judge(found.raw, collateral, pki.der_of(chain[-1]), case.now, ledger)
    if said is not None:
        ledger.ok(Step.REVOCATION)
        ledger.ok(Step.FRESHNESS)
        _judge_tcb(said, case.options, ledger)
        return
    lists = [*case.endorsements.crls, *(collateral.crls() if collateral is not None else ())]
    if lists:
        pki.judge_revocation(chain, lists, case.now, ledger)
    else:
        ledger.unknown(Step.REVOCATION, "collateral_missing", fmspc=fmspc)
    if pki.judge_validity(chain, case.now, ledger) and not _refused(ledger, Step.FRESHNESS):
        ledger.ok(Step.FRESHNESS)


def _refused(ledger: Ledger, step: Step) -> bool:
    return any(finding.step is step for finding in ledger.findings)


def _judge_tcb(said: Mapping[str, Any], options: Mapping[str, Any], ledger: Ledger) -> None:
    """The policy over what ``dcap-qvl`` found: status, advisories, how the package is set up."""
    status, advisories = said["tcb"]["status"], sorted(said["tcb"]["advisory_ids"])
    pck = said["platform"]["pck"]
    ledger.claims.update(
        tcb_status=status,
        advisories=advisories,
        tcb_date=said["platform"]["tcb_level"]["tcbDate"],
        tcb_evaluation=said["tcb"]["eval_data_number"],
        **{name: pck[name] == "True" for name, _ in _PACKAGE},
    )
    before = len(ledger.findings)
    if status not in options["tcb_statuses"]:
        params = {"status": status, "advisories": advisories}
        if status in _FIXABLE:
            ledger.warn(Step.PLATFORM, "tcb_status", **params)
        else:
            ledger.refuse(Step.PLATFORM, "tcb_out_of_date", **params)
    rejected = sorted(set(advisories) & set(options["reject_advisories"]))
    if rejected:
        ledger.refuse(Step.PLATFORM, "tcb_out_of_date", status=status, advisories=rejected)
    for name, allowed in _PACKAGE:
        if pck[name] == "True" and not options[allowed]:
            ledger.refuse(Step.PLATFORM, "package_setup", name=name, option=allowed)
    if said["tcb"]["eval_data_number"] < options["minimum_tcb_evaluation"]:
        ledger.refuse(
            Step.PLATFORM,
            "tcb_evaluation_old",
            got=said["tcb"]["eval_data_number"],
            wanted=options["minimum_tcb_evaluation"],
        )
    if len(ledger.findings) == before and not _refused(ledger, Step.PLATFORM):
        ledger.ok(Step.PLATFORM)


def _judge_sgx(case: Case, ledger: Ledger) -> None:
    parts = wrappers.flatten(case.parts, ("quote", "sgx_quote", "evidence"))
    raw, others = wrappers.pick(tuple(map(_bare, parts)), quote.looks_like)
    found = judge_quote(raw, case, ledger, tdx=False, others=others)
    if found.body[48] & 0x02:
        ledger.refuse(Step.PLATFORM, "debug_enabled")
    if ledger.claims["isv_svn"] < case.options["minimum_isv_svn"]:
        ledger.refuse(
            Step.PLATFORM,
            "tcb_too_old",
            part="isv_svn",
            got=ledger.claims["isv_svn"],
            wanted=case.options["minimum_isv_svn"],
        )
    ledger.bound["report_data"] = found.report_data


def _bare(part: bytes) -> bytes:
    """``part`` without the 16 bytes that Open Enclave puts in front of a quote."""
    head = struct.pack("<IIQ", 1, 2, max(0, len(part) - 16))
    return part[16:] if part.startswith(head) and quote.looks_like(part[16:]) else part


def _judge_tdx(case: Case, ledger: Ledger) -> None:
    names = ("quote", "td_quote", "tdx_quote", "evidence", "cc_eventlog", "event_log", "ccel")
    parts = wrappers.flatten(case.parts, names)
    raw, others = wrappers.pick(parts, quote.looks_like)
    logs = tuple(part for part in others if not certificates_in(part))
    found = judge_quote(raw, case, ledger, tdx=True, others=others)
    judge_td(found, ledger)
    ledger.bound["report_data"] = found.report_data
    if logs:
        _replay(logs, found, ledger)


def judge_td(found: Quote, ledger: Ledger) -> None:
    """The guest's own attributes: debugging opens its memory to the host."""
    if found.body[120] & 0x01:
        ledger.refuse(Step.PLATFORM, "debug_enabled")


def _replay(logs: tuple[bytes, ...], found: Quote, ledger: Ledger) -> None:
    """The event log explains the registers: replayed it has to give exactly them."""
    from modelseal.attest.verify import event_log

    if len(logs) != 1:
        malformed("more than one event log")
    log = event_log.read(logs[0])
    registers = log.replay("sha384")
    ledger.claims["event_log"] = log.facts("sha384", firmware_register=1)
    wrong = []
    for number in range(4):
        at = 328 + 48 * number
        if registers.get(number + 1, bytes(48)) != found.body[at : at + 48]:
            wrong.append(f"rtmr{number}")
    if wrong:
        ledger.refuse(Step.MEASUREMENT, "event_log_mismatch", names=wrong)
    else:
        ledger.claims["event_log_replayed"] = True


def _golden(claims: Mapping[str, Any]) -> dict[str, Any]:
    """A golden machine's own state, as what others may be in."""
    if "tcb_status" not in claims:
        raise NotGenuine(Step.PLATFORM, "tcb_unknown")
    return {
        "tcb_statuses": sorted({"UpToDate", claims["tcb_status"]}),
        "allow_dynamic_platform": claims["dynamic_platform"],
        "allow_cached_keys": claims["cached_keys"],
        "allow_smt": claims["smt_enabled"],
    }


SGX = Kind(
    name="sgx",
    level=Level.L4,
    judge=_judge_sgx,
    reference=("mr_enclave", "mr_signer", "isv_prod_id", "config_id"),
    bound_bytes=64,
    options={**OPTIONS, "minimum_isv_svn": Option(0)},
    roots=intel_roots.ROOTS,
    golden=("mr_enclave",),
    golden_options=_golden,
)
TDX = Kind(
    name="tdx",
    level=Level.L4,
    judge=_judge_tdx,
    reference=(
        "mr_td",
        "rtmr[0-3]",
        "mr_seam",
        "mr_signer_seam",
        "mr_config_id",
        "mr_owner",
        "mr_owner_config",
        "xfam",
        "td_attributes",
    ),
    bound_bytes=64,
    options=OPTIONS,
    roots=intel_roots.ROOTS,
    golden=("mr_td", "rtmr0", "rtmr1", "rtmr2"),
    golden_options=_golden,
)
