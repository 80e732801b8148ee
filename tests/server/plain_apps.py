"""Applications that answer a renewal as it should be answered, or as it should not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.server.connections import connected
from tests.server.test_plain import BODY, PLAIN
from uvicorn.config import Config
from uvicorn.server import ServerState

App = Callable[[Any, Any, Any], Awaitable[Any]]
HALVES = (PLAIN[:70], PLAIN[70:])
JSON = (b"content-type", b"application/json")


def start(length: int | None, *more: tuple[Any, Any], status: int = 200) -> dict[str, Any]:
    said = [] if length is None else [(b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": status, "headers": [JSON, *more, *said]}


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def read(receive: Any) -> bytes:
    """The body, by as many messages as it came in."""
    message = await receive()
    assert message["type"] == "http.request"
    rest = await read(receive) if message["more_body"] else b""
    return bytes(message["body"]) + rest


def saying(*messages: Any) -> App:
    """An application that reads its request, sends ``messages``, and raises what is an error."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await read(receive) == BODY
        for message in messages:
            if isinstance(message, BaseException):
                raise message
            await send(message)

    return app


async def listening(_scope: Any, receive: Any, send: Any) -> None:
    """Looks whether the client is still there, as frameworks do."""
    await receive()
    after = asyncio.create_task(receive())
    await asyncio.sleep(0)
    assert not after.done()
    await send(start(2))
    await send(body(b"{}"))
    assert await after == {"type": "http.disconnect"} == await receive()


async def returning(_scope: Any, _receive: Any, send: Any) -> Any:
    await send(start(2))
    await send(body(b"{}"))
    return "what no application returns"


async def nothing_read(_scope: Any, _receive: Any, send: Any) -> None:
    await send(start(2))
    await send(body(b"{}"))


def run(test: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(test(), 300))


async def told(app: App, *segments: bytes, config: Config | None = None) -> tuple[Any, ...]:
    """What came of ``segments``: the bytes, whether the connection ended, whether by hand."""
    state = ServerState()
    async with connected(app, state, config) as link:
        await link.say(*segments)
        await link.answered()
        ended, by_hand = link.server.transport.is_closing(), link.by_hand
        return await link.rest(), ended, state.total_requests, by_hand


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, Any]]:
    """What was logged since the last look."""
    found = [
        (r.levelname, r.getMessage(), r.exc_info and repr(r.exc_info[1])) for r in caplog.records
    ]
    caplog.clear()
    return found
