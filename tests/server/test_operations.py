"""What an operator sees: numbers, reminders, logs, traces, and a certificate changed in place."""

from __future__ import annotations

import json
import logging
import re
import ssl
import threading
import time
import urllib.request
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from tests.server.world import Clock, Shop

from modelseal.desk import certifying
from modelseal.desk import workspace as workspaces
from modelseal.errors import ConfigInvalid
from modelseal.server import logs, telemetry
from modelseal.server.app import create_app
from modelseal.server.services.config import ServerConfig
from modelseal.server.settings import settings_of
from modelseal.testing.server import RunningServer, RunningServerWarning


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A real server over HTTPS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RunningServerWarning)
        server = RunningServer(tmp_path_factory.mktemp("operations"), now=Clock())
    with server:
        yield server


def tls(server: RunningServer) -> ssl.SSLContext:
    shop = Shop(server.home, Clock(), server.services)
    context = ssl.create_default_context(cadata=shop.trust.tls_ca)
    context.check_hostname = False
    return context


def fetch(server: RunningServer, path: str) -> str:
    with urllib.request.urlopen(server.url + path, context=tls(server)) as answer:
        return str(answer.read().decode())


def numbers(text: str) -> dict[str, float]:
    """The samples of a Prometheus text, each line of which must be one or a comment."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            match = re.fullmatch(
                r'([a-z_]+(?:\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})?) (\S+)', line
            )
            assert match, line
            found[match[1]] = float(match[2])
    return found


def test_metrics_count_calls_and_their_times_by_route(running: RunningServer) -> None:
    before = numbers(fetch(running, "/metrics"))
    began = time.monotonic()
    for _ in range(3):
        fetch(running, "/healthz")
    took = time.monotonic() - began
    found = numbers(fetch(running, "/metrics"))

    def more(name: str) -> float:
        return found[name] - before.get(name, 0)

    assert more('modelseal_requests_total{route="/healthz",status="200"}') == 3
    assert more('modelseal_request_seconds_count{route="/healthz"}') == 3
    assert more('modelseal_request_seconds_bucket{route="/healthz",le="+Inf"}') == 3
    assert 0 < more('modelseal_request_seconds_sum{route="/healthz"}') < took
    buckets = [
        v
        for k, v in found.items()
        if k.startswith('modelseal_request_seconds_bucket{route="/healthz')
    ]
    assert buckets == sorted(buckets)
    assert found['modelseal_webhook_messages{state="given_up"}'] == 0


def test_metrics_tell_the_age_of_keys_and_the_days_of_the_certificate(
    running: RunningServer,
) -> None:
    found = numbers(fetch(running, "/metrics"))
    ages = {name for name in found if name.startswith("modelseal_key_age_seconds")}
    assert len(ages) == 6
    assert found["modelseal_certificate_seconds_left"] > 30 * 86400


def test_reminders_begin_at_ninety_days_and_before_the_certificate_ends(shop: Shop) -> None:
    about = shop.server.about
    assert about.reminders() == []
    shop.clock.pass_(days=88)
    assert about.reminders() == []
    shop.clock.pass_(days=4)
    assert len(about.reminders()) == 6
    assert all("keys rotate signing" in each for each in about.reminders())

    class Ending:
        ends_at = shop.clock() + timedelta(days=12)

    about.certificate = Ending()
    assert "ends in 12 days" in about.reminders()[-1]


def test_counting_a_large_store_is_not_repeated_at_every_scrape(shop: Shop) -> None:
    counted = []

    def look(_tx: object) -> int:
        counted.append(1)
        time.sleep(0.6)  # the rest has a minute
        return len(counted)

    assert [shop.server.about._counted(look) for _ in range(5)] == [1] * 5


def test_a_new_certificate_counts_for_the_next_connection(running: RunningServer) -> None:
    """And half a pair counts for nothing."""

    def shown() -> bytes:
        host, port = running.url.removeprefix("https://").split(":")
        return ssl.get_server_certificate((host, int(port))).encode()

    before = shown()
    certificates = running._running.certificates
    assert certificates is not None and not certificates.refresh()
    folder = running.home / "server" / "tls"
    old_key = (folder / "server.key").read_bytes()
    with workspaces.open(running.home) as desk:
        certifying.rotate_tls(desk, hosts=(), output=None)
    new_key = (folder / "server.key").read_bytes()
    (folder / "server.key").write_bytes(old_key)
    assert not certificates.refresh() and shown() == before
    (folder / "server.key").write_bytes(new_key)
    assert certificates.refresh() and not certificates.refresh()
    assert (
        shown() != before
        and shown().strip() == (folder / "server.pem").read_bytes()[: len(shown())].strip()
    )
    assert fetch(running, "/healthz") == "ok\n"


def test_plain_http_from_everybody_is_refused() -> None:
    for everybody in ("0.0.0.0/0", "::/0"):
        with pytest.raises(ConfigInvalid):
            settings_of(ServerConfig(), behind_proxy=[everybody])


SECRETS = (
    "MS-AAAAA-BBBBB-CCCCC-DDDDD", "mst_abcDEF123_-xyz", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "eyJhbGciOiJFZDI1NTE5In0.eyJpc3MiOiJ4In0.c2ln", "Bearer something-long", "li:password",
)  # fmt: skip


def test_a_log_line_is_one_json_object_without_secrets() -> None:
    formatter = logs.JsonFormatter()
    for secret in SECRETS:
        text = f"postgresql://{secret}@db" if ":" in secret else f"got {secret}\nand more"
        try:
            raise ValueError(text)
        except ValueError as error:
            record = logging.LogRecord(
                "modelseal.server", logging.ERROR, "x.py", 1, "failed: %s", (text,),
                (type(error), error, error.__traceback__),
            )  # fmt: skip
        line = formatter.format(record)
        assert "\n" not in line and secret not in line and "(removed)" in line
        made = json.loads(line)
        assert (made["level"], made["logger"], made["error"]) == (
            "error",
            "modelseal.server",
            "ValueError",
        )
        assert secret not in logs.TextFormatter().format(record)


def test_what_a_process_logs_goes_to_stderr_in_the_form_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        logs.use("json")
        logging.getLogger("modelseal.server").info("a new certificate is in force")
        [line] = capsys.readouterr().err.splitlines()
        assert json.loads(line)["message"] == "a new certificate is in force"
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def test_a_span_names_the_route_and_neither_ids_nor_queries(shop: Shop) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="pip install 'modelseal[otel]'")
    from litestar.testing import TestClient
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    app = telemetry.spans(create_app(shop.server, ticking=False), provider.get_tracer("test"))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with TestClient(app=app) as client:
        client.get("/v1/blobs/" + "a" * 64 + "?private=yes", headers={"traceparent": parent})
    [span] = kept.get_finished_spans()
    assert "a" * 64 not in str(span.to_json()) and "private" not in str(span.to_json())
    assert span.attributes["http.response.status_code"] == 404
    assert span.name.startswith("GET /v1/blobs/") and span.parent is not None
    assert f"{span.context.trace_id:032x}" == parent.split("-")[1]


def test_without_a_wish_for_traces_nothing_is_loaded(tmp_path: Path) -> None:
    async def app(*_asked: object) -> None:
        return None

    assert telemetry.traced(app, False) is app  # type: ignore[arg-type, comparison-overlap]


def test_no_connection_fails_while_certificates_change(running: RunningServer) -> None:
    """A handshake sees the old pair or the new one, never the half of each."""
    host, port = running.url.removeprefix("https://").split(":")
    folder, over, shown = running.home / "server" / "tls", threading.Event(), set[str]()
    pairs = []
    for _ in range(2):
        with workspaces.open(running.home) as desk:
            certifying.rotate_tls(desk, hosts=(), output=None)
        pairs.append([(folder / name).read_bytes() for name in ("server.pem", "server.key")])

    def connect() -> None:
        while not over.is_set():
            shown.add(ssl.get_server_certificate((host, int(port))))

    certificates = running._running.certificates
    assert certificates is not None
    with ThreadPoolExecutor(4) as pool:
        connecting = [pool.submit(connect) for _ in range(4)]
        try:
            for turn in range(60):
                certificate, key = pairs[turn % 2]
                (folder / "server.key").write_bytes(key)
                (folder / "server.pem").write_bytes(certificate)
                assert certificates.refresh()
        finally:
            over.set()
        for each in connecting:
            each.result()
    assert len(shown) >= 2
