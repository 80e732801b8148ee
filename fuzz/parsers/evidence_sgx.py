"""SGX quotes."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz import appraised

MAX_BYTES = appraised.MAX_BYTES


def seeds() -> Iterable[bytes]:
    """The recorded ones."""
    yield from appraised.samples("sgx")


def check(data: bytes) -> None:
    """Judged without failing, the same twice, never affirmed by the strict policy."""
    appraised.check("sgx", data)
