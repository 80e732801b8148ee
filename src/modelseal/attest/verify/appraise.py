"""Appraising evidence: pure, bytes in, a result out, at a ``now`` of the caller's choosing.

1. parse, chain, revocation, signature: the kind's own file; a no ends it, *not genuine*
2. binding: one of the bound values is the expected report data, byte for byte
3. freshness, platform: the kind's findings
4. measurement: reference values of the policy
5. who: chip and owner, where the policy lists them
6. composite: kinds that must stand together
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from modelseal.attest.verify import encodings
from modelseal.attest.verify.endorsements import MAX_ITEMS, Endorsements
from modelseal.attest.verify.kinds import Case, Kind
from modelseal.attest.verify.policy import Policy
from modelseal.attest.verify.registry import builtin
from modelseal.attest.verify.result import AttestationResult, Submodule
from modelseal.attest.verify.steps import Finding, Ledger, NotGenuine, Status, Step
from modelseal.errors import EvidenceInvalid, Misuse
from modelseal.types import check_aware

MAX_EVIDENCES = 16


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence of one kind: its files, as they came."""

    kind: str
    parts: tuple[bytes, ...]

    @property
    def digest(self) -> bytes:
        """SHA-256 over kind and parts, each with its length."""
        whole = hashlib.sha256(b"modelseal/evidence/v1")
        for part in (self.kind.encode("utf-8"), *self.parts):
            whole.update(len(part).to_bytes(8, "big") + part)
        return whole.digest()


def appraise(
    evidence: Evidence | Sequence[Evidence],
    expected_report_data: bytes | Mapping[str, bytes] | None,
    endorsements: Endorsements,
    policy: Policy,
    now: datetime,
    *,
    kinds: Mapping[str, Kind] | None = None,
) -> AttestationResult:
    """What ``evidence`` proves at ``now``. Hostile bytes give a result, never an exception.

    ``expected_report_data`` is one value, or one by kind where several stand together; None leaves
    the binding unknown. ``kinds`` adds kinds of third parties to the built-in ones. ``Misuse`` for
    a kind nobody knows, a naive ``now``, or no evidence at all.
    """
    at = check_aware(now)
    known = {**(kinds or {}), **builtin()}
    evidences = (evidence,) if isinstance(evidence, Evidence) else tuple(evidence)
    if not 1 <= len(evidences) <= MAX_EVIDENCES or not all(e.parts for e in evidences):
        raise Misuse(f"an appraisal is of 1 to {MAX_EVIDENCES} pieces of evidence")
    for one in evidences:
        if one.kind not in known:
            raise Misuse(f"no evidence kind {one.kind[:32]!r}")
    judged = tuple(
        _submodule(
            known[one.kind],
            one,
            _expected(expected_report_data, one.kind),
            endorsements,
            policy,
            at,
        )
        for one in evidences
    )
    return AttestationResult(
        submodules=judged,
        composite=_composite(judged, policy),
        evidence_digest=_together(evidences),
        endorsements_digest=endorsements.digest,
        policy_digest=policy.digest,
        now=at,
    )


def _expected(given: bytes | Mapping[str, bytes] | None, kind: str) -> bytes | None:
    return given.get(kind) if isinstance(given, Mapping) else given


def _together(evidences: tuple[Evidence, ...]) -> bytes:
    if len(evidences) == 1:
        return evidences[0].digest
    return hashlib.sha256(b"".join(one.digest for one in evidences)).digest()


def _submodule(
    kind: Kind,
    evidence: Evidence,
    expected: bytes | None,
    endorsements: Endorsements,
    policy: Policy,
    now: datetime,
) -> Submodule:
    ledger = Ledger()
    try:
        if len(evidence.parts) > MAX_ITEMS or len(endorsements.items) > MAX_ITEMS:
            raise NotGenuine(
                Step.PARSE, "evidence_malformed", detail=f"more than {MAX_ITEMS} files"
            )
        case = Case(
            kind=kind.name,
            parts=tuple(encodings.peel(part) for part in evidence.parts),
            expected=expected,
            endorsements=endorsements,
            options=policy.options_of(kind),
            roots=policy.roots.get(kind.name, kind.roots),
            now=now,
        )
        kind.judge(case, ledger)
    except NotGenuine as no:
        return _not_genuine(kind, ledger, no)
    except EvidenceInvalid as error:
        malformed = NotGenuine(Step.PARSE, "evidence_malformed", detail=error.detail)
        return _not_genuine(kind, ledger, malformed)
    except Exception as error:  # noqa: BLE001 - a kind that fails on hostile bytes fails closed
        name = type(error).__name__
        return _not_genuine(kind, ledger, NotGenuine(Step.PARSE, "kind_failed", detail=name))
    _bind(kind, ledger, expected)
    _measure(kind, ledger, policy)
    _who(kind, ledger, policy)
    _complete(ledger)
    findings = tuple(_waive(finding, policy) for finding in ledger.findings)
    return Submodule(
        kind.name, kind.level, True, findings, ledger.claims, ledger.measured, ledger.bound
    )


