"""What a plain renewal is answered and what becomes of its connection, beside what h11 does."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.server.connections import connected, until
from tests.server.test_plain import BODY, PLAIN, TAKEN, TARGET, request
from uvicorn.config import Config
from uvicorn.server import ServerState

from modelseal.server import telemetry
from modelseal.server.http import protocol, serving
from modelseal.server.http.cycle import PlainCycle

App = Callable[[Any, Any, Any], Awaitable[Any]]
GET = b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n"
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


USUAL: dict[str, App] = {
    "whole": saying(start(2), body(b"{}")),
    "a problem": saying(
        start(2, (b"cache-control", b"no-store"), (b"retry-after", b"5"), status=503), body(b"{}")
    ),
    "nothing in it": saying(start(0), body(b"")),
    "no body named": saying(start(0), {"type": "http.response.body"}),
    "no reason": saying(start(2, status=299), body(b"{}")),
    "large": saying(start(300_000), body(b"a" * 300_000)),
    "who listens": listening,
    "who reads nothing": nothing_read,
    "who returns something": returning,
    "an error after the end": saying(start(2), body(b"{}"), ValueError("late")),
    "a word after the end": saying(start(2), body(b"{}"), body(b"{}")),
}
ODD: dict[str, App] = {
    "streamed": saying(start(None), body(b"{", True), body(b"}", True), body(b"")),
    "of unknown length": saying(start(None), body(b"{}")),
    "in two parts": saying(start(2), body(b"{", True), body(b"}")),
    "in no part but the end": saying(start(2), body(b"{}", True), body(b"")),
    "too short": saying(start(3), body(b"{}")),
    "too long": saying(start(1), body(b"{}")),
    "without a body": saying(start(None, status=204), body(b"")),
    "not changed": saying(start(2, status=304), body(b"")),
    "the last one": saying(start(2, (b"connection", b"close")), body(b"{}")),
    "in capitals": saying(start(2, (b"X-Kind", b"a")), body(b"{}")),
    "in texts": saying(start(2, ("x-kind", "a")), body(b"{}")),
    "twice the same": saying(start(2, (b"set-cookie", b"a"), (b"set-cookie", b"b")), body(b"{}")),
    "with an end of line": saying(start(2, (b"x", b"a\r\nset-cookie: b")), body(b"{}")),
    "with a space at the end": saying(start(2, (b"x", b"a ")), body(b"{}")),
    "with NUL": saying(start(2, (b"x", b"a\x00")), body(b"{}")),
    "no status": saying(start(2, status=700), body(b"{}")),
    "an early status": saying(start(2, status=103), body(b"{}")),
    "an error": saying(ValueError("early")),
    "an error in the middle": saying(start(2), ValueError("in the middle")),
    "an error in the body": saying(start(2), body(b"{", True), ValueError("in the body")),
    "an end of the process": saying(asyncio.CancelledError()),
    "nothing": saying(),
    "a beginning": saying(start(2)),
    "half of it": saying(start(2), body(b"{", True)),
    "a body first": saying(body(b"{}")),
    "two beginnings": saying(start(2), start(2), body(b"{}")),
    "what is unknown": saying(start(2), {"type": "http.response.pathsend"}),
}


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


@pytest.mark.parametrize("name", [*USUAL, *ODD])
def test_both_ways_answer_with_the_same_bytes(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The same end of the connection, the same in the log, the same count."""
    app = (USUAL | ODD)[name]
    *plain, by_hand = run(lambda: told(app, PLAIN))
    said = logged(caplog)
    *by_h11, _ = run(lambda: told(app, *HALVES))
    assert plain == by_h11 and said == logged(caplog)
    assert by_hand == (name in USUAL)


