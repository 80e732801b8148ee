"""Evidence under fuzzing: a verdict whatever the bytes, twice the same, and no kind that fails."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from modelseal.attest import selftest
from modelseal.attest.verify import Endorsements, Evidence, appraise, strict
from modelseal.errors import EvidenceInvalid

NOW = datetime(2025, 7, 4, 10, 20, tzinfo=UTC)
MAX_BYTES = 16384


def samples(kind: str) -> list[bytes]:
    """Every recorded file of evidence of ``kind``."""
    return sorted(
        {selftest.sample(case.evidence[0]) for case in selftest.cases() if case.kind == kind}
    )


@cache
def _endorsements(kind: str) -> Endorsements:
    names = {name for case in selftest.cases() if case.kind == kind for name in case.endorsements}
    return Endorsements(tuple(selftest.sample(name) for name in sorted(names)))


def check(kind: str, data: bytes) -> None:
    """Returns for genuine evidence; ``EvidenceInvalid`` for what is not."""
    evidence = Evidence(kind, (data,))
    result = appraise(evidence, data[:64], _endorsements(kind), strict(), NOW)
    assert result.code != "kind_failed", result.record()
    assert not result.affirming
    again = appraise(evidence, data[:64], _endorsements(kind), strict(), NOW)
    assert again.digest == result.digest
    if not result.genuine:
        raise EvidenceInvalid(result.code)
