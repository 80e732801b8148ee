"""An air-gap response, its digest set right, and numbered lines as QR codes carry them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from fuzz.harness import refusable, vector
from modelseal.license import air_gap, lease_code, parts

MAX_BYTES = 1 << 13
MISUSE = True  # a code that is mistyped is its user's mistake, and told so


def seeds() -> Iterable[bytes]:
    """The vectors, and lines made of one."""
    told = vector("airgap/responses.json")
    for each in (*told["valid"], *told["refused"]):
        yield bytes.fromhex(each["file"])
    yield "\n".join(vector("airgap/parts.json")["lines"]).encode()
    for each in vector("airgap/codes.json")["codes"]:
        yield each["code"].encode()


def check(data: bytes) -> None:
    """What is accepted is written the same way; lines join to no more than they may."""
    with refusable():
        found = parts.join(data, max_bytes=1 << 16)
        assert len(found) <= 1 << 16
        assert parts.join("\n".join(parts.split(found)).encode(), max_bytes=1 << 16) == found
    with refusable(misuse=True):
        lease_code.normal(data.decode("utf-8", "replace"))
    body = data[: -air_gap.DIGEST_BYTES]
    whole = body + hashlib.sha256(body).digest()
    assert air_gap.encode(air_gap.decode(whole)) == whole
