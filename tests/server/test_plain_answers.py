"""What a plain renewal is answered, beside what h11 answers."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.server.plain_apps import (
    HALVES,
    App,
    body,
    listening,
    logged,
    nothing_read,
    returning,
    run,
    saying,
    start,
    told,
)
from tests.server.test_plain import PLAIN, TAKEN, TARGET
from uvicorn.config import Config

from modelseal.server import telemetry
from modelseal.server.http import protocol, serving

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
