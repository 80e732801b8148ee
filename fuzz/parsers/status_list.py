"""The deflated bits of a status list."""

from __future__ import annotations

from collections.abc import Iterable

from modelseal.license import status
from modelseal.license.claims import StatusListBody
from modelseal.strict_json import b64u


def seeds() -> Iterable[bytes]:
    """Lists of some sizes, and a bomb."""
    import zlib

    for size in (1, 4, 1000, 1 << 16):
        yield zlib.compress(status.pack({0: status.Status.REVOKED}, size), 9)
    yield zlib.compress(bytes(1 << 24), 9)[:4096]


def check(data: bytes) -> None:
    """What is inflated is no longer than a list may be, and deflates to the same bits."""
    bits = status.unpack(StatusListBody(bits=2, lst=b64u(data)))
    assert len(bits) <= status.MAX_ENTRIES // 4
    assert status.unpack(status.body(bits)) == bits
