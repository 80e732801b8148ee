"""AMD SEV-SNP: report, the chip's or the cloud's key (VCEK, VLEK), and AMD's chain above it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from modelseal.attest.verify import amd_roots, pki, snp_cert, snp_json, snp_report, wrappers
from modelseal.attest.verify.endorsements import certificates_in, crls_in
from modelseal.attest.verify.kinds import Case, Kind, Option
from modelseal.attest.verify.snp_cert import Extensions
from modelseal.attest.verify.snp_report import Report, Tcb
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step, malformed
from modelseal.types import Level

_WRAPPED = ("report", "attestation_report", "evidence", "outblob", "auxblob", "cert_table")
TCB_PARTS = ("bootloader", "tee", "snp", "microcode", "fmc")
OPTIONS: Mapping[str, Option] = {
    "allow_debug": Option(False),
    "allow_migration": Option(False),
    "forbid_smt": Option(False),
    "vmpl": Option([0], (0, 1, 2, 3)),
    "signers": Option(["vcek", "vlek"], ("vcek", "vlek")),
    "minimum_tcb": Option({}, TCB_PARTS),
}


def _judge(case: Case, ledger: Ledger) -> None:
    parts = _opened(case.parts)
    raw, others = wrappers.pick(parts, snp_report.looks_like)
    report, rest = snp_report.read(raw)
    carried = [*snp_report.table(rest)] if rest else []
    for other in others:
        carried += [other] if certificates_in(other) else [*snp_report.table(other)]
    judge_report(report, carried, case, ledger)
    ledger.bound["report_data"] = report.report_data


def _opened(files: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The files, with JSON round them or made of them undone."""
    opened: list[bytes] = []
    for part in files:
        found = wrappers.document(part)
        members = found.get("attestation_report") if isinstance(found, dict) else None
        if isinstance(members, dict):
            opened += [snp_json.report(members), *snp_json.certificates(found.get("cert_chain"))]
        else:
            opened += wrappers.flatten([part], _WRAPPED)
    return tuple(opened)


def judge_report(report: Report, carried: Iterable[bytes], case: Case, ledger: Ledger) -> None:
    """Everything but the binding. ``carried``: certificates that came with the evidence."""
    ledger.claims.update(report.claims())
    ledger.measured.update(report.measured())
    ledger.ok(Step.PARSE)
    came = [c for data in carried for c in certificates_in(data)]
    leaf = _signer(report, [*came, *case.endorsements.certificates])
    chain = _chain(leaf, [*came, *case.endorsements.certificates], case)
    said = snp_cert.read(leaf)
    _same_product(report, said, chain)
    ledger.ok(Step.CHAIN)
    lists = [*case.endorsements.crls, *(crl for data in carried for crl in crls_in(data))]
    pki.judge_revocation(chain, lists, case.now, ledger, leaf_listed=False)
    _check_signature(report, leaf)
    _check_extensions(report, said)
    ledger.ok(Step.SIGNATURE)
    if pki.judge_validity(chain, case.now, ledger):
        ledger.ok(Step.FRESHNESS)
    ledger.chip = None if said.hwid is None else said.hwid.hex()
    ledger.owner = said.csp
    _platform(report, said, case.options, ledger)


def _signer(report: Report, certificates: list[x509.Certificate]) -> x509.Certificate:
    """The certificate of the key that signed; of several the one whose key fits."""
    if report.signer not in ("vcek", "vlek"):
        raise NotGenuine(Step.SIGNATURE, "snp_not_signed")
    leaves = [c for c in certificates if snp_cert.is_leaf(c)][: pki.MAX_TRIED]
    if not leaves:
        raise NotGenuine(Step.CHAIN, "certificate_missing", name=report.signer.upper())
    return next((leaf for leaf in leaves if _holds(report, leaf)), leaves[0])


def _chain(
    leaf: x509.Certificate, others: list[x509.Certificate], case: Case
) -> tuple[x509.Certificate, ...]:
    """Intermediates that were given have to fit; the shipped ones help only where none was."""
    given = [c for c in others if pki.is_ca(c) and pki.der_of(c) not in case.roots]
    shipped = [pki.load(der, "a shipped intermediate") for der in amd_roots.INTERMEDIATES]
    return pki.to_root(leaf, given or shipped, case.roots)


def _same_product(report: Report, said: Extensions, chain: tuple[x509.Certificate, ...]) -> None:
    """Milan evidence under a Genoa key is nobody's: report, leaf and issuer name one product."""
    if report.cpu_product not in (None, said.product):
        raise NotGenuine(Step.CHAIN, "snp_product", report=report.cpu_product, key=said.product)
    issuer = pki.common_name(chain[1])
    kind = "SEV-VLEK" if said.csp is not None else "SEV"
    if issuer != f"{kind}-{said.product}":
        raise NotGenuine(Step.CHAIN, "snp_product", report=issuer, key=said.product)