def _not_genuine(kind: Kind, ledger: Ledger, no: NotGenuine) -> Submodule:
    finding = Finding(no.step, Status.CONTRAINDICATED, no.code, no.params)
    return Submodule(kind.name, kind.level, False, (*ledger.findings, finding), ledger.claims)


def _bind(kind: Kind, ledger: Ledger, expected: bytes | None) -> None:
    """A value of another length is refused as such: it is never padded, cut or hashed to fit."""
    if expected is None:
        ledger.unknown(Step.BINDING, "binding_not_asked")
        return
    lengths = {kind.bound_bytes} if kind.bound_bytes else {len(v) for v in ledger.bound.values()}
    matches = [n for n, v in ledger.bound.items() if hmac.compare_digest(v, expected)]
    if matches and expected:
        ledger.claims["bound_by"] = matches[0]
        ledger.ok(Step.BINDING)
    elif len(expected) not in lengths:
        wanted = "/".join(str(length) for length in sorted(lengths)) or "0"
        ledger.refuse(Step.BINDING, "binding_length", got=len(expected), wanted=wanted)
    else:
        ledger.refuse(Step.BINDING, "binding_mismatch")


def _measure(kind: Kind, ledger: Ledger, policy: Policy) -> None:
    machines = policy.reference.get(kind.name)
    if not machines:
        ledger.unknown(Step.MEASUREMENT, "reference_missing")
        return
    for machine in machines:
        if all(ledger.measured.get(name) in values for name, values in machine.items()):
            ledger.ok(Step.MEASUREMENT)
            return
    nearest = min(
        machines, key=lambda m: sum(ledger.measured.get(n) not in v for n, v in m.items())
    )
    moved = sorted(n for n, v in nearest.items() if ledger.measured.get(n) not in v)
    ledger.refuse(Step.MEASUREMENT, "measurement_mismatch", names=moved)


def _who(kind: Kind, ledger: Ledger, policy: Policy) -> None:
    if policy.kinds is not None and kind.name not in policy.kinds:
        ledger.refuse(Step.PLATFORM, "kind_not_allowed", kind=kind.name)
    for listed, found, what in (
        (policy.chips, ledger.chip, "chip"),
        (policy.owners, ledger.owner, "owner"),
    ):
        if listed is None:
            continue
        if found is None:
            ledger.refuse(Step.PLATFORM, f"{what}_not_proved")
        elif found not in listed:
            ledger.refuse(Step.PLATFORM, f"{what}_not_listed", found=found)


def _complete(ledger: Ledger) -> None:
    """What a kind said nothing of is unknown; composite is judged over all kinds together."""
    judged = {finding.step for finding in ledger.findings}
    for step in Step:
        if step not in judged and step is not Step.COMPOSITE:
            ledger.unknown(step, "step_not_judged", name=step.value)


def _waive(finding: Finding, policy: Policy) -> Finding:
    if finding.status is Status.NONE and finding.step in policy.accept_unknown:
        return Finding(finding.step, finding.status, finding.code, finding.params, waived=True)
    return finding


def _composite(judged: tuple[Submodule, ...], policy: Policy) -> Finding:
    good = {one.kind for one in judged if one.status is Status.AFFIRMING}
    for group in policy.composite:
        if not group & good:
            return Finding(
                Step.COMPOSITE,
                Status.CONTRAINDICATED,
                "composite_missing",
                {"kinds": sorted(group)},
            )
    return Finding(Step.COMPOSITE, Status.AFFIRMING)
