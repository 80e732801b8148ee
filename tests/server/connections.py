"""One connection to an application over a real socket, in the loop of the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from modelseal.server.http.protocol import Protocol
from modelseal.server.http.serving import configuration

DATE = (b"date", b"Sun, 01 Mar 2026 12:00:00 GMT")
LIMIT = 300.0


class Link:
    """The client's end, and what the server thinks of it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Protocol
    ) -> None:
        self.reader, self.writer, self.server = reader, writer, server
        self.segments = 0

    async def say(self, *segments: bytes) -> None:
        """Each of ``segments`` comes to the server by itself, and has come."""
        for segment in segments:
            self.segments += 1
            self.writer.write(segment)
            await until(self._came)

    def _came(self) -> bool:
        seen: list[bytes] = self.server.seen  # type: ignore[attr-defined]
        assert len(seen) >= self.segments or self.server in self.server.connections
        return len(seen) >= self.segments

    async def answered(self) -> None:
        """Nothing is under way any more."""
        await until(lambda: not self.server.tasks)

    async def rest(self) -> bytes:
        """All that the server has written and nobody has read; ends the connection."""
        self.server.transport.close()
        return await asyncio.wait_for(self.reader.read(), LIMIT)

    async def heard(self) -> bytes:
        """All that comes until the server ends the connection."""
        return await asyncio.wait_for(self.reader.read(), LIMIT)

    async def answer(self, body: bytes) -> bytes:
        """All that comes until ``body``."""
        return await asyncio.wait_for(self.reader.readuntil(body), LIMIT)

    @property
    def by_hand(self) -> bool:
        """h11 has read nothing on this connection so far."""
        return self.server.conn.their_http_version is None


class _Seen(Protocol):
    """Knows in which segments its bytes came."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.seen: list[bytes] = []
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.seen.append(data)


async def until(true: Any) -> None:
    """Returns when ``true`` says so."""
    async with asyncio.timeout(LIMIT):
        while not true():  # noqa: ASYNC110 - of what is asked nobody tells
            await asyncio.sleep(0.001)


@asynccontextmanager
async def connected(
    app: Any, state: ServerState | None = None, config: uvicorn.Config | None = None
) -> AsyncIterator[Link]:
    """A connection to ``app``, or to what ``config`` serves."""
    config = config or configuration(app, None, lifespan="off")
    state = state or ServerState()
    state.default_headers = [DATE, *config.encoded_headers]
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()

    def protocol() -> Protocol:
        return _Seen(config=config, server_state=state, app_state={"kept": 1}, _loop=loop)

    transport, server = await loop.connect_accepted_socket(protocol, theirs)
    reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 24)
    try:
        yield Link(reader, writer, server)
    finally:
        if server in state.connections:
            transport.abort()
        writer.close()
        await until(lambda: not state.connections)
        for task in list(state.tasks):
            task.cancel()
        await until(lambda: not state.tasks)


__all__ = ["DATE", "Link", "connected", "until"]
