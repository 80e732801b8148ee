"""Appraisal policies: an operator's file, JSON or TOML."""

from __future__ import annotations

from collections.abc import Iterable

from modelseal.attest import selftest
from modelseal.attest.verify import policy
from modelseal.attest.verify.registry import builtin

MISUSE = True


def seeds() -> Iterable[bytes]:
    """The policies of the recorded evidence, and one in TOML."""
    for case in selftest.cases():
        if case.rules is not None:
            yield policy.write(case.rules)[:4096]
    yield b'typ = "modelseal-appraisal-policy"\nversion = 1\n[snp.minimum_tcb]\nsnp = 20\n'


def check(data: bytes) -> None:
    """What is accepted says the same when it is written again."""
    found = policy.parse(data, builtin()).base
    assert policy.parse(policy.write(dict(found.rules)), builtin()).base.digest == found.digest
