"""Activations in front of the framework: those that come while others are under way go together."""

from __future__ import annotations

from collections.abc import Sequence

from anyio import CapacityLimiter, to_thread
from litestar.types import ASGIApp, Receive, Scope, Send

from modelseal.server.http import direct
from modelseal.server.http.gathering import AT_ONCE, Gathering
from modelseal.server.services import Server
from modelseal.server.services.activation import Activated
from modelseal.server.services.calls import MOST_ENTER, DeviceCalls, Entering
from modelseal.server.services.limits import prefix

ROUTE = "/v1/devices"


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


class Gate(Gathering[Entering, Activated | Exception]):
    """Gathers activations: while a group waits for the disk, the next requests are verified."""

    def __init__(self, calls: DeviceCalls) -> None:
        super().__init__(MOST_ENTER)
        self._calls = calls
        # Threads of their own: acts that wait for one another must not keep other calls waiting.
        self._threads = CapacityLimiter(AT_ONCE)

    async def activate(self, asked: Entering) -> Activated:
        """The device with its first lease; raises as ``DeviceCalls.activate`` does."""
        outcome = await self.gathered(asked)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _carry_out(self, asked: list[Entering]) -> Sequence[Activated | Exception]:
        act = self._calls.activate_many
        return await to_thread.run_sync(act, asked, limiter=self._threads)
