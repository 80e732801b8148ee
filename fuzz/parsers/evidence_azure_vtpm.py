"""Azure's JSON round a hardware report and a quote of the virtual TPM."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz import appraised

MAX_BYTES = appraised.MAX_BYTES


def seeds() -> Iterable[bytes]:
    """The recorded ones."""
    yield from appraised.samples("azure-vtpm")


def check(data: bytes) -> None:
    """Judged without failing, the same twice, never affirmed by the strict policy."""
    appraised.check("azure-vtpm", data)
