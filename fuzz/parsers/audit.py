"""An export of the audit log, checkpoints and bundles of entries."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz.harness import VECTORS, files, refusable, vector
from modelseal.audit import checkpoint, event, export, tiles, verify
from modelseal.crypto.signing import VerifyKey

MAX_BYTES = 1 << 17
_HEAD = (VECTORS / "audit" / "checkpoint").read_bytes()
_KEY = VerifyKey.from_jwk(vector("audit/log.json")["key"])


def seeds() -> Iterable[bytes]:
    """The vectors, whole and broken."""
    yield from files("audit/*.jsonl", MAX_BYTES)
    yield from files("audit/checkpoint")
    for each in vector("audit/log.json")["events"]:
        yield each["bytes"].encode()


def check(data: bytes) -> None:
    """Events and bundles are written the same way; an export holds or is refused."""
    with refusable():
        assert event.encode(event.decode(data)) == data
    with refusable():
        assert tiles.bundle(tiles.parse_bundle(data)) == data
    with refusable():
        checkpoint.verify(data, [_KEY])
    parsed = export.parse(data.splitlines())
    assert len(parsed.indexes) == len(parsed.claimed) == len(parsed.computed)
    verify.verify_export(data.splitlines(), _HEAD, [_KEY])
