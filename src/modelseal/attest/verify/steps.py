"""The steps of an appraisal, and the ledger in which an evidence kind writes what it found.

Two questions are kept apart. *Genuine*: did hardware whose root is pinned here say this?
*Acceptable*: is what it said good enough? A kind raises ``NotGenuine`` for a no to the first and
writes findings for the second. A step of which nothing was written is unknown, never affirming.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn


class Step(StrEnum):
    """What is asked, in this order."""

    PARSE = "parse"
    CHAIN = "chain"
    REVOCATION = "revocation"
    SIGNATURE = "signature"
    BINDING = "binding"
    FRESHNESS = "freshness"
    PLATFORM = "platform"
    MEASUREMENT = "measurement"
    COMPOSITE = "composite"


class Status(StrEnum):
    """The four answers of an attestation result (AR4SI); ``none`` says that it is not known."""

    AFFIRMING = "affirming"
    NONE = "none"
    WARNING = "warning"
    CONTRAINDICATED = "contraindicated"

    @property
    def gravity(self) -> int:
        """How much it weighs: of several findings the heaviest decides."""
        return _GRAVITY[self]


_GRAVITY = {
    Status.AFFIRMING: 0,
    Status.NONE: 1,
    Status.WARNING: 2,
    Status.CONTRAINDICATED: 3,
}
ORDER = {step: place for place, step in enumerate(Step)}
OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer: ``code`` is stable (``ok`` when affirming), ``params`` fill its text.

    ``waived``: the policy says by name that this step may stay unknown.
    """

    step: Step
    status: Status
    code: str = OK
    params: Mapping[str, Any] = field(default_factory=dict)
    waived: bool = False


class NotGenuine(Exception):
    """The evidence is not shown to come from hardware under a pinned root.

    A verdict rather than an error: ``appraise`` catches it.
    """

    def __init__(self, step: Step, code: str, **params: Any) -> None:
        super().__init__(f"{step}: {code}")
        self.step = step
        self.code = code
        self.params = params


def malformed(detail: str) -> NoReturn:
    """Raise for bytes that are not what the kind reads; ``detail`` is technical English."""
    raise NotGenuine(Step.PARSE, "evidence_malformed", detail=detail)


class Ledger:
    """What a kind found. Everything in ``claims`` is a JSON value, bytes as lower-case hex.

    ``bound`` are the values that the evidence binds, by the field's name: one of them must equal
    the expected report data. ``measured`` is what reference values are compared with. ``chip`` and
    ``owner`` are set only where the signed evidence or its certificate proves them.
    """

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.findings: list[Finding] = []
        self.bound: dict[str, bytes] = {}
        self.measured: dict[str, str] = {}
        self.chip: str | None = None
        self.owner: str | None = None

    def ok(self, step: Step) -> None:
        """The step holds."""
        self.findings.append(Finding(step, Status.AFFIRMING))

    def unknown(self, step: Step, code: str, **params: Any) -> None:
        """The step could not be judged."""
        self.findings.append(Finding(step, Status.NONE, code, params))

    def warn(self, step: Step, code: str, **params: Any) -> None:
        """Genuine, with a known weakness."""
        self.findings.append(Finding(step, Status.WARNING, code, params))

    def refuse(self, step: Step, code: str, **params: Any) -> None:
        """Genuine, and not acceptable."""
        self.findings.append(Finding(step, Status.CONTRAINDICATED, code, params))
