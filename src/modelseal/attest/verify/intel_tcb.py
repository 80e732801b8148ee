"""Whether an Intel platform is up to date: ``dcap-qvl`` over the quote and stored collateral.

Offline only: of that library the one call that takes quote, collateral and time. What it refuses
is sorted out here by the step that it concerns; that the quote itself is genuine is decided by
``quote`` first, so that old collateral makes no forgery of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from cryptography import x509

from modelseal import strict_json
from modelseal.attest.verify.endorsements import crls_in
from modelseal.attest.verify.pki import when
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step
from modelseal.strict_json import JsonInvalid

STATUSES = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "TDRelaunchAdvised",
    "TDRelaunchAdvisedConfigurationNeeded",
)
_MEMBERS = ("tcb_info", "tcb_info_signature", "qe_identity", "qe_identity_signature")
_LISTS = ("root_ca_crl", "pck_crl")
_MAX_TEXT = 1 << 20
_CERTIFICATE_ENDED = re.compile(r"CertExpired.*?not_after: UnixTime\((\d{1,12})\)")


@dataclass(frozen=True)
class Collateral:
    """One collateral document as ``dcap-qvl`` writes it; nothing of it is verified here."""

    document: Mapping[str, Any]

    @cached_property
    def tcb_info(self) -> Mapping[str, Any]:
        """What Intel says of the platform's levels; empty when it cannot be read."""
        return _object(self.document["tcb_info"])

    @cached_property
    def qe_identity(self) -> Mapping[str, Any]:
        """What Intel says of its quoting enclave; empty when it cannot be read."""
        return _object(self.document["qe_identity"])

    @property
    def fmspc(self) -> str:
        """The platform family that it is for, lower-case hex."""
        return str(self.tcb_info.get("fmspc", "")).lower()

    def crls(self) -> tuple[x509.CertificateRevocationList, ...]:
        """The revocation lists in it, of the root and of the platforms' issuer."""
        return tuple(crl for name in _LISTS for crl in crls_in(_bytes(self.document.get(name))))

    def ended_at(self) -> datetime | None:
        """The earliest end of its documents and lists, None when it names none."""
        ends = [_instant(part.get("nextUpdate")) for part in (self.tcb_info, self.qe_identity)]
        ends += [crl.next_update_utc for crl in self.crls()]
        known = [end for end in ends if end is not None]
        return min(known) if known else None

    def issued_at(self) -> datetime | None:
        """The later issue date of its two signed documents, None when it names none."""
        starts = [_instant(part.get("issueDate")) for part in (self.tcb_info, self.qe_identity)]
        known = [start for start in starts if start is not None]
        return max(known) if known else None


def find(documents: Iterable[Any], *, tdx: bool, fmspc: str | None) -> Collateral | None:
    """The collateral for this kind of machine, best for this platform; None when there is none."""
    found = [c for c in map(_collateral, documents) if c is not None]
    wanted = "TDX" if tdx else "SGX"
    if len(found) > 1:
        found.sort(key=lambda c: (c.tcb_info.get("id", "SGX") != wanted, c.fmspc != fmspc))
    return found[0] if found else None


def _collateral(document: Any) -> Collateral | None:
    if not isinstance(document, dict) or not all(
        isinstance(document.get(name), str) for name in _MEMBERS
    ):
        return None
    return Collateral(document)


def _object(text: str) -> dict[str, Any]:
    try:
        value = strict_json.decode(text, max_bytes=_MAX_TEXT)
    except JsonInvalid:
        return {}
    return value if isinstance(value, dict) else {}


def _bytes(text: Any) -> bytes:
    try:
        return bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return b""


def _instant(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None


def judge(
    raw: bytes, collateral: Collateral, root: bytes, now: datetime, ledger: Ledger
) -> dict[str, Any] | None:
    """What ``dcap-qvl`` says of a quote, None where it refuses; then the findings say why.

    Its verdict covers revocation, freshness and signature too. ``NotGenuine`` when a certificate
    of the chain is revoked or the quoting enclave is not Intel's.
    """
    try:
        import dcap_qvl
    except ImportError:
        ledger.unknown(Step.PLATFORM, "extra_missing", extra="attest")
        return None
    at = int(now.timestamp())
    try:
        given = dcap_qvl.QuoteCollateralV3.from_json(json.dumps(dict(collateral.document)))
        verifier = dcap_qvl.QuoteVerifier(root)
        said = verifier.verify_with_policy(raw, given, at, dcap_qvl.QuotePolicy.claims_only(at))
        claims: dict[str, Any] = json.loads(said.to_json())
    except Exception as error:  # noqa: BLE001 - it raises ValueError for all; a panic is no verdict
        _refused(str(error), collateral, now, ledger)
        return None
    return claims


def _refused(said: str, collateral: Collateral, now: datetime, ledger: Ledger) -> None:
    reason = said.removeprefix("Verification failed: ")
    if "CertRevoked" in reason:
        raise NotGenuine(Step.REVOCATION, "certificate_revoked", name="PCK")
    if reason.startswith(("QE MRSIGNER mismatch", "QE ISVPRODID mismatch")):
        raise NotGenuine(Step.CHAIN, "quoting_enclave_unknown")
    ended, start = collateral.ended_at(), collateral.issued_at()
    certificate = _CERTIFICATE_ENDED.search(reason)
    if certificate is not None:
        ended = datetime.fromtimestamp(int(certificate[1]), UTC)
    if ended is not None and ended <= now:
        _expired(ended, now, ledger)
    elif start is not None and now < start:
        ledger.refuse(Step.FRESHNESS, "collateral_not_yet_valid", at=when(start))
        ledger.unknown(Step.PLATFORM, "tcb_unknown")
    else:
        _platform(reason, ledger)


def _expired(end: datetime, now: datetime, ledger: Ledger) -> None:
    days = (now - end).days
    ledger.refuse(Step.FRESHNESS, "collateral_expired", at=when(end), days=days)
    ledger.unknown(Step.PLATFORM, "tcb_unknown")


def _platform(reason: str, ledger: Ledger) -> None:
    """Refusals that concern the machine or the guest; the rest is collateral of no use."""
    if "Debug mode is enabled" in reason:
        ledger.refuse(Step.PLATFORM, "debug_enabled")
    elif any(word in reason for word in ("TD profiling", "SEPT_VE", "TD migration", "SERVTD_EXT")):
        ledger.refuse(Step.PLATFORM, "td_attributes", detail=reason[:80])
    elif "TCB status is invalid: Revoked" in reason:
        ledger.refuse(Step.PLATFORM, "tcb_revoked")
    elif any(word in reason for word in ("TDX module", "TCB level", "minimum required")):
        ledger.refuse(Step.PLATFORM, "tcb_not_listed", detail=reason[:160])
    elif "must have version" in reason:
        ledger.unknown(Step.PLATFORM, "tcb_not_judged", detail=reason[:80])
    elif "mismatch" in reason or "non-TDX" in reason or "non-SGX" in reason:
        ledger.unknown(Step.PLATFORM, "collateral_foreign", detail=reason[:160])
    else:
        ledger.unknown(Step.PLATFORM, "collateral_invalid", detail=reason[:160])
