"""One byte changed, everywhere in the CPUs' evidence: noticed, or nothing has changed that counts.

What goes unnoticed, all of it: line ends of the PEM certificates inside a quote; in Azure's JSON
white space, the case of hex digits, a ``version`` that is known as well, and of the TDREPORT inside
(which the machine's own quoting enclave has checked, and nobody else can) its type, its CPU's
version, its reserved bytes and its MAC; of the event log remarks that no register holds, which make
no claim, and the types of events, by which some are counted. Of reports, quotes and documents
themselves every byte counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelseal.attest import selftest
from modelseal.attest.verify import Endorsements, Evidence, appraise, encodings, quote, wrappers
from modelseal.attest.verify import policy as policies
from modelseal.attest.verify.endorsements import certificates_in
from modelseal.attest.verify.registry import builtin

CASES = {case.name: case for case in selftest.cases()}
SWEPT = {
    "SEV-SNP on Milan, golden machine": 23,
    "SEV-SNP under a cloud's key": 23,
    "Nitro Enclave, bound by its nonce": 131,
    "SGX quote, its status allowed": 97,
    "TDX quote, its package setup allowed": 97,
    "Google's TDX guest with its event log, no collateral": 401,
    "Azure virtual TPM on SEV-SNP, golden machine": 401,
    "Azure virtual TPM on TDX, no collateral": 401,
}
UNSIGNED = ((0, 32), (192, 256), (495, 512))
"""Of a TDREPORT: type and CPU version, reserved bytes and MAC, reserved bytes."""


def _quote(data: bytes) -> Any:
    """All of a quote but the text form of its certificates."""
    found = quote.read(data)
    certificates = certificates_in(found.certificates)
    return data.replace(found.certificates, b""), len(found.certificates), certificates


def _azure(data: bytes) -> Any:
    found = json.loads(data)
    hcl = bytearray(wrappers.blob(found["hcl_report"], ""))
    if found.get("td_quote"):
        for start, end in UNSIGNED:
            hcl[32 + start : 32 + end] = bytes(end - start)
    told = found["tpm_quote"]
    signed = [bytes.fromhex(text) for text in (told["message"], told["signature"], *told["pcrs"])]
    quoted = found.get("td_quote") and _quote(wrappers.blob(found["td_quote"], ""))
    return bytes(hcl), signed, wrappers.blob(found.get("vcek") or "", ""), quoted


def _content(name: str) -> Callable[[bytes], Any]:
    if name.endswith(("sgx_quote", "tdx_quote", "quote.dat")):
        return _quote
    return _azure if name.endswith(".json") else bytes


def _flipped(case: selftest.Case, mask: int, stride: int) -> Iterator[tuple[str, int, Any]]:
    parts = [selftest.sample(name) for name in case.evidence]
    for which, name in enumerate(case.evidence):
        part = encodings.peel(parts[which])
        for place in range(mask % stride, len(part), stride):
            bent = part[:place] + bytes([part[place] ^ mask]) + part[place + 1 :]
            yield name, place, (bent, (*parts[:which], bent, *parts[which + 1 :]))


def _sweep(name: str, masks: tuple[int, ...], stride: int) -> None:
    case = CASES[name]
    policy = policies.parse(policies.write(case.rules or {}), builtin()).base
    endorsements = Endorsements(tuple(map(selftest.sample, case.endorsements)))
    now = case.judge().now

    def said(parts: tuple[bytes, ...]) -> Any:
        evidence = Evidence(case.kind, parts)
        one = appraise(evidence, case.report_data, endorsements, policy, now).submodules[0]
        return one.genuine, one.status, one.findings, dict(one.claims), one.measured

    before = said(tuple(map(selftest.sample, case.evidence)))
    assert before[0]
    for mask in masks:
        for file, place, (bent, parts) in _flipped(case, mask, stride):
            after = said(parts)
            told = (name, file, place, hex(mask), after[2][-1])
            assert not any(finding.code == "kind_failed" for finding in after[2]), told
            if file.endswith("ccel_data.dat.gz"):
                assert after[2] != before[2] or after[3] == before[3] or _remark(before, after), (
                    told
                )
            elif after[0]:
                assert after == before, told
                content = _content(file)
                whole = encodings.peel(selftest.sample(file))
                assert content(bent) == content(whole), told


def _remark(before: Any, after: Any) -> bool:
    """True when only what no register holds has changed: fewer claims, never other ones."""
    old, new = before[3]["event_log"], after[3]["event_log"]
    unheld = ("events", "boot_images")  # counted by the events' types, which no register holds
    return all(new[name] in (old[name], None) or not new[name] for name in new.keys() - unheld)


@pytest.mark.parametrize("name", sorted(SWEPT))
def test_a_changed_byte_is_noticed_or_changes_nothing_that_counts(name):
    _sweep(name, (0x01, 0x20), SWEPT[name])


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(SWEPT))
def test_every_byte_of_every_file_is_noticed_or_changes_nothing_that_counts(name):
    _sweep(name, (0x01, 0x20, 0x80), 1)
