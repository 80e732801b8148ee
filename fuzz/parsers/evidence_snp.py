"""SEV-SNP reports, with what may lie in front of and behind them."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz import appraised

MAX_BYTES = appraised.MAX_BYTES


def seeds() -> Iterable[bytes]:
    """The recorded ones."""
    yield from appraised.samples("snp")


def check(data: bytes) -> None:
    """Judged without failing, the same twice, never affirmed by the strict policy."""
    appraised.check("snp", data)
