"""How tests of the evidence kinds ask for a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import modelseal.attest
from modelseal.attest.verify.appraise import Evidence, appraise
from modelseal.attest.verify.endorsements import Endorsements
from modelseal.attest.verify.policy import parse, write
from modelseal.attest.verify.registry import builtin
from modelseal.attest.verify.result import AttestationResult
from modelseal.attest.verify.steps import Status, Step

SAMPLES = Path(modelseal.attest.__file__).parent / "samples"
NOW = datetime(2025, 6, 1, tzinfo=UTC)


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def judge(
    kind: str,
    *parts: bytes,
    expected: bytes | None = None,
    roots: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
    endorsements: Iterable[bytes] = (),
    reference: Mapping[str, Any] | None = None,
    rules: Mapping[str, Any] | None = None,
    now: datetime = NOW,
) -> AttestationResult:
    """The verdict under the strict policy but for what is given."""
    said: dict[str, Any] = dict(rules or {})
    if roots:
        said["roots"] = {kind: list(roots)}
    if options:
        said[kind] = dict(options)
    if reference is not None:
        said["reference"] = {kind: [dict(reference)]}
    policy = parse(write(said), builtin()).base
    given = Endorsements(tuple(endorsements))
    return appraise(Evidence(kind, parts), expected, given, policy, now)


def verdict(result: AttestationResult) -> tuple[bool, str, str]:
    return result.genuine, result.step.value, result.code


def found(result: AttestationResult, step: Step) -> list[str]:
    """The codes that were written for ``step``, in order."""
    return [f.code for f in result.submodules[0].findings if f.step is step]


def holds(result: AttestationResult, step: Step) -> bool:
    """True when the step was judged, and only affirmed."""
    listed = [f for f in result.submodules[0].findings if f.step is step]
    return bool(listed) and all(f.status is Status.AFFIRMING for f in listed)
