"""Bytes that no HTTP client sends: one answer or none, never a second one, and nobody waits."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import threading
import zlib
from collections.abc import Callable

import pytest
from tests.hostile.conftest import PATIENCE, Raw
from tests.server.world import Shop

from modelseal.server.http import admin_catalog

Connect = Callable[[], Raw]
OK = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
HIDDEN = b"GET /v1/log/checkpoint HTTP/1.1\r\nHost: x\r\n\r\n"


def answers(heard: bytes) -> list[int]:
    """The statuses of the answers in ``heard``."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", heard)]


def problem(heard: bytes) -> dict[str, object]:
    head, _, body = heard.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower(), heard[:300]
    found: dict[str, object] = json.loads(body)
    assert "denial" not in found and str(found["type"]).startswith("urn:modelseal:error:")
    return found


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"X: a\nContent-Length: 5\r\n",
        b"X: a\r\nContent-Length: 5\n",
        b"X: a\nTransfer-Encoding: chunked\r\n",
        b"X: a\r\n Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n",
        b"X: \x1b[31m\r\n",
        b"X: a\x7fb\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 0x5\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b" Transfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\n\tContent-Length: 6\r\n",
        b"Content-Length: 99999999999999999999\r\nTransfer-Encoding: chunked\r\n",
        b"X: a\x00b\r\n",
        b"X: a\rb\r\n",
        b"Authorization: a\r\nAuthorization: b\r\n",
        b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n",
        b"Content-Type: application/jwt\r\nContent-Type: application/json\r\n",
        b'If-Match: "1"\r\nIf-Match: "2"\r\n',
        b"Range: bytes=0-1\r\nRange: bytes=5-6\r\n",
    ],
)
def test_a_request_of_two_meanings_is_refused_and_nothing_after_it_is_answered(
    connect: Connect, head: bytes
) -> None:
    raw = connect()
    raw.say(b"POST /v1/devices HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n0\r\n\r\n" + HIDDEN)
    heard = raw.heard()
    assert len(answers(heard)) == 1 and answers(heard)[0] in (400, 501), heard[:300]
    assert b"connection: close" in heard.lower()
    problem(heard)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET",
        b"GET /healthz",
        b"GET /healthz HTTP/9.9",
        b"GET /healthz HTTP/1.1 x",
        b"GET  /healthz HTTP/1.1",
        b"G\x00T /healthz HTTP/1.1",
        b"GET /heal\xffthz HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"GET /healthz FTP/1.0",
    ],
)
def test_what_is_no_request_gets_one_problem_and_the_end_of_the_connection(
    connect: Connect, line: bytes
) -> None:
    raw = connect()
    raw.say(line + b"\r\nHost: x\r\n\r\n")
    heard = raw.heard()
    assert answers(heard) == [400], heard[:300]
    problem(heard)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n", 200),
        (b"GET http://elsewhere.example/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET https://127.0.0.1:1/v1/admin/plans HTTP/1.1\r\nHost: x\r\n\r\n", 401),
        (b"GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET file:///etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET //healthz HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /healthz/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /v1/blobs/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /v1/log/tile/%2e%2e/%2e%2e/server.toml HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /v1/catalog/%00.json HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /v1/blobs/%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /v1/status-lists/+1 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /v1/status-lists/%201 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /v1/status-lists/01 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /healthz?a=1&b=2&a=1 HTTP/1.1\r\nHost: x\r\n\r\n", 422),
        (b"GET /healthz?state=1&%73tate=2 HTTP/1.1\r\nHost: x\r\n\r\n", 422),
        (b"GET /healthz?&&=&= HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 200),
        (b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /v1/devices/:return HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /v1/devices/:return HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
        (b"GET /v1/log/tile/0/" + b"x999/" * 6 + b"999 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /healthz HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"OPTIONS /v1/admin/plans HTTP/1.1\r\nHost: x\r\n\r\n", 204),
        (b"OPTIONS /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /healthz HTTP/1.1\r\nHost: evil/x?y\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"TRACE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
         b"Connection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
         b"Connection: Upgrade, HTTP2-Settings\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: DELETE\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Original-URL: /v1/admin/plans\r\n\r\n", 200),
    ],
)  # fmt: skip
def test_an_odd_request_has_the_plain_answer(
    connect: Connect, request_: bytes, status: int
) -> None:
    raw = connect()
    raw.say(request_)
    heard = raw.answer()
    assert answers(heard) == [status], heard[:400]
    if status >= 400 and not request_.startswith((b"OPTIONS", b"TRACE")):
        problem(heard)


def test_every_answer_has_the_headers_that_protect_the_one_who_reads_it(connect: Connect) -> None:
    for request in (
        OK, HIDDEN, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PATCH /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"GET /v1/admin/plans HTTP/1.1\r\nHost: x\r\n\r\n",
    ):  # fmt: skip
        raw = connect()
        raw.say(request)
        head = raw.answer().partition(b"\r\n\r\n")[0].lower()
        for name in (b"x-content-type-options: nosniff", b"content-security-policy:",
                     b"referrer-policy:", b"cache-control:"):  # fmt: skip
            assert name in head, (request, head)
        assert b"server:" not in head


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"G",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
        OK + b"GET /hea",
        b"POST /v1/devices HTTP/1.1\r\nHost: x\r\nContent-Type: application/jwt\r\n"
        b"Content-Length: 1000\r\n\r\n",
        b"POST /v1/devices HTTP/1.1\r\nHost: x\r\nContent-Type: application/jwt\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
    ],
)
def test_whoever_is_slow_is_left_however_little_it_says_now_and_then(
    connect: Connect, start: bytes
) -> None:
    raw = connect()
    raw.say(start)
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(PATIENCE / 5):
            try:
                raw.say(b"1\r\na\r\n" if b"chunked" in start else b"a")
            except OSError:
                return

    dripping = threading.Thread(target=drip)
    dripping.start() if start else None
    try:
        assert raw.is_left()
    finally:
        stop.set()
        dripping.join() if start else None