def _holds(report: Report, leaf: x509.Certificate) -> bool:
    key = pki.ec_key(leaf, ec.SECP384R1)
    if key is None:
        return False
    signed = report.raw[: snp_report.SIGNED_BYTES]
    try:
        key.verify(encode_dss_signature(*report.signature), signed, ec.ECDSA(SHA384()))
    except (InvalidSignature, ValueError):
        return False
    return True


def _check_signature(report: Report, leaf: x509.Certificate) -> None:
    if not _holds(report, leaf):
        raise NotGenuine(Step.SIGNATURE, "signature_invalid", detail="the report's")


def _check_extensions(report: Report, said: Extensions) -> None:
    """The key belongs to this chip at these security versions, or to this cloud."""
    signer = "vlek" if said.csp is not None else "vcek"
    if report.signer != signer:
        raise NotGenuine(Step.SIGNATURE, "snp_signer", report=report.signer, key=signer)
    if report.reported_tcb(said.product) != said.tcb:
        raise NotGenuine(
            Step.SIGNATURE,
            "snp_tcb_mismatch",
            report=_tcb_text(report.reported_tcb(said.product)),
            key=_tcb_text(said.tcb),
        )
    if said.hwid is None:
        return
    masked = not any(report.chip_id)
    if not masked and report.chip_id != said.hwid.ljust(len(report.chip_id), b"\0"):
        raise NotGenuine(Step.SIGNATURE, "snp_chip_mismatch")


def _tcb_text(tcb: Tcb) -> str:
    return " ".join(f"{name} {value}" for name, value in tcb.as_map().items())


def _platform(report: Report, said: Extensions, options: Mapping[str, Any], ledger: Ledger) -> None:
    reported, launched = report.reported_tcb(said.product), report.launch_tcb(said.product)
    ledger.claims.update(
        product=said.product,
        reported_tcb=reported.as_map(),
        launch_tcb=launched.as_map(),
        committed_tcb=report.tcb(0x1E0, said.product).as_map(),
        current_tcb=report.tcb(0x38, said.product).as_map(),
    )
    if said.csp is not None:
        ledger.claims["csp"] = said.csp
    before = len(ledger.findings)
    if report.debug and not options["allow_debug"]:
        ledger.refuse(Step.PLATFORM, "debug_enabled")
    if report.migratable and not options["allow_migration"]:
        ledger.refuse(Step.PLATFORM, "migration_allowed")
    if report.vmpl not in options["vmpl"]:
        ledger.refuse(Step.PLATFORM, "vmpl_not_allowed", vmpl=report.vmpl)
    if report.signer not in options["signers"]:
        ledger.refuse(Step.PLATFORM, "signer_not_allowed", signer=report.signer)
    if report.raw[0x40] & 1 and options["forbid_smt"]:
        ledger.refuse(Step.PLATFORM, "smt_enabled")
    _minimum(reported, launched, options["minimum_tcb"], ledger)
    if len(ledger.findings) == before:
        ledger.ok(Step.PLATFORM)


def _minimum(reported: Tcb, launched: Tcb, minimum: Mapping[str, int], ledger: Ledger) -> None:
    """AMD judges no TCB: what is new enough is for the policy to say, and unknown until it does."""
    if not minimum:
        ledger.unknown(Step.PLATFORM, "minimum_tcb_missing")
        return
    for tcb in (reported, launched):
        has = tcb.as_map()
        for name, wanted in minimum.items():
            if has.get(name, 0) < wanted:
                ledger.refuse(
                    Step.PLATFORM, "tcb_too_old", part=name, got=has.get(name, 0), wanted=wanted
                )
                return


def golden_options(claims: Mapping[str, Any]) -> dict[str, Any]:
    """What a golden machine says of itself, as the least that others must have."""
    if not isinstance(claims.get("reported_tcb"), dict):
        malformed("claims without security versions")
    lowest = {
        name: min(value, claims["launch_tcb"].get(name, 0))
        for name, value in claims["reported_tcb"].items()
    }
    return {"minimum_tcb": lowest, "vmpl": [claims["vmpl"]], "signers": [claims["signer"]]}


KIND = Kind(
    name="snp",
    level=Level.L4,
    judge=_judge,
    reference=(
        "measurement",
        "host_data",
        "id_key_digest",
        "author_key_digest",
        "family_id",
        "image_id",
    ),
    bound_bytes=64,
    options=OPTIONS,
    roots=amd_roots.ROOTS,
    golden=("measurement", "host_data"),
    golden_options=golden_options,
)
