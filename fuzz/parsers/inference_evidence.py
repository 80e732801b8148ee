"""The evidence of an inference service, as a caller gets it from a stranger."""

from __future__ import annotations

from collections.abc import Iterable

from modelseal.attest.verify import Evidence
from modelseal.inference import statement
from modelseal.inference.statement import Statement


def seeds() -> Iterable[bytes]:
    """Statements with one and with several pieces."""
    one = Evidence("snp", (b"report",))
    yield statement.write(Statement((one,), (), {}))
    two = Evidence("nvidia", (b"a", b"b"))
    yield statement.write(Statement((one, two), (b"cert",), {"swap": "ab" * 32}))


def check(data: bytes) -> None:
    """What is read is written and read to the same."""
    found = statement.read(data)
    assert statement.read(statement.write(found)) == found
