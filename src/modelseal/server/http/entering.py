"""Activations in front of the framework: those that come while others are under way go together."""

from __future__ import annotations

import asyncio

from anyio import CapacityLimiter, to_thread
from litestar.types import ASGIApp, Receive, Scope, Send

from modelseal.server.http import direct
from modelseal.server.services import Server
from modelseal.server.services.activation import Activated
from modelseal.server.services.calls import MOST_ENTER, DeviceCalls, Entering
from modelseal.server.services.limits import prefix

ROUTE = "/v1/devices"
ENOUGH = 16
"""So many begin beside those that are under way; fewer wait for these, and share what one costs."""
_AT_ONCE = 2
"""While one group waits for the disk, requests of the next are verified."""


def in_front(app: ASGIApp, server: Server) -> ASGIApp:
    """``app``, whose plain activations are answered here."""
    gate = Gate(server.devices)

    async def enter(body: bytes, client: str | None) -> Activated:
        return await gate.activate(Entering(body, prefix(client)))

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == ROUTE and direct.is_plain(scope, "POST"):
            await direct.answer(scope, receive, send, route=ROUTE, status=201, act=enter)
        else:
            await app(scope, receive, send)

    return front


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
                batch, self._waiting = self._waiting[:MOST_ENTER], self._waiting[MOST_ENTER:]
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
