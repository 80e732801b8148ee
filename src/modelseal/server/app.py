"""The ASGI application over the services of one workspace."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
from anyio import to_thread
from litestar import Litestar, Request, Response, Router
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from modelseal.errors import AccessDenied, ModelsealError
from modelseal.server.http import (
    admin_catalog,
    admin_keys,
    admin_leases,
    admin_licenses,
    device,
    files,
    openapi,
    problems,
    wellknown,
    work,
)
from modelseal.server.services import Server

TICK_SECONDS = 0.5
PUBLISHER_CALLS = [
    *admin_licenses.HANDLERS,
    *admin_leases.HANDLERS,
    *admin_catalog.HANDLERS,
    *admin_keys.HANDLERS,
]
_log = logging.getLogger("modelseal.server")


def create_app(server: Server, *, ticking: bool = True) -> Litestar:
    """The application. ``ticking`` runs what is due by itself: the log's sequencer, the catalog."""
    public = [*device.routes(server), *files.routes(server), *wellknown.routes(server)]
    publisher = Router(
        "/",
        route_handlers=PUBLISHER_CALLS,
        guards=[work.administrators(server)],
        request_max_body_size=work.ADMIN_BODY_BYTES,
    )
    return Litestar(
        route_handlers=[*public, *openapi.routes([*public, *PUBLISHER_CALLS]), publisher],
        exception_handlers={
            Exception: problems.on_error,
            HTTPException: problems.on_error,
            ModelsealError: problems.on_error,
            AccessDenied: _denied(server),
        },
        middleware=[lambda app: counted(app, server)],
        openapi_config=None,
        lifespan=[lambda _app: _ticking(server)] if ticking else [],
        logging_config=None,
        request_max_body_size=work.DEVICE_BODY_BYTES,
    )


def _denied(server: Server) -> Callable[[Request[Any, Any, Any], AccessDenied], Response[bytes]]:
    """An admin call without the right to it stands in the log."""

    def on_error(request: Request[Any, Any, Any], error: AccessDenied) -> Response[bytes]:
        work.admin_of(request).record_denied(str(request.scope.get("path_template", "")))
        return problems.render(error)

    return on_error


def _ticking(server: Server) -> AbstractAsyncContextManager[None]:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tick, server)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
        try:
            await to_thread.run_sync(server.retire)
        except ModelsealError as error:
            _log.warning("events wait for their place until the next start: %s", error)

    return lifespan()


async def _tick(server: Server) -> None:
    """Sequences and refreshes while the application lives; one failure is not the last word."""
    while True:
        try:
            await to_thread.run_sync(server.tick)
        except ModelsealError as error:
            _log.warning("a tick failed: %s", error)
        except Exception:  # noqa: BLE001 - logged whole; the next tick tries again
            _log.exception("a tick failed")
        await anyio.sleep(TICK_SECONDS)


def counted(app: ASGIApp, server: Server) -> ASGIApp:
    """``app`` with its answers counted and the headers that every answer has."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), *_HEADERS]
                if not any(name.lower() == _CACHE[0] for name, _value in headers):
                    headers.append(_CACHE)
                message["headers"] = headers
                server.about.count(_route(scope), message["status"])
            await send(message)

        await app(scope, receive, sending)

    return middleware


_CACHE = (b"cache-control", b"no-store")  # what may be kept says so
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    (b"referrer-policy", b"no-referrer"),
]


def _route(scope: Scope) -> str:
    """The template of the path that was called, so that ids never become labels."""
    return str(scope.get("path_template") or "other")
