"""The attestation result: two answers kept apart, and everything needed to come to them again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from modelseal import strict_json
from modelseal.attest.verify.reasons import reason
from modelseal.attest.verify.steps import ORDER, Finding, Status, Step
from modelseal.types import Level


def _deciding(findings: tuple[Finding, ...]) -> Finding:
    """The heaviest finding that is not waived; of equals the one of the earliest step."""
    return min(findings, key=lambda f: (f.waived, -f.status.gravity, ORDER[f.step]))


@dataclass(frozen=True)
class Submodule:
    """The verdict over one piece of evidence. ``findings`` never is empty."""

    kind: str
    level: Level
    genuine: bool
    findings: tuple[Finding, ...]
    claims: Mapping[str, Any]
    measured: Mapping[str, str] = field(default_factory=dict)
    bound: Mapping[str, bytes] = field(default_factory=dict)

    @cached_property
    def deciding(self) -> Finding:
        """The finding that decides the status."""
        return _deciding(self.findings)

    @property
    def status(self) -> Status:
        """Affirming only when every step is, or stays unknown by the policy's own word."""
        if not self.genuine:
            return Status.CONTRAINDICATED
        return Status.AFFIRMING if self.deciding.waived else self.deciding.status


@dataclass(frozen=True)
class AttestationResult:
    """What was appraised, and the verdict at ``now``.

    ``genuine``: every piece was said by hardware under a pinned root. ``status``: whether it is
    good enough. The three digests and ``now`` name the inputs, so that anybody who has them comes
    to the same result again.
    """

    submodules: tuple[Submodule, ...]
    composite: Finding
    evidence_digest: bytes
    endorsements_digest: bytes
    policy_digest: bytes
    now: datetime

    @property
    def genuine(self) -> bool:
        """All of the evidence is genuine."""
        return all(one.genuine for one in self.submodules)

    @cached_property
    def deciding(self) -> Finding:
        """The finding that decides the status; of evidence that is not genuine, why not."""
        for one in self.submodules:
            if not one.genuine:
                return one.findings[-1]
        findings = (*(one.deciding for one in self.submodules), self.composite)
        return _deciding(findings)

    @property
    def status(self) -> Status:
        """The worst status of the submodules and of their standing together."""
        every = [one.status for one in self.submodules] + [self.composite.status]
        return max(every, key=lambda status: status.gravity)

    @property
    def affirming(self) -> bool:
        """Genuine and good enough: the only answer that opens anything."""
        return self.genuine and self.status is Status.AFFIRMING

    @property
    def step(self) -> Step:
        """The step that decided; the last one when all hold."""
        return Step.COMPOSITE if self.affirming else self.deciding.step

    @property
    def code(self) -> str:
        """Stable; ``ok`` when affirming."""
        return "ok" if self.affirming else self.deciding.code

    @property
    def reason(self) -> str:
        """Why, in the language of the door, as an operator can act on it."""
        return reason("ok", {}) if self.affirming else reason(self.code, self.deciding.params)

    @property
    def claims(self) -> dict[str, Any]:
        """What the evidence says: of one piece its claims, of several a map by kind."""
        if len(self.submodules) == 1:
            return dict(self.submodules[0].claims)
        return {
            name: dict(one.claims) for name, one in zip(self.names, self.submodules, strict=True)
        }

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A name for each submodule: its kind, numbered from the second of its kind on."""
        seen: dict[str, int] = {}
        names = []
        for one in self.submodules:
            seen[one.kind] = seen.get(one.kind, 0) + 1
            names.append(one.kind if seen[one.kind] == 1 else f"{one.kind}-{seen[one.kind]}")
        return tuple(names)

    @property
    def level(self) -> Level:
        """The assurance level that this result shows: L0 unless affirming.

        A GPU raises a CPU's L4 to L5; alone it shows nothing about the memory of the host.
        """
        if not self.affirming:
            return Level.L0
        levels = {one.level for one in self.submodules}
        if Level.L5 in levels:
            return Level.L5 if Level.L4 in levels else Level.L0
        return max(levels)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the result's canonical JSON, without texts for people."""
        return hashlib.sha256(strict_json.encode(self.record())).digest()

    def record(self) -> dict[str, Any]:
        """The result as JSON values: codes and parameters, never prose."""
        return {
            "genuine": self.genuine,
            "status": self.status.value,
            "step": self.step.value,
            "code": self.code,
            "now": self.now.isoformat().replace("+00:00", "Z"),
            "digests": {
                "evidence": self.evidence_digest.hex(),
                "endorsements": self.endorsements_digest.hex(),
                "policy": self.policy_digest.hex(),
            },
            "submodules": {
                name: {
                    "kind": one.kind,
                    "genuine": one.genuine,
                    "status": one.status.value,
                    "findings": [_plain(finding) for finding in one.findings],
                    "claims": dict(one.claims),
                }
                for name, one in zip(self.names, self.submodules, strict=True)
            },
            "composite": _plain(self.composite),
        }


def _plain(finding: Finding) -> dict[str, Any]:
    found: dict[str, Any] = {
        "step": finding.step.value,
        "status": finding.status.value,
        "code": finding.code,
    }
    if finding.params:
        found["params"] = dict(finding.params)
    if finding.waived:
        found["waived"] = True
    return found