def test_a_hundred_slow_ones_keep_nobody_waiting(connect: Connect) -> None:
    slow = [connect() for _ in range(100)]
    for raw in slow:
        raw.say(b"POST /v1/devices HTTP/1.1\r\nHost: x\r\nContent-Le")
    quick = connect()
    quick.say(OK)
    assert answers(quick.answer()) == [200]


@pytest.mark.parametrize(
    "flood",
    [
        b"X: " + b"a" * 200_000 + b"\r\n",
        b"".join(b"X-%d: a\r\n" % number for number in range(20_000)),
        b"Cookie: " + b"a=b; " * 50_000 + b"\r\n",
    ],
)
def test_a_flood_of_headers_ends_the_connection(connect: Connect, flood: bytes) -> None:
    raw = connect()
    try:
        raw.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + flood + b"\r\n")
    except OSError:
        return  # ended while it was still talking
    assert answers(raw.heard())[:1] in ([431], [])


@pytest.mark.parametrize(("letters", "status"), [(16_000, 200), (16_384, 431), (40_000, 431)])
def test_headers_have_one_limit_however_they_arrive(
    connect: Connect, letters: int, status: int
) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * letters + b"\r\n\r\n"
    for pieces in ([whole], [whole[:9000], whole[9000:]]):
        raw = connect()
        for piece in pieces:
            raw.say(piece)
        heard = raw.answer()
        assert answers(heard) == [status], heard[:300]
        if status == 431:
            problem(heard)


@pytest.mark.parametrize("call", [b"POST /v1/devices", b"PUT /v1/leases/dev_x"])
@pytest.mark.parametrize(
    "body",
    [
        b"3\nabc\n0\n\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"1_0\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b'3;a="x\r\ny"\r\nabc\r\n0\r\n\r\n',
        b"F" * 21 + b"\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_a_body_in_chunks_that_are_none_is_refused_and_ends_the_connection(
    connect: Connect, call: bytes, body: bytes
) -> None:
    head = b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/jwt\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    for pieces in ([call + head + chunked + body + HIDDEN], [call + head + chunked, body, HIDDEN]):
        raw = connect()
        with contextlib.suppress(OSError):  # refused before it was whole
            for piece in pieces:
                raw.say(piece)
        heard = raw.heard()
        assert answers(heard) == [400], heard[:300]
        assert b"connection: close" in heard.lower()
        problem(heard)


@pytest.mark.parametrize(("letters", "status"), [(8_000, 404), (17_000, 414), (60_000, 414)])
def test_a_long_address_is_not_found_and_a_longer_one_not_read(
    connect: Connect, letters: int, status: int
) -> None:
    raw = connect()
    raw.say(b"GET /" + b"a" * letters + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answers(raw.answer()) == [status]


def _posted(connect: Connect, path: bytes, head: bytes, body: bytes) -> bytes:
    raw = connect()
    with contextlib.suppress(OSError):  # refused before it was whole
        raw.say(
            b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head
            + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )  # fmt: skip
    return raw.heard()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "aws-chunked"])
