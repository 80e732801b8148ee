"""The ASGI application over the services of one workspace."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
from anyio import to_thread
from litestar import Litestar, Request, Response, Router
from litestar.exceptions import HTTPException

from modelseal.errors import AccessDenied, ModelsealError
from modelseal.server.http import (
    admin_budgets,
    admin_catalog,
    admin_keys,
    admin_leases,
    admin_licenses,
    admin_relays,
    admin_webhooks,
    delegated,
    device,
    entering,
    files,
    heartbeat,
    openapi,
    problems,
    signin,
    wellknown,
    work,
)
from modelseal.server.http.addresses import Addresses
from modelseal.server.http.front import Front
from modelseal.server.services import Server

TICK_SECONDS = 0.5
DUE_SECONDS = 1.0
TELL_SECONDS = 1.0
BEAT_SECONDS = 1.0
REMIND_SECONDS = 86400.0
PUBLISHER_CALLS = [
    *admin_licenses.HANDLERS,
    *admin_leases.HANDLERS,
    *admin_catalog.HANDLERS,
    *admin_keys.HANDLERS,
    *admin_webhooks.HANDLERS,
    *admin_budgets.HANDLERS,
    *admin_relays.HANDLERS,
    *signin.HANDLERS,
]
_log = logging.getLogger("modelseal.server")


def create_app(server: Server, *, ticking: bool = True) -> Litestar:
    """The application. ``ticking`` runs what is due by itself: the log's sequencer, the catalog."""
    public = [
        *device.routes(server), *delegated.routes(server), *files.routes(server),
        *wellknown.routes(server), *signin.routes(server),
    ]  # fmt: skip
    publisher = Router(
        "/",
        route_handlers=PUBLISHER_CALLS,
        guards=[work.administrators(server)],
        request_max_body_size=work.ADMIN_BODY_BYTES,
    )
    described = [*public, *PUBLISHER_CALLS]
    front = Front(
        Addresses(openapi.templates(described)),
        server.devices.limiter,
        server.context.now,
        server.about.count,
    )
    return _Application(
        front,
        server,
        route_handlers=[*public, *openapi.routes(described), publisher],
        exception_handlers={
            Exception: problems.on_error,
            HTTPException: problems.on_error,
            ModelsealError: problems.on_error,
            AccessDenied: _denied(server),
        },
        openapi_config=None,
        lifespan=[lambda _app: _ticking(server)] if ticking else [],
        logging_config=None,
        request_max_body_size=work.DEVICE_BODY_BYTES,
    )


class _Application(Litestar):
    """The framework's application with ``front`` before all it does, its own refusals too."""

    def __init__(self, front: Front, server: Server, **settings: Any) -> None:
        super().__init__(**settings)
        self._front = front
        self._behind = heartbeat.in_front(entering.in_front(super().__call__, server), server)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._front(self._behind, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


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
            tasks.start_soon(_again_and_again, server.tick, TICK_SECONDS, "a tick")
            tasks.start_soon(
                _again_and_again, server.courier.start_due, DUE_SECONDS, "looking for messages"
            )
            tasks.start_soon(
                _again_and_again, functools.partial(_remind, server), REMIND_SECONDS, "a reminder"
            )
            tasks.start_soon(_again_and_again, server.about.tell, TELL_SECONDS, "telling numbers")
            tasks.start_soon(_beating, server)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
        try:
            server.about.tell()
            await to_thread.run_sync(server.retire)
        except ModelsealError as error:
            _log.warning("events wait for their place until the next start: %s", error)

    return lifespan()


async def _beating(server: Server) -> None:
    """From the event loop itself: threads that wait for a database are no reason to be replaced."""
    while True:
        server.about.beat()
        await anyio.sleep(BEAT_SECONDS)


def _remind(server: Server) -> None:
    for reminder in server.about.reminders() if server.about.is_first else ():
        _log.warning("%s", reminder)


async def _again_and_again(act: Callable[[], None], pause_seconds: float, what: str) -> None:
    """``act`` runs while the application lives; one failure is not the last word."""
    while True:
        try:
            await to_thread.run_sync(act)
        except ModelsealError as error:
            _log.warning("%s failed: %s", what, error)
        except Exception:  # noqa: BLE001 - logged whole; the next time tries again
            _log.exception("%s failed", what)
        await anyio.sleep(pause_seconds)
