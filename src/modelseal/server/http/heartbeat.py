"""Renewals in front of the framework: those that come while a tick is under way share the next.

Only what is plain to see: one whole body of the right type. Anything else about the same address
goes through to the framework, whose handler answers in the same words.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable
from typing import Any

from anyio import CapacityLimiter, to_thread
from litestar.types import ASGIApp, Receive, Scope, Send

from modelseal.errors import ModelsealError
from modelseal.server.http import direct
from modelseal.server.http.cycle import Whole
from modelseal.server.http.gathering import AT_ONCE, ENOUGH, Gathering
from modelseal.server.services import Server
from modelseal.server.services.calls import DeviceCalls
from modelseal.server.services.limits import prefix
from modelseal.server.services.ordinary import Asked
from modelseal.server.services.renewal import Renewed
from modelseal.server.services.ticks import MOST, Outcome

ROUTE = "/v1/leases/{device_id}"
_PATH = re.compile(r"/v1/leases/([A-Za-z0-9_.-]{1,128})")
AT_A_TIME = 4
"""So many renewals are judged before the event loop does what else there is to do."""
SPACE_SECONDS = 0.008
"""A tick begins so long after the one before at the earliest, for the same reason."""
PAUSE_SECONDS = 0.004
"""And, where fewer than ``ENOUGH`` wait, so long after the last one's end: those who come meanwhile
would otherwise wait for a tick of one."""


def in_front(app: ASGIApp, server: Server) -> ASGIApp:
    """``app``, whose plain renewals are answered here."""
    ticker = Ticker(server.devices)

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        device_id = receive.device_id if isinstance(receive, Whole) else _plain(scope)
        if device_id is None:
            await app(scope, receive, send)
            return

        async def act(body: bytes, client: str | None) -> Renewed:
            return await ticker.renew(Asked(device_id, body, prefix(client)))

        await direct.answer(scope, receive, send, route=ROUTE, status=200, act=act)

    return front


def _plain(scope: Any) -> str | None:
    """The device whose lease is to be renewed; None for any other request."""
    found = _PATH.fullmatch(scope["path"]) if scope["method"] == "PUT" else None
    return found[1] if found is not None and direct.is_plain(scope, "PUT") else None


class Ticker(Gathering[Asked, Outcome]):
    """Gathers renewals: while one tick is made durable, the next is looked up and judged."""

    def __init__(self, calls: DeviceCalls) -> None:
        super().__init__(MOST)
        self._calls = calls
        self._began_at = self._ended_at = 0.0
        self._one = asyncio.Lock()
        # Threads of their own: acts that wait for one another must not keep heartbeats waiting.
        self._threads = CapacityLimiter(AT_ONCE)

    async def renew(self, asked: Asked) -> Renewed:
        """The next lease; raises as ``DeviceCalls.renew`` does."""
        self._calls.let_in(asked)
        outcome = await self.gathered(asked)
        if isinstance(outcome, ModelsealError):
            raise outcome
        if outcome is None:
            return await to_thread.run_sync(self._calls.renew_alone, asked)
        return outcome

    async def _pause(self) -> None:
        now = asyncio.get_running_loop().time
        earliest = self._began_at + SPACE_SECONDS
        if len(self._waiting) < ENOUGH:
            earliest = max(earliest, self._ended_at + PAUSE_SECONDS)
        await asyncio.sleep(earliest - now())
        self._began_at = now()

    async def _carry_out(self, asked: list[Asked]) -> list[Outcome]:
        try:
            return await self._answered(asked)
        finally:
            self._ended_at = asyncio.get_running_loop().time()

    async def _answered(self, asked: list[Asked]) -> list[Outcome]:
        tick, turn = self._calls.tick(asked), _Turn(self._one)
        try:
            while not tick.is_done:
                await turn.take()
                await self._aside(tick.look)
                more = tick.judge_some(AT_A_TIME)
                while more:
                    await asyncio.sleep(0)
                    more = tick.judge_some(AT_A_TIME)
                if tick.is_left:
                    await self._aside(tick.judge)
                if tick.is_ready:
                    await self._aside(functools.partial(tick.write, turn.end_from_thread))
            return tick.outcomes()
        finally:
            turn.end()

    async def _aside(self, act: Callable[[], None]) -> None:
        await to_thread.run_sync(act, limiter=self._threads)


class _Turn:
    """Of all ticks one at a time works: two would only take the interpreter's lock in turns."""

    def __init__(self, one: asyncio.Lock) -> None:
        self._one = one
        self._loop = asyncio.get_running_loop()
        self._is_held = False

    async def take(self) -> None:
        """Nobody else works, until ``end``."""
        if not self._is_held:
            await self._one.acquire()
            self._is_held = True

    def end(self) -> None:
        """The next one may work."""
        if self._is_held:
            self._is_held = False
            self._one.release()

    def end_from_thread(self) -> None:
        """As ``end``, from any thread, soon."""
        self._loop.call_soon_threadsafe(self.end)
