"""What becomes of a connection while a plain renewal is under way and afterwards."""

from __future__ import annotations

import asyncio
import gc
import re
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.server.connections import connected, until
from tests.server.plain_apps import HALVES, body, logged, run, saying, start
from tests.server.test_plain import PLAIN, TARGET, request
from uvicorn.server import ServerState

from modelseal.server.http import protocol, serving
from modelseal.server.http.cycle import PlainCycle

GET = b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n"
WHOLE = saying(start(2), body(b"{}"))


@asynccontextmanager
async def waiting(state: ServerState | None = None, **more: Any) -> Any:
    """A connection, and an event for which the application of ``/v1/leases/`` waits."""
    may, begun, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == TARGET.decode():
            begun.set()
            await may.wait()
            if more.get("looks"):
                gone.set() if (await receive())["type"] == "http.disconnect" else None
        data = scope["path"].encode() + b"\n"
        await send(start(len(data)))
        await send(body(data))

    async with connected(app, state) as link:
        link.may, link.begun, link.gone = may, begun, gone
        yield link


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_comes_while_a_renewal_is_under_way_waits_and_is_answered_in_order(
    by_hand: bool,
) -> None:
    """Nothing more is read meanwhile."""

    async def test() -> None:
        async with waiting() as link:
            await link.say(*([PLAIN] if by_hand else HALVES))
            await link.begun.wait()
            await link.say(GET + PLAIN + GET[:9])
            assert link.server.flow.read_paused and link.by_hand == by_hand
            link.writer.write(GET[9:] + request((b"Connection", b"close")))
            link.may.set()
            heard = await link.heard()
            assert re.findall(rb"\n(/.*)\n", heard) == [
                TARGET,
                b"/other",
                TARGET,
                b"/other",
                TARGET,
            ]

    run(test)


def test_an_answer_that_h11_writes_is_followed_by_what_came_meanwhile() -> None:
    """h11 learns of the renewal first, then of the rest."""
    may = None

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await may.wait()
        await send(start(None))
        await send(body(scope["path"].encode() + b"\n"))

    async def test() -> None:
        nonlocal may
        may = asyncio.Event()
        async with connected(app) as link:
            await link.say(PLAIN, GET + request((b"Connection", b"close")))
            may.set()
            assert re.findall(rb"\r\n(/.*)\n", await link.heard()) == [TARGET, b"/other", TARGET]

    run(test)


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_is_no_request_is_refused_after_the_answer_before_it(by_hand: bool) -> None:
    """And ends the connection."""

    async def test() -> bytes:
        async with waiting() as link:
            await link.say(*([PLAIN] if by_hand else HALVES), b"\x16\x03\x01\r\n\r\n")
            link.may.set()
            found: bytes = await link.heard()
            return found

    assert re.findall(rb"HTTP/1.1 (\d+)", run(test)) == [b"200", b"400"]


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_stop_waits_for_the_answer_under_way_and_ends_the_connection(by_hand: bool) -> None:
    """What came after the request is not begun."""

    async def test() -> bytes:
        async with waiting() as link:
            await link.say(*([PLAIN] if by_hand else HALVES), GET)
            link.server.shutdown()
            await asyncio.sleep(0)
            assert not link.server.transport.is_closing()
            link.may.set()
            found: bytes = await link.heard()
            assert link.by_hand == by_hand
            return found

    heard = run(test)
    assert heard.count(b"HTTP/1.1 200 OK") == 1 and heard.endswith(TARGET + b"\n")


def test_a_stop_ends_a_connection_whose_renewal_was_answered() -> None:
    """At once."""

    async def test() -> None:
        async with connected(WHOLE) as link:
            await link.say(PLAIN)
            assert (await link.answer(b"{}")).startswith(b"HTTP/1.1 200 OK")
            link.server.shutdown()
            assert await link.heard() == b"" and link.by_hand

    run(test)