def test_compressed_bodies_are_not_opened(
    connect: Connect, shop: Shop, owner: str, encoding: str
) -> None:
    bomb = gzip.compress(b"[" * 10**7) if "gzip" in encoding else zlib.compress(b"x" * 10**6)
    for path, kind in ((b"/v1/devices", b"application/jwt"),
                       (b"/v1/admin/plans", b"application/json")):  # fmt: skip
        head = (
            f"Authorization: Bearer {owner}\r\nContent-Encoding: {encoding}\r\n".encode()
            + b"Content-Type: " + kind + b"\r\n"
        )  # fmt: skip
        heard = _posted(connect, path, head, bomb[:60_000])
        assert answers(heard) == [415], heard[:300]
        problem(heard)


def test_a_body_beyond_its_limit_is_refused_by_its_length_or_while_it_comes(
    connect: Connect,
) -> None:
    jwt = b"Content-Type: application/jwt\r\n"
    heard = _posted(connect, b"/v1/devices", jwt, b"a" * 70_000)
    assert answers(heard)[:1] in ([413], []), heard[:200]
    raw = connect()
    raw.say(
        b"POST /v1/devices HTTP/1.1\r\nHost: x\r\n" + jwt + b"Content-Length: 99999999999\r\n\r\n"
    )
    assert answers(raw.heard()) == [413]
    raw = connect()
    raw.say(
        b"POST /v1/devices HTTP/1.1\r\nHost: x\r\n" + jwt + b"Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"8000\r\n" + b"a" * 0x8000 + b"\r\n"
    with contextlib.suppress(OSError):
        for _ in range(4):
            raw.say(chunk)
    assert answers(raw.heard())[:1] in ([413], [])


@pytest.mark.parametrize(
    "call",
    [
        b"POST /v1/devices HTTP/1.1\r\nContent-Type: application/jwt\r\n",
        b"PUT /v1/leases/dev_x HTTP/1.1\r\nContent-Type: application/jwt\r\n",
        b"POST /v1/admin/licenses HTTP/1.1\r\nContent-Type: application/json\r\n",
        b"PUT /v1/admin/blobs/" + b"a" * 64 + b" HTTP/1.1\r\n"
        b"Content-Type: application/octet-stream\r\n",
    ],
)
@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 1000\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nZZ\r\n",
    ],
)
def test_whoever_leaves_in_the_middle_of_a_body_is_no_failure_of_the_server(
    connect: Connect, owner: str, call: bytes, rest: bytes
) -> None:
    """The last test of this module looks at what was counted."""
    raw = connect()
    raw.say(call + b"Host: x\r\nAuthorization: Bearer " + owner.encode() + b"\r\n" + rest)
    if not rest.endswith(b"ZZ\r\n"):
        raw.socket.shutdown(socket.SHUT_WR)
    raw.heard()


def test_an_upload_that_stands_still_is_the_senders_failure(
    connect: Connect, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_catalog, "PIECE_SECONDS", PATIENCE)
    raw = connect()
    raw.say(
        b"PUT /v1/admin/blobs/" + b"a" * 64 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
        b"Content-Type: application/octet-stream\r\nAuthorization: Bearer "
        + owner.encode() + b"\r\n\r\nabc"
    )  # fmt: skip
    heard = raw.heard()
    assert answers(heard) == [408], heard[:300]
    problem(heard)


def test_a_kind_of_problem_is_called_the_same_every_time(connect: Connect) -> None:
    told = []
    for query in (b"cursor=x", b"cursor=x&cursor=y", b"a=%00"):
        raw = connect()
        raw.say(b"GET /v1/admin/plans?" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        told.append(problem(raw.answer()))
    assert {each["title"] for each in told if each["code"] == "misuse"} == {
        "The request makes no sense as given."
    }


def test_nothing_of_all_this_was_an_error_of_the_server(connect: Connect, shop: Shop) -> None:
    """The metrics count every answer by its status."""
    raw = connect()
    raw.say(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = raw.heard().decode()
    assert 'status="200"' in text
    assert not re.search(r'status="5\d\d"', text), text
