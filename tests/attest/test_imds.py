"""Azure's metadata service: what it is asked, and answers that are none."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modelseal.attest.collect.imds import CERTIFICATES, TD_QUOTE, SystemImds
from modelseal.errors import EvidenceUnavailable


class Host(ThreadingHTTPServer):
    """Answers every question with ``answer``; ``asked`` is what came."""

    answer: tuple[int, bytes] = (200, b"{}")
    asked: tuple[str, str, str | None, bytes] | None = None


class Handler(BaseHTTPRequestHandler):
    server: Host

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked = (self.command, self.path, self.headers.get("Metadata"), body)
        status, data = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _answer  # noqa: N815 - the handler's names

    def log_message(self, *_words: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def host() -> Iterator[Host]:
    with Host(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def imds(host: Host) -> SystemImds:
    return SystemImds("127.0.0.1", host.server_port)


def test_the_chips_certificates_are_the_leaf_and_the_chain_above_it(host, imds):
    host.answer = (
        200,
        json.dumps({"vcekCert": "A\n", "tcbm": "0", "certificateChain": "B\n"}).encode(),
    )
    assert imds.certificates() == b"A\nB\n"
    assert host.asked == ("GET", CERTIFICATES, "true", b"")


@pytest.mark.parametrize("padded", [True, False])
def test_a_quote_is_made_of_the_report_that_is_sent(host, imds, padded):
    report, quote = bytes(range(256)) * 4, bytes(range(255, 0, -1)) * 20
    text = base64.urlsafe_b64encode(quote).decode()
    host.answer = 200, json.dumps({"quote": text if padded else text.rstrip("=")}).encode()
    assert imds.td_quote(report) == quote
    method, path, metadata, body = host.asked
    assert (method, path, metadata) == ("POST", TD_QUOTE, "true")
    assert base64.urlsafe_b64decode(json.loads(body)["report"] + "==") == report


@pytest.mark.parametrize(
    "answer",
    [
        (404, b"{}"), (500, b""), (200, b""), (200, b"[]"), (200, b"{"), (200, b'{"quote": 7}'),
        (200, b'{"quote": ""}'), (200, '{"quote": "ü"}'.encode()), (200, b"[" * 100_000),
        (200, b'{"quote": "A"}'),
    ],
    ids=["404", "500", "empty", "list", "cut", "number", "nothing", "odd", "deep", "one letter"],
)  # fmt: skip
def test_what_is_no_answer_is_no_evidence(host, imds, answer):
    host.answer = answer
    with pytest.raises(EvidenceUnavailable):
        imds.td_quote(bytes(1024))
    with pytest.raises(EvidenceUnavailable):
        imds.certificates()


def test_nobody_there_is_no_evidence():
    with pytest.raises(EvidenceUnavailable):
        SystemImds("127.0.0.1", 1).certificates()
