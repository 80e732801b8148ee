"""Recorded evidence of seven vendors, judged at its own time against the verdict that is known.

The samples lie beside this file, with their origins and licences in ``samples/README.md``;
``samples/table.json`` says for each what to judge it with and what has to come out. A build whose
verifier drifts, or lacks a library, shows it here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from modelseal.attest.verify import Endorsements, Evidence, appraise, strict
from modelseal.attest.verify import policy as policies
from modelseal.attest.verify.registry import builtin
from modelseal.attest.verify.result import AttestationResult


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table. ``rules`` None is the strict policy."""

    name: str
    kind: str
    evidence: tuple[str, ...]
    endorsements: tuple[str, ...]
    report_data: bytes | None
    rules: dict[str, Any] | None
    at: str
    known: dict[str, Any]

    def judge(self) -> AttestationResult:
        """The verdict of this build."""
        policy = strict()
        if self.rules is not None:
            policy = policies.parse(policies.write(self.rules), builtin()).base
        return appraise(
            Evidence(self.kind, tuple(map(sample, self.evidence))),
            self.report_data,
            Endorsements(tuple(map(sample, self.endorsements))),
            policy,
            datetime.fromisoformat(self.at),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """What came out. ``as_known``: it is the verdict of the table."""

    name: str
    kind: str
    at: str
    genuine: bool
    status: str
    step: str
    code: str
    reason: str
    as_known: bool

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@cache
def sample(name: str) -> bytes:
    """The bytes of one recorded file."""
    return (files("modelseal.attest") / "samples" / name).read_bytes()


@cache
def cases() -> tuple[Case, ...]:
    """The whole table, in its order."""
    return tuple(
        Case(
            name=row["name"],
            kind=row["kind"],
            evidence=tuple(row["evidence"]),
            endorsements=tuple(row.get("endorsements", ())),
            report_data=bytes.fromhex(row["report_data"]) if "report_data" in row else None,
            rules=row.get("rules"),
            at=row["at"],
            known=row["known"],
        )
        for row in json.loads(sample("table.json"))
    )


def run() -> list[Row]:
    """Every case judged, the good ones and those that have to be refused."""
    return [_row(case, case.judge()) for case in cases()]


def _row(case: Case, result: AttestationResult) -> Row:
    found = Row(
        name=case.name,
        kind=case.kind,
        at=case.at,
        genuine=result.genuine,
        status=result.status.value,
        step=result.step.value,
        code=result.code,
        reason=result.reason,
        as_known=True,
    )
    as_known = all(getattr(found, name) == value for name, value in case.known.items())
    return replace(found, as_known=as_known)
