"""Tokens as they arrive: form first, then signatures that do not hold."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz.harness import vector
from fuzz.trusting import TRUST
from modelseal.license import jws, tokens

MAX_BYTES = 1 << 14


def seeds() -> Iterable[bytes]:
    """The vectors, valid and refused."""
    for file in ("valid", "refused"):
        for each in vector(f"tokens/{file}.json")["tokens"]:
            yield each["token"].encode()
    delegated = vector("tokens/delegated.json")
    for name in ("delegation", "lease", "license"):
        yield delegated[name].encode()
    for each in delegated["refused"]:
        yield each["token"].encode()


def check(data: bytes) -> None:
    """Reading for every ``typ`` refuses; what has the form is written in that one form."""
    parsed = jws.parse(data, max_bytes=1 << 16)
    assert 1 <= len(parsed.signatures) <= jws.MAX_SIGNATURES
    tokens.peek_typ(data)
    cls = tokens.KINDS.get(parsed.typ)
    if cls is not None and hasattr(cls, "USE"):
        tokens.read(data, cls, TRUST)
    tokens.read_request(data, server_id=TRUST.server_id, any_operation=True)
