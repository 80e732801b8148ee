"""Azure confidential VMs: hardware report, the paravisor's claims in it, the vTPM's key in them.

1. the hardware's report (SEV-SNP) or quote (TDX) is genuine
2. it binds the claims, which name the vTPM's attestation key
3. that key signed the quote over the PCRs; its extra data is what was asked for
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from modelseal.attest.verify import (
    amd_roots,
    azure_hcl,
    encodings,
    event_log,
    intel_roots,
    sgx_tdx,
    snp,
    snp_report,
    wrappers,
)
from modelseal.attest.verify.azure_hcl import Hcl
from modelseal.attest.verify.endorsements import certificates_in
from modelseal.attest.verify.kinds import Case, Kind, Option
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step, malformed
from modelseal.errors import EvidenceInvalid, Misuse
from modelseal.tpm2.wire.attest import Attest, Quoted, Signature
from modelseal.tpm2.wire.codes import Alg
from modelseal.tpm2.wire.policy import pcr_digest
from modelseal.types import Level

_PCRS, _PCR_BYTES = 24, 32
_VERSIONS = (None, 1, 2, 3)


@dataclass(frozen=True, slots=True)
class _Parts:
    hcl: bytes
    message: bytes
    signature: bytes
    pcrs: tuple[bytes, ...]
    vcek: bytes | None
    td_quote: bytes | None
    beside: tuple[bytes, ...]


def _judge(case: Case, ledger: Ledger) -> None:
    parts = _read(case.parts)
    hcl = azure_hcl.read(parts.hcl)
    key = hcl.attestation_key()
    stated, signature = _statement(parts)
    certificates = tuple(part for part in parts.beside if certificates_in(part))
    _judge_hardware(hcl, parts, certificates, case, ledger)
    _judge_quote(stated, signature, key, parts)
    _tell(hcl, stated, parts, case, ledger)
    for log in (part for part in parts.beside if part not in certificates):
        _replay(log, parts.pcrs, ledger)


def _judge_hardware(
    hcl: Hcl, parts: _Parts, certificates: tuple[bytes, ...], case: Case, ledger: Ledger
) -> None:
    if hcl.tdx:
        if parts.td_quote is None:
            raise NotGenuine(Step.CHAIN, "certificate_missing", name="td_quote")
        found = sgx_tdx.judge_quote(parts.td_quote, case, ledger, tdx=True, others=certificates)
        sgx_tdx.judge_td(found, ledger)
        hcl.check_td(found.body)
        hcl.check_bound(found.report_data)
        return
    report, rest = snp_report.read(hcl.report)
    if rest or parts.td_quote is not None:
        malformed("a quote of TDX beside a report of SEV-SNP")
    carried = [*certificates, *([parts.vcek] if parts.vcek else [])]
    snp.judge_report(report, carried, case, ledger)
    hcl.check_bound(report.report_data)


def _read(files: tuple[bytes, ...]) -> _Parts:
    """The members of the JSON among ``files``, by the names that collectors give them."""
    raw, beside = wrappers.pick(files, lambda part: part.lstrip()[:1] == b"{")
    found = wrappers.document(raw)
    if not isinstance(found, dict):
        malformed("no JSON object")
    version = found.get("version")
    quote = found.get("tpm_quote", found.get("quote"))
    hcl = found.get("hcl_report", found.get("report"))
    if version not in _VERSIONS or isinstance(version, bool):
        malformed("a version that is not known here")
    if not isinstance(quote, dict) or not isinstance(quote.get("pcrs"), list):
        malformed("no quote with its PCRs")
    if len(quote["pcrs"]) != _PCRS:
        malformed(f"not {_PCRS} PCRs")
    pcrs = tuple(wrappers.blob(value, "a PCR") for value in quote["pcrs"])
    if any(len(value) != _PCR_BYTES for value in pcrs):
        malformed("a PCR of another length")
    td_quote = found.get("td_quote")
    return _Parts(
        hcl=wrappers.blob(hcl, "hcl_report"),
        message=wrappers.blob(quote.get("message"), "message"),
        signature=wrappers.blob(quote.get("signature"), "signature"),
        pcrs=pcrs,
        vcek=_certificate(found.get("vcek")),
        td_quote=wrappers.blob(td_quote, "td_quote") if td_quote else None,
        beside=beside,
    )


def _certificate(value: Any) -> bytes | None:
    if value in (None, ""):
        return None
    if isinstance(value, str) and "-----BEGIN" in value[:64]:
        return value.encode("utf-8", "replace")
    return wrappers.blob(value, "vcek")


def _statement(parts: _Parts) -> tuple[Attest, Signature]:
    """The TPM's statement and signature; the signature bare, as the vTPM's tools write it."""
    try:
        stated = Attest.from_bytes(parts.message)
        bare = len(parts.signature) in (256, 384, 512)
        signature = (
            Signature(Alg.RSASSA, Alg.SHA256, parts.signature)
            if bare
            else Signature.from_bytes(parts.signature)
        )
    except (EvidenceInvalid, Misuse) as error:
        malformed(error.detail)
    return stated, signature


def _judge_quote(
    stated: Attest, signature: Signature, key: rsa.RSAPublicKey, parts: _Parts
) -> None:
    try:
        signature.verify(key, parts.message)
    except EvidenceInvalid:
        raise NotGenuine(Step.SIGNATURE, "signature_invalid", detail="the virtual TPM's") from None
    quoted = stated.statement
    if not isinstance(quoted, Quoted):
        malformed("a statement of the TPM that is no quote")
    if [(s.bank, s.registers) for s in quoted.selections] != [(Alg.SHA256, tuple(range(_PCRS)))]:
        malformed("a quote over other registers than the 24 of SHA-256")
    values = {(int(Alg.SHA256), number): value for number, value in enumerate(parts.pcrs)}
    if pcr_digest(quoted.selections, values) != quoted.pcr_digest:
        raise NotGenuine(Step.SIGNATURE, "pcr_digest_mismatch")


def _tell(hcl: Hcl, stated: Attest, parts: _Parts, case: Case, ledger: Ledger) -> None:
    pcrs = {f"pcr{number}": value.hex() for number, value in enumerate(parts.pcrs)}
    ledger.measured.update(pcrs)
    configuration = hcl.claims.get("vm-configuration")
    configuration = configuration if isinstance(configuration, dict) else {}
    ledger.claims.update(
        hardware="tdx" if hcl.tdx else "snp",
        vm_configuration=configuration,
        user_data=str(hcl.claims.get("user-data", "")),
        nonce=stated.extra.hex(),
        pcrs=pcrs,
    )
    if configuration.get("secure-boot") is not True and not case.options["allow_insecure_boot"]:
        ledger.refuse(Step.PLATFORM, "secure_boot_off")
    ledger.bound["nonce"] = stated.extra


def _replay(log: bytes, pcrs: tuple[bytes, ...], ledger: Ledger) -> None:
    found = event_log.read(encodings.peel(log))
    registers = found.replay("sha256")
    ledger.claims["event_log"] = found.facts("sha256")
    wrong = [
        f"pcr{number}"
        for number, value in sorted(registers.items())
        if number < _PCRS and pcrs[number] != value
    ]
    if wrong:
        ledger.refuse(Step.MEASUREMENT, "event_log_mismatch", names=wrong)
    else:
        ledger.claims["event_log_replayed"] = True


def _golden(claims: Mapping[str, Any]) -> dict[str, Any]:
    of = sgx_tdx.TDX.golden_options if claims.get("hardware") == "tdx" else snp.golden_options
    return of(claims) if of is not None else {}


KIND = Kind(
    name="azure-vtpm",
    level=Level.L4,
    judge=_judge,
    reference=(
        "pcr(?:[0-9]|1[0-9]|2[0-3])",
        *snp.KIND.reference,
        *sgx_tdx.TDX.reference,
    ),
    options={
        **sgx_tdx.OPTIONS,
        **snp.OPTIONS,
        "allow_insecure_boot": Option(False),
    },
    roots=(*amd_roots.ROOTS, *intel_roots.ROOTS),
    golden=(
        *(f"pcr{number}" for number in (0, 2, 3, 4, 7, 8, 9, 11, 12)),
        "measurement",
        "mr_td",
    ),
    golden_options=_golden,
)
