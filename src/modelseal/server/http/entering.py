"""Activations in front of the framework: those that come while others are under way go together.

Only what is plain to see: one whole body of the right type. Anything else about the same address
goes through to the framework, whose handler answers in the same words.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from anyio import CapacityLimiter, to_thread
from litestar.types import ASGIApp, Receive, Scope, Send

from modelseal.server.http import problems
from modelseal.server.http.work import DEVICE_BODY_BYTES, JWT
from modelseal.server.services import Server
from modelseal.server.services.activation import Activated
from modelseal.server.services.calls import DeviceCalls, Entering
from modelseal.server.services.limits import prefix
from modelseal.server.store.together import MOST

ROUTE = "/v1/devices"
ENOUGH = 16
"""So many begin beside those that are under way; fewer wait for these, and share what one costs."""
_AT_ONCE = 2
"""While one group waits for the disk, requests of the next are verified."""
_ODD = frozenset({b"content-encoding", b"transfer-encoding", b"expect"})
_JSON = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
_ENCODER = msgspec.json.Encoder()


def in_front(app: ASGIApp, server: Server) -> ASGIApp:
    """``app``, whose plain activations are answered here."""
    gate = Gate(server.devices)

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_plain(scope):
            await app(scope, receive, send)
            return
        scope["path_template"] = ROUTE
        status, headers, data = await _answer(gate, scope, receive)
        headers = [*headers, (b"content-length", str(len(data)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": data, "more_body": False})

    return front


async def _answer(
    gate: Gate, scope: Scope, receive: Receive
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    try:
        body, client = await _body(receive), scope.get("client")
        activated = await gate.activate(Entering(body, prefix(client[0] if client else None)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is answered as a problem
        shown = problems.rendered(error)
        kind = (b"content-type", (shown.media_type or problems.MEDIA_TYPE).encode())
        more = [(name.lower().encode(), value.encode()) for name, value in shown.headers.items()]
        return shown.status_code or 500, [kind, *more], shown.content
    return 201, _JSON, _ENCODER.encode(activated)


def _is_plain(scope: Any) -> bool:
    if scope["path"] != ROUTE or scope["method"] != "POST" or scope.get("root_path"):
        return False
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    return (
        not scope["query_string"]
        and headers.get(b"content-type") == JWT.encode()
        and _ODD.isdisjoint(headers)
        and length.isdigit()
        and int(length) <= DEVICE_BODY_BYTES
    )


async def _body(receive: Receive) -> bytes:
    """The whole body, no longer than was said; what came of it when whoever sends it is gone."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


class Gate:
    """Gathers activations; lives in one event loop."""

    def __init__(self, calls: DeviceCalls) -> None:
        self._calls = calls
        self._waiting: list[tuple[Entering, asyncio.Future[Activated]]] = []
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()
        # Threads of their own: acts that wait for one another must not keep other calls waiting.
        self._threads = CapacityLimiter(_AT_ONCE)

    async def activate(self, asked: Entering) -> Activated:
        """The device with its first lease; raises as ``DeviceCalls.activate`` does."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Activated] = loop.create_future()
        self._waiting.append((asked, future))
        if not self._running or (self._running < _AT_ONCE and len(self._waiting) >= ENOUGH):
            self._running += 1
            task = loop.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._carry_out(batch)
        finally:
            self._running -= 1

    async def _carry_out(self, batch: list[tuple[Entering, asyncio.Future[Activated]]]) -> None:
        asked = [item for item, _future in batch]
        try:
            outcomes = await to_thread.run_sync(
                self._calls.activate_many, asked, limiter=self._threads
            )
        except BaseException as error:
            for _item, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_item, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():  # whoever asked is gone
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
