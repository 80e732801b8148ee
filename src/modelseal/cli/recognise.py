"""``verify`` and ``inspect``: what a file is, told by its bytes and never by its name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from modelseal import container, processors, trust
from modelseal.attest.verify import bundle, ear
from modelseal.cli import files
from modelseal.cli.talk import Progress
from modelseal.container import VerifiedModel
from modelseal.errors import InvalidBytes, NotSealed, TokenIssuer, TokenMalformed, TrustSignature
from modelseal.license import air_gap, tokens
from modelseal.license.claims import (
    RequestClaims,
)
from modelseal.trust import Trust, Use
from modelseal.types import from_numeric

if TYPE_CHECKING:
    from modelseal.desk.filesource import FileSource

_MAX_BYTES = trust.MAX_BYTES
_TOKENS: dict[str, Any] = {cls.TYP: cls for cls in get_args(tokens.ServerClaims)}
_RESPONSE = "air-gap response"
_BUNDLE = "endorsement bundle"
_TIMES = {"iat", "nbf", "exp", "renew_after_at"}
_LONG = {"keys", "status_list", "lst", "ct", "kem", "lease_token", "delegation"}


def inspect(path: Path) -> dict[str, Any]:
    """What can be read of ``path`` without key or trust; nothing of it is proved."""
    if container.is_sealed(_head(path)):
        with files.about(path), _source(path) as source:
            return {"kind": "sealed model", "verified": False, **container.inspect(source)}
    data = files.read(path, _MAX_BYTES)
    return {"kind": _kind(data, path), "verified": False, "size_bytes": len(data)}


def verify(path: Path, trust_path: Path, progress: Progress) -> dict[str, Any]:
    """What ``path`` is, proved against the pinned trust: signatures, and every leaf of a model."""
    with files.about(trust_path):
        pinned = trust.parse(files.read(trust_path))
    with files.about(path):
        if container.is_sealed(_head(path)):
            return _verify_model(path, pinned, lambda done, total: progress(done, total, path.name))
        data = files.read(path, _MAX_BYTES)
        kind = _kind(data, path)
        if kind == trust.TYP:
            return _verify_trust(data, pinned)
        if kind == _RESPONSE:
            return _verify_response(data, pinned)
        if kind == _BUNDLE:
            return _verify_bundle(data, pinned)
        if kind == ear.TYP:
            return _verify_result(data, pinned)
        return _verify_token(data, kind, pinned)


def _verify_model(
    path: Path, pinned: Trust, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    with _source(path) as source:
        model: VerifiedModel = container.parse(source).verify_signatures(
            pinned.publisher_keys(), product=pinned.product
        )
        model.verify_leaves(progress, threads=processors.count())
        return {"kind": "sealed model", "verified": True, **container.inspect(source)}


def _kind(data: bytes, path: Path) -> str:
    """What ``data`` says it is; ``NotSealed`` when it is nothing of ours."""
    if air_gap.is_response(data):
        return _RESPONSE
    if bundle.is_bundle(data):
        return _BUNDLE
    with suppress(InvalidBytes):
        return tokens.peek_typ(data.strip())
    with suppress(InvalidBytes):
        trust.parse(data)
        return trust.TYP
    raise NotSealed("neither a sealed model, nor a token, nor a trust.json", path=str(path))


def _verify_trust(data: bytes, pinned: Trust) -> dict[str, Any]:
    found = trust.parse(data)
    if found.root_bytes != pinned.root_bytes:
        raise TrustSignature("it hangs on another root than the pinned one")
    return {
        "kind": trust.TYP,
        "verified": True,
        "product": found.product,
        "server_id": found.server_id,
        "root_version": found.root_version,
        "keys_version": found.keys_version,
    }


def _verify_response(data: bytes, pinned: Trust) -> dict[str, Any]:
    """Whose it is and what it carries; every token in it is proved."""
    found = air_gap.decode(data)
    if found.server != pinned.server_id:
        raise TokenIssuer("the response of another server")
    carried: dict[str, Any] = {}
    for name in ("lease", "license", "denial", "status"):
        token = getattr(found, name)
        if token is not None:
            carried[name] = _verify_token(token.encode(), tokens.peek_typ(token), pinned)
    return {
        "kind": _RESPONSE,
        "verified": True,
        "op": found.op,
        "product": found.product,
        "device_key": found.jkt,
        "next_count": len(found.next),
        "seat_free_at": None if found.seat_free_at is None else from_numeric(found.seat_free_at),
        "trust": found.trust is not None,
        **carried,
    }


def _verify_bundle(data: bytes, pinned: Trust) -> dict[str, Any]:
    from modelseal.desk import endorsing

    found = endorsing.check(data, pinned, datetime.now(UTC))
    return {"kind": _BUNDLE, "verified": True, **endorsing.shown(found)}


def _verify_result(data: bytes, pinned: Trust) -> dict[str, Any]:
    found = ear.read(data.strip(), lambda kid, at: pinned.verify_keys(Use.ATTESTATION, kid, at))
    return {"kind": ear.TYP, "verified": True, **found[ear.DEVELOPER]}


def _verify_token(data: bytes, typ: str, pinned: Trust) -> dict[str, Any]:
    data = data.strip()
    if typ == RequestClaims.TYP:
        claims: msgspec.Struct = tokens.read_request(
            data,
            server_id=pinned.server_id,
            jwk=None,
            any_operation=True,
            max_bytes=tokens.MAX_AIR_GAP_BYTES,
        )
    elif typ in _TOKENS:
        claims = tokens.read(data, _TOKENS[typ], pinned, max_bytes=_MAX_BYTES)
    else:
        raise TokenMalformed("a kind of token this release does not know")
    shown = {name: _shown(name, value) for name, value in msgspec.to_builtins(claims).items()}
    return {"kind": typ, "verified": True, **shown}


def _shown(name: str, value: Any) -> Any:
    if name in _TIMES and isinstance(value, int):
        return from_numeric(value)
    if name in _LONG:
        return f"({len(value)} items)" if isinstance(value, list) else "(sealed)"
    return value


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(container.PROLOGUE_BYTES)
    except OSError:
        return files.read(path)[: container.PROLOGUE_BYTES]


def _source(path: Path) -> FileSource:
    from modelseal.desk.filesource import FileSource

    return FileSource(path)
