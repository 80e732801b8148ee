"""Small tools of every handler: threads for services, bodies as they came, who asks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from anyio import to_thread
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler

from modelseal.errors import CredentialInvalid, Misuse
from modelseal.server.services import LocalAdmin, Server
from modelseal.server.services.limits import NETWORK, prefix
from modelseal.strict_json import JsonInvalid, has_nul, no_duplicates

T = TypeVar("T")
AnyRequest = Request[Any, Any, Any]
JWT = "application/jwt"
JSON = "application/json"
DEVICE_BODY_BYTES = 64 * 1024
ATTESTED_BODY_BYTES = 2 * 1024 * 1024
DELEGATED_BODY_BYTES = 96 * 1024
ADMIN_BODY_BYTES = 256 * 1024
SIGNED_BODY_BYTES = 16 * 1024 * 1024
_MAX_DEPTH = 32


async def run(act: Callable[..., T], *args: Any) -> T:
    """What ``act`` returns, run in a worker thread: services block on the store."""
    return await to_thread.run_sync(lambda: act(*args))


def network_of(request: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The network of whoever asks, as limits count it."""
    return prefix(request.client.host if request.client else None)


def check_media_type(request: AnyRequest, wanted: str) -> None:
    """Returns when the body is plain ``wanted``; status 415 otherwise."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(status_code=415, detail="bodies are sent uncompressed")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
        raise HTTPException(status_code=415, detail=f"the body is {wanted}")


async def token_of(request: AnyRequest) -> bytes:
    """The request token in the body, at most 64 KiB."""
    check_media_type(request, JWT)
    return await request.body()


async def read(request: AnyRequest, kind: type[T]) -> T:
    """The JSON body as a ``kind``; ``Misuse`` says what is wrong with it."""
    check_media_type(request, JSON)
    data = await request.body()
    _check_depth(data)
    try:
        text = data.decode("utf-8") or "{}"
    except UnicodeDecodeError:
        raise Misuse("the body is not acceptable: it is not UTF-8") from None
    try:
        if has_nul(text):
            raise Misuse("the body is not acceptable: a text holds NUL")
        found = msgspec.json.decode(text, type=kind, strict=True)
        _MEMBERS.decode(text)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise Misuse(f"the body is not acceptable: {error}"[:300]) from None
    except JsonInvalid as error:
        raise Misuse(f"the body is not acceptable: {error.detail}") from None
    return found


def _check_depth(data: bytes) -> None:
    depth = 0
    for byte in data.translate(None, _PLAIN):
        depth += 1 if byte in b"[{" else -1
        if depth > _MAX_DEPTH:
            raise Misuse("the body is nested too deep", limit=_MAX_DEPTH)


_MEMBERS = json.JSONDecoder(object_pairs_hook=no_duplicates)
"""Another reader, who would see that a member stands twice."""
_PLAIN = bytes(set(range(256)) - set(b"[]{}"))


def administrators(
    server: Server,
) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Any]:
    """A guard that lets in whoever shows an admin token, before any body is read."""

    async def guard(
        connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler
    ) -> None:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        now = server.context.now()
        server.devices.limiter.take(NETWORK, network_of(connection), now)
        if scheme.lower() != "bearer" or not token.strip():
            raise CredentialInvalid("an admin call needs a bearer token")
        actor = await run(server.tokens.authenticate, token.strip())
        connection.scope["state"]["admin"] = LocalAdmin(
            server, actor, idempotency_key=connection.headers.get("idempotency-key")
        )

    return guard


def tag_of(request: AnyRequest) -> str | None:
    """The ETag in ``If-Match`` without its quotes; None when any will do."""
    tag = request.headers.get("if-match")
    if tag is None or tag.strip() == "*":
        return None
    found = _TAG.fullmatch(tag.strip())
    if found is None:
        raise Misuse("If-Match is the ETag that was read")
    return found["tag"]


def version_of(request: AnyRequest) -> int | None:
    """The version in ``If-Match``, -1 for what never was one; None when any will do."""
    tag = tag_of(request)
    if tag is None:
        return None
    return int(tag) if tag.isdecimal() and len(tag) <= 18 else -1


def versioned(record: T, tag: object) -> Response[T]:
    """``record`` with what names its state as ``ETag``."""
    return Response(record, headers={"ETag": f'"{tag}"'})


_TAG = re.compile(r'(?P<quote>"?)(?P<tag>[A-Za-z0-9_-]{1,64})(?P=quote)')
ONCE = {"Idempotency-Key": "1 to 128 characters; the same again is done once (section 9.1)."}
TAGGED = {"ETag": "Names this state, for If-Match."}
MATCH = {"If-Match": "The ETag that was read, or *."}


def admin_of(request: AnyRequest) -> LocalAdmin:
    """The calls of whoever the guard let in."""
    found: LocalAdmin = request.scope["state"]["admin"]
    return found
