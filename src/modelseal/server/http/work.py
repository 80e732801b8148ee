"""Small tools of every handler: threads for services, bodies as they came, who asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from anyio import to_thread
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler

from modelseal.errors import CredentialInvalid, Misuse
from modelseal.server.services import LocalAdmin, Server
from modelseal.server.services.limits import NETWORK, prefix

T = TypeVar("T")
AnyRequest = Request[Any, Any, Any]
JWT = "application/jwt"
JSON = "application/json"
DEVICE_BODY_BYTES = 64 * 1024
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
        return msgspec.json.decode(data or b"{}", type=kind, strict=True)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Misuse(f"the body is not acceptable: {error}"[:300]) from None


def _check_depth(data: bytes) -> None:
    depth = 0
    for byte in data.translate(None, _PLAIN):
        depth += 1 if byte in b"[{" else -1
        if depth > _MAX_DEPTH:
            raise Misuse("the body is nested too deep", limit=_MAX_DEPTH)


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
        connection.scope["state"]["admin"] = LocalAdmin(server, actor)

    return guard


def admin_of(request: AnyRequest) -> LocalAdmin:
    """The calls of whoever the guard let in."""
    found: LocalAdmin = request.scope["state"]["admin"]
    return found
