"""The claims of tokens behind a signature that holds: what a signer's mistake may look like."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz.harness import vector
from fuzz.trusting import SIGNER, TRUST
from modelseal import strict_json
from modelseal.errors import ModelsealError
from modelseal.license import jws, tokens

MAX_BYTES = 1 << 13
_TYPS = sorted(tokens.KINDS)


def seeds() -> Iterable[bytes]:
    """The number of a ``typ``, then the claims as JSON."""
    for each in vector("tokens/valid.json")["tokens"]:
        if each["typ"] in tokens.KINDS:
            number = _TYPS.index(each["typ"])
            yield bytes([number]) + strict_json.encode(each["claims"])
    for case in vector("tokens/refused.json")["tokens"]:
        try:
            parsed = jws.parse(case["token"], max_bytes=1 << 20)
            yield bytes([_TYPS.index(parsed.typ)]) + strict_json.encode(parsed.payload)
        except (ModelsealError, ValueError):
            continue


def check(data: bytes) -> None:
    """Claims that are accepted can be signed again, and say the same."""
    payload = strict_json.decode(data[1:], max_bytes=MAX_BYTES)
    typ = _TYPS[data[0] % len(_TYPS)]
    if not isinstance(payload, dict):
        return
    try:
        token = jws.build(typ, payload, [SIGNER])
    except UnicodeEncodeError:  # a lone surrogate cannot be written
        return
    cls = tokens.KINDS[typ]
    if not hasattr(cls, "USE"):
        tokens.read_request(token, server_id=TRUST.server_id, any_operation=True)
        return
    claims = tokens.read(token, cls, TRUST)
    assert tokens.read(tokens.sign(claims, [SIGNER]), cls, TRUST) == claims
