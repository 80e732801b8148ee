"""The answer to a renewal that was there whole: h11 learns of it only where the answer is odd."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from h11 import ConnectionClosed
from uvicorn.protocols.http.h11_impl import RequestResponseCycle
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

from modelseal.server.http import plain
from modelseal.server.http.plain import Plain

Later = Callable[[], Awaitable[Any]]


class Whole:
    """``receive`` of a renewal that was there whole before anybody was asked.

    Told so by its class, ``front`` checks nothing that ``plain`` has checked and sets no clock.
    """

    __slots__ = ("_body", "_later", "device_id")

    def __init__(self, device_id: str, body: bytes, later: Later) -> None:
        self.device_id = device_id
        self._body: bytes | None = body
        self._later = later

    async def __call__(self) -> Any:
        """First the body, then that the client went away or was answered."""
        if self._body is None:
            return await self._later()
        return {"type": "http.request", "body": self.take(), "more_body": False}

    def take(self) -> bytes:
        """The body; once."""
        body, self._body = self._body or b"", None
        return body


class PlainCycle(RequestResponseCycle):
    """uvicorn's cycle, whose usual answer is one write.

    ``held`` is what came after the request. ``tell_h11`` is called before an answer that h11 has
    to write: from then on everything is uvicorn's.
    """

    def __init__(self, asked: Plain, tell_h11: Callable[[], None], **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.held = bytearray()
        self.more_body = False
        self._tell_h11: Callable[[], None] | None = tell_h11
        self._start: Any = None
        self._asked = asked

    async def run_asgi(self, app: Any) -> None:
        await super().run_asgi(partial(self._run, app))

    async def _run(self, app: Any, scope: Any, _receive: Any, send: Any) -> Any:
        whole = Whole(self._asked.device_id, self._asked.body, self.receive)
        del self._asked  # a connection that is kept keeps no body
        try:
            return await app(scope, whole, send)
        finally:
            if self._start is not None:  # begun, but it has no end
                await self._by_uvicorn()

    async def send(self, message: Any) -> None:
        if self._tell_h11 is None:
            await super().send(message)
        elif self._start is None and message["type"] == "http.response.start":
            self._start = message  # goes out with its body
        else:
            await self._answer(message)

    async def _answer(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        head = None if self._start is None else self._head(message)
        if head is None or self.disconnected:
            await self._by_uvicorn()
            await super().send(message)
            return
        if self.access_log:
            self._log_access(self._start["status"])
        self._start = self._tell_h11 = None
        self.response_started = self.response_complete = True
        self.message_event.set()
        self.transport.write(head + message.get("body", b""))
        if not self.keep_alive:
            self.conn.send(ConnectionClosed())
            self.transport.close()
        self.on_response()

    def _log_access(self, status: int) -> None:
        who, path = get_client_addr(self.scope), get_path_with_query_string(self.scope)
        line = '%s - "%s %s HTTP/%s" %d'
        self.access_logger.info(line, who, self.scope["method"], path, "1.1", status)

    def _head(self, message: Any) -> bytes | None:
        if message["type"] != "http.response.body" or message.get("more_body", False):
            return None
        headers = [*self.default_headers, *self._start.get("headers", ())]
        return plain.head_of(self._start["status"], headers, len(message.get("body", b"")))

    async def _by_uvicorn(self) -> None:
        """What was begun is written, and what follows will be, as for any other request."""
        start, self._start = self._start, None
        tell, self._tell_h11 = self._tell_h11, None
        if tell is not None and not self.disconnected:
            tell()
        if start is not None:
            await super().send(start)


__all__ = ["PlainCycle", "Whole"]