@pytest.mark.parametrize("by_hand", [True, False])
def test_whoever_leaves_while_a_renewal_is_under_way_is_told_of_to_the_application(
    by_hand: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing fails, and nothing is left of the connection."""

    async def test() -> None:
        state = ServerState()
        async with waiting(state, looks=True) as link:
            await link.say(*([PLAIN] if by_hand else HALVES))
            link.writer.close()
            await until(lambda: not state.connections)
            link.may.set()
            await link.answered()
            assert link.gone.is_set() and not state.waiting and state.total_requests == 0

    run(test)
    assert logged(caplog) == []


@pytest.mark.parametrize("by_hand", [True, False])
def test_an_answer_that_is_cancelled_is_an_error_of_the_server(
    by_hand: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As at the end of a graceful stop."""

    async def test() -> bytes:
        async with waiting() as link:
            await link.say(*([PLAIN] if by_hand else HALVES))
            [task] = link.server.tasks
            task.cancel()
            found: bytes = await link.heard()
            return found

    assert run(test).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert [level for level, *_ in logged(caplog)] == ["ERROR"]


def test_a_connection_waits_for_its_peer_before_and_after_a_renewal_and_not_meanwhile() -> None:
    """Its place among those that wait, and its clocks."""

    async def test() -> None:
        state = ServerState()
        async with waiting(state) as link:
            server = link.server
            assert server in state.waiting and server._until is not None
            await link.say(PLAIN)
            assert server not in state.waiting and server._until is None
            assert server.timeout_keep_alive_task is None
            link.may.set()
            await link.answer(TARGET + b"\n")
            await link.answered()
            assert server in state.waiting and server.timeout_keep_alive_task is not None
            assert state.total_requests == 1
            await link.say(PLAIN[:40])
            assert server.timeout_keep_alive_task is None and server._until is not None

    run(test)


def test_an_idle_connection_ends_after_its_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of connections that are kept."""
    monkeypatch.setattr(serving, "KEEP_ALIVE_SECONDS", 0.05)

    async def test() -> None:
        async with connected(WHOLE) as link:
            await link.say(PLAIN)
            assert (await link.heard()).endswith(b"{}") and link.by_hand

    run(test)


def test_half_a_request_after_a_renewal_has_its_end_by_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the problem that tells it."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.05)

    async def test() -> bytes:
        async with connected(WHOLE) as link:
            await link.say(PLAIN)
            await link.answer(b"{}")
            await link.say(PLAIN[:40])
            return await link.heard()

    assert run(test).startswith(b"HTTP/1.1 408 ")


def test_whoever_does_not_take_the_answer_to_a_renewal_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As by every other answer."""
    monkeypatch.setattr(protocol, "READING_SECONDS", 0.05)
    size = 1 << 24

    async def test() -> None:
        state = ServerState()
        async with connected(saying(start(size), body(b"a" * size)), state) as link:
            link.writer.transport.pause_reading()
            await link.say(PLAIN)
            await until(lambda: not state.connections)

    run(test)


def test_an_answer_waits_until_the_one_before_it_is_taken() -> None:
    """Both come whole."""
    size = 1 << 23

    async def test() -> None:
        state = ServerState()
        async with connected(saying(start(size), body(b"a" * size)), state) as link:
            link.writer.transport.pause_reading()
            await link.say(PLAIN)
            await until(lambda: state.total_requests == 1)
            assert link.server.flow.write_paused
            await link.say(PLAIN)
            for _ in range(20):
                await asyncio.sleep(0)
            assert state.total_requests == 1 and state.tasks
            link.writer.transport.resume_reading()
            await until(lambda: state.total_requests == 2)
            assert link.by_hand
            heard = await link.rest()
            assert heard.count(b"HTTP/1.1 200 OK") == 2 and heard.count(b"a" * size) == 2

    run(test)


@pytest.mark.parametrize("segments", [(PLAIN,), HALVES])
def test_too_many_at_once_are_refused(segments: tuple[bytes, ...]) -> None:
    """As uvicorn refuses them."""

    async def test() -> bytes:
        config = serving.configuration(WHOLE, None, lifespan="off")
        config.limit_concurrency = 1
        async with connected(WHOLE, config=config) as link:
            await link.say(*segments)
            return await link.heard()

    heard = run(test)
    assert heard.startswith(b"HTTP/1.1 503 ") and b"connection: close" in heard.lower()


def test_nothing_of_a_renewal_waits_for_the_collector_of_garbage() -> None:
    """No cycle of references is made where one is answered after the other."""

    def kept() -> int:
        return sum(type(each) is PlainCycle for each in gc.get_objects())

    async def test() -> int:
        async with connected(WHOLE) as link:

            async def renew(times: int) -> None:
                for _ in range(times):
                    await link.say(PLAIN)
                    await link.answer(b"{}")
                    await link.answered()

            await renew(3)
            gc.collect()
            gc.disable()
            try:
                before = kept()
                await renew(20)
                return kept() - before
            finally:
                gc.enable()

    assert run(test) == 0