@pytest.mark.parametrize("name", TAKEN)
def test_both_ways_make_the_same_scope(name: str) -> None:
    """Addresses of a proxy included, which uvicorn's middleware reads from it."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kept = {key: value for key, value in scope.items() if key != "client"}
        scopes.append(kept | {"host": (scope["client"] or ("",))[0]})
        await receive()
        await send(start(2))
        await send(body(b"{}"))

    config = serving.configuration(
        app, None, lifespan="off", proxy_headers=True, forwarded_allow_ips=["127.0.0.1", "10.0.0.1"]
    )
    data = TAKEN[name]
    answers = [
        run(lambda: told(app, data, config=config)),
        run(lambda: told(app, data[:20], data[20:], config=config)),
    ]
    assert answers[0][:-1] == answers[1][:-1] and [a[-1] for a in answers] == [True, False]
    assert scopes[0].pop("server")[0] == scopes[1].pop("server")[0]
    assert scopes[0] == scopes[1]
    if name == "a proxy":
        assert scopes[0]["host"] == "203.0.113.7" and scopes[0]["scheme"] == "https"


def test_wherever_a_request_is_cut_it_has_one_answer_and_the_same() -> None:
    """h11 reads what comes in two parts."""

    async def test() -> set[Any]:
        app = USUAL["whole"]
        return {await told(app, PLAIN[:at], PLAIN[at:]) for at in range(1, len(PLAIN))}

    [(heard, ended, number, by_hand)] = run(test)
    assert heard.count(b"HTTP/1.1 200 OK") == number == 1 and not ended and not by_hand


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
        async with connected(USUAL["whole"]) as link:
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
        async with connected(USUAL["whole"]) as link:
            await link.say(PLAIN)
            assert (await link.heard()).endswith(b"{}") and link.by_hand

    run(test)


def test_half_a_request_after_a_renewal_has_its_end_by_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the problem that tells it."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.05)

    async def test() -> bytes:
        async with connected(USUAL["whole"]) as link:
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
        config = serving.configuration(USUAL["whole"], None, lifespan="off")
        config.limit_concurrency = 1
        async with connected(USUAL["whole"], config=config) as link:
            await link.say(*segments)
            return await link.heard()

    heard = run(test)
    assert heard.startswith(b"HTTP/1.1 503 ") and b"connection: close" in heard.lower()


@pytest.fixture
def access_log() -> Iterator[list[str]]:
    """What uvicorn's log of accesses was told."""
    log, told = logging.getLogger("uvicorn.access"), []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    kept, level = Kept(), log.level
    yield_to: list[str] = told
    log.addHandler(kept)
    log.setLevel(logging.INFO)
    yield yield_to
    log.removeHandler(kept)
    log.setLevel(level)


def test_a_log_of_accesses_tells_renewals_like_everything_else(access_log: list[str]) -> None:
    """Where there is one."""
    config = Config(USUAL["whole"], log_config=None, lifespan="off", http=protocol.Protocol)
    config.load()
    *_, by_hand = run(lambda: told(USUAL["whole"], PLAIN, config=config))
    run(lambda: told(USUAL["whole"], *HALVES, config=config))
    lines = [re.sub(r"^127.0.0.1:[0-9]+ - ", "", line) for line in access_log]
    assert lines == [f'"PUT {TARGET.decode()} HTTP/1.1" 200'] * 2 and by_hand


@pytest.mark.parametrize("settings", [{"root_path": "/a"}, {"reset_contextvars": True}])
def test_what_uvicorn_does_besides_for_a_renewal_is_left_to_it(settings: dict[str, Any]) -> None:
    """Nobody sets it here."""
    config = serving.configuration(USUAL["whole"], None, lifespan="off")
    for name, value in settings.items():
        setattr(config, name, value)
    heard, *_, by_hand = run(lambda: told(USUAL["whole"], PLAIN, config=config))
    assert heard.startswith(b"HTTP/1.1 200 OK") and not by_hand


def test_a_renewal_is_a_span_in_its_callers_trace() -> None:
    """By the same name and with the same attributes both ways."""
    pytest.importorskip("opentelemetry.sdk", reason="pip install 'modelseal[otel]'")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    app = telemetry.spans(USUAL["whole"], provider.get_tracer("test"))  # type: ignore[arg-type]
    data = TAKEN["a proxy"]
    run(lambda: told(app, data))
    run(lambda: told(app, data[:20], data[20:]))
    plain, by_h11 = kept.get_finished_spans()
    assert plain.name == by_h11.name and plain.attributes == by_h11.attributes
    traces = {f"{span.context.trace_id:032x}" for span in (plain, by_h11)}
    assert traces == {"0af7651916cd43dd8448eb211c80319c"}


def test_nothing_of_a_renewal_waits_for_the_collector_of_garbage() -> None:
    """No cycle of references is made where one is answered after the other."""

    def kept() -> int:
        return sum(isinstance(each, PlainCycle) for each in gc.get_objects())

    async def test() -> int:
        async with connected(USUAL["whole"]) as link:

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
