"""Renewals read without h11: what is taken h11 reads alike, and nothing odd is taken."""

from __future__ import annotations

import re
import time
from typing import Any

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz import harness
from modelseal.server.http import plain
from modelseal.server.http.work import DEVICE_BODY_BYTES

BODY = b"eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"
TARGET = b"/v1/leases/dev_01J9ZK3V5Q8T2M4N6P7R"
HEADERS = [
    (b"Host", b"licenses.example.com"), (b"Content-Type", b"application/jwt"),
    (b"Content-Length", str(len(BODY)).encode()),
]  # fmt: skip


def request(
    *more: tuple[bytes, bytes],
    line: bytes = b"PUT " + TARGET + b" HTTP/1.1",
    headers: list[tuple[bytes, bytes]] = HEADERS,
    body: bytes = BODY,
) -> bytes:
    """A plain renewal but for what is given."""
    lines = [name + b": " + value for name, value in (*headers, *more)]
    return b"\r\n".join([line, *lines, b"", body])


def instead(name: bytes, *lines: bytes) -> bytes:
    """A renewal with ``lines`` where the header ``name`` stood."""
    found, number = re.subn(
        b"(?m)^" + name + b": .*\r\n", lambda _: b"".join(x + b"\r\n" for x in lines), request()
    )
    assert number == 1
    return found


PLAIN = request()
TAKEN = {
    "bare": PLAIN,
    "curl": request((b"User-Agent", b"curl/8.5.0"), (b"Accept", b"*/*")),
    "httpx": request(
        (b"Accept", b"*/*"), (b"Accept-Encoding", b"gzip, deflate"), (b"Connection", b"keep-alive"),
        (b"User-Agent", b"python-httpx/0.28.1"),
    ),
    "a proxy": request(
        (b"X-Forwarded-For", b"203.0.113.7, 10.0.0.1"), (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Host", b"a.example"), (b"X-Real-IP", b"203.0.113.7"), (b"Via", b"1.1 edge"),
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ),
    "a host with its port": instead(b"Host", b"hOST: [::1]:8443"),
    "any bytes for a body": request(body=bytes(range(len(BODY)))),
    "the largest body": request(
        headers=[*HEADERS[:2], (b"content-length", b"%d" % DEVICE_BODY_BYTES)],
        body=b"a" * DEVICE_BODY_BYTES,
    ),
}  # fmt: skip
LENGTH = b"Content-Length: %d" % len(BODY)
LEFT = {
    "nothing": b"",
    "both lengths": request((b"Transfer-Encoding", b"chunked")),
    "chunks": instead(b"Content-Length", b"Transfer-Encoding: chunked"),
    "chunks by another name": request((b"TRANSFER-ENCODING", b"identity")),
    "the length twice": request((b"Content-Length", b"%d" % len(BODY))),
    "two lengths": request((b"content-length", b"0")),
    "lengths in a list": instead(b"Content-Length", LENGTH + b", %d" % len(BODY)),
    "a sign": instead(b"Content-Length", b"Content-Length: +%d" % len(BODY)),
    "a minus": instead(b"Content-Length", b"Content-Length: -%d" % len(BODY)),
    "a zero before": instead(b"Content-Length", b"Content-Length: 0%d" % len(BODY)),
    "hexadecimal": instead(b"Content-Length", b"Content-Length: 0x%x" % len(BODY)),
    "a decimal point": instead(b"Content-Length", LENGTH + b".0"),
    "a huge length": instead(b"Content-Length", b"Content-Length: " + b"9" * 30),
    "other digits": instead(b"Content-Length", "Content-Length: \uff13\uff17".encode()),
    "no length": instead(b"Content-Length"),
    "no body": request(headers=[*HEADERS[:2], (b"Content-Length", b"0")], body=b""),
    "too large": request(
        headers=[*HEADERS[:2], (b"Content-Length", b"%d" % (DEVICE_BODY_BYTES + 1))],
        body=b"a" * (DEVICE_BODY_BYTES + 1),
    ),
    "a byte too many": PLAIN + b"a",
    "a byte too few": PLAIN[:-1],
    "a line too many": PLAIN + b"\r\n",
    "an empty line before": b"\r\n" + PLAIN,
    "two requests": PLAIN + PLAIN,
    "a hidden request": PLAIN + b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    "half of another": PLAIN + PLAIN[:40],
    "ends of lines alone": PLAIN.replace(b"\r\n", b"\n"),
    "one end of line alone": PLAIN.replace(b"\r\n", b"\n", 1),
    "returns alone": PLAIN.replace(b"\r\n", b"\r"),
    "a return within": request((b"X", b"a\rb")),
    "a line feed within": request((b"X", b"a\nb")),
    "a folded line": request((b"X", b"a\r\n b")),
    "a length in a folded line": request((b"X", b"a\r\n\tContent-Length: 1")),
    "NUL": request((b"X", b"a\x00b")),
    "NUL in a name": request((b"X\x00", b"a")),
    "NUL in the address": PLAIN.replace(b"dev_", b"dev\x00"),
    "a vertical tab": request((b"X", b"a\x0bb")),
    "a form feed": request((b"X", b"\x0ca")),
    "a tab": request((b"X", b"a\tb")),
    "a tab before": request((b"X", b"\ta")),
    "DEL": request((b"X", b"a\x7fb")),
    "no ASCII": request((b"X", "ä".encode())),
    "latin-1": request((b"X", b"\xe4")),
    "a space before the colon": request((b"X ", b"a")),
    "a tab before the colon": request((b"X\t", b"a")),
    "a space before the name": request((b" X", b"a")),
    "no name": request((b"", b"a")),
    "no value": request((b"X", b"")),
    "no colon": PLAIN.replace(b"Host: ", b"Host "),
    "no space after the colon": PLAIN.replace(b"Host: ", b"Host:"),
    "two spaces after the colon": PLAIN.replace(b"Host: ", b"Host:  "),
    "a space after the value": request((b"X", b"a ")),
    "no host": instead(b"Host"),
    "two hosts": request((b"host", b"b")),
    "a host that is none": instead(b"Host", b"Host: a/b"),
    "a host of two": instead(b"Host", b"Host: a, b"),
    "a host with a space": instead(b"Host", b"Host: a b"),
    "a user in the host": instead(b"Host", b"Host: a@b"),
    "no type": instead(b"Content-Type"),
    "a type with parameters": instead(b"Content-Type", b"Content-Type: application/jwt; a=b"),
    "a type in capitals": instead(b"Content-Type", b"Content-Type: Application/JWT"),
    "another type": instead(b"Content-Type", b"Content-Type: application/json"),
    "two types": request((b"content-TYPE", b"application/jwt")),
    "a compressed body": request((b"Content-Encoding", b"gzip")),
    "no compression, said": request((b"Content-Encoding", b"identity")),
    "a wish to be asked": request((b"Expect", b"100-continue")),
    "another protocol": request((b"Upgrade", b"h2c"), (b"Connection", b"Upgrade")),
    "another protocol without a word": request((b"Upgrade", b"websocket")),
    "a farewell": request((b"Connection", b"close")),
    "two wishes": request((b"Connection", b"keep-alive, close")),
    "a header for one hop": request((b"Connection", b"Host")),
    "trailers": request((b"Trailer", b"X")),
    "trailers are welcome": request((b"TE", b"trailers")),
    "any header twice": request((b"X-Forwarded-For", b"a"), (b"x-forwarded-for", b"b")),
    "a password twice": request((b"Authorization", b"a"), (b"Authorization", b"b")),
    "small letters": PLAIN.replace(b"PUT", b"put"),
    "another method": PLAIN.replace(b"PUT", b"POST"),
    "a method with a tail": PLAIN.replace(b"PUT", b"PUTT"),
    "HTTP/1.0": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/1.2": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/2": PLAIN.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "http/1.1": PLAIN.replace(b"HTTP/1.1", b"http/1.1"),
    "HTTP/1.10": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.10"),
    "no version": PLAIN.replace(b" HTTP/1.1", b""),
    "two spaces": PLAIN.replace(b"PUT ", b"PUT  "),
    "a tab between": PLAIN.replace(b"PUT ", b"PUT\t"),
    "a space after the version": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.1 "),
    "absolute form": PLAIN.replace(b"PUT /", b"PUT http://licenses.example.com/"),
    "a query": PLAIN.replace(b" HTTP", b"?a=b HTTP"),
    "an empty query": PLAIN.replace(b" HTTP", b"? HTTP"),
    "a fragment": PLAIN.replace(b" HTTP", b"#a HTTP"),
    "a percent sign": PLAIN.replace(b"dev_", b"dev%5f"),
    "a slash too many": PLAIN.replace(b" HTTP", b"/ HTTP"),
    "a slash before": PLAIN.replace(b"PUT /", b"PUT //"),
    "another address": PLAIN.replace(b"/v1/leases", b"/v1/devices"),
    "an action": PLAIN.replace(b" HTTP", b":return HTTP"),
    "no device": PLAIN.replace(TARGET, b"/v1/leases/"),
    "a long name": PLAIN.replace(TARGET, b"/v1/leases/" + b"a" * 129),
    "a long head": request((b"X", b"a" * plain.HEAD_BYTES)),
    "many headers": request(*[(b"X-%d" % n, b"a") for n in range(2000)]),
}  # fmt: skip


agrees = harness.load("plain_renewal").judge
"""Whether a request is taken; if so, h11 and all who stand before the application read it alike."""


NAMES = st.sampled_from([
    b"Host", b"Content-Length", b"Content-Type", b"Transfer-Encoding", b"Connection", b"Expect",
    b"Upgrade", b"Accept", b"X-Forwarded-For", b"Trailer", b"content-length", b"TE", b"X",
    b"Content-Encoding", b"Content_Length", b"Content-Length ", b" Content-Length",
])  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([
        b"x", LENGTH[16:], b"0", b"+5", b"05", b"application/jwt", b"chunked", b"keep-alive",
        b"close", b"Keep-Alive", b"", b"a  b", b"a\tb", b" a", b"a ", b"a: b", b"a\r\n b", b"a\nb",
    ]),
    st.binary(max_size=12),
)  # fmt: skip
PIECES = st.sampled_from([
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\x00", b"\x0b", b"\x85", b"0\r\n\r\n", b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 1\r\n", b",", b"+",
])  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A renewal with headers of all kinds, in any order, whose length mostly tells the truth."""
    body = draw(st.one_of(st.just(BODY), st.binary(max_size=60)))
    device = draw(st.from_regex(rb"[A-Za-z0-9_.-]{1,128}", fullmatch=True))
    length = len(body) + draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
    headers = [*HEADERS[:2], (b"Content-Length", b"%d" % max(length, 0))]
    headers += draw(st.lists(st.tuples(NAMES, VALUES), max_size=3))
    line = b"PUT /v1/leases/" + device + b" HTTP/1.1"
    return request(line=line, headers=draw(st.permutations(headers)), body=body)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Such a request with pieces put in, taken out or put in place of others."""
    data = draw(requests())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.sampled_from([0, 0, 1, 2]))
        new = draw(st.one_of(PIECES, st.binary(max_size=2)))
        data = data[:at] + new + data[at + gone :]
    return data


@given(requests())
def test_whatever_is_taken_h11_reads_alike(data: bytes) -> None:
    """And the front finds it no odder."""
    agrees(data)


@given(damaged())
@example(PLAIN.replace(b"\r\n\r\n", b"\r\n\n"))
@example(PLAIN.replace(b"\r\n\r\n", b"\n\r\n"))
def test_whatever_is_taken_of_damaged_requests_h11_reads_alike(data: bytes) -> None:
    """The same where bytes were put in, taken out or changed."""
    agrees(data)


@pytest.mark.parametrize("name", TAKEN)
def test_what_clients_and_proxies_send_is_taken(name: str) -> None:
    """So the other tests do not speak of nothing."""
    assert agrees(TAKEN[name])


@pytest.mark.parametrize("name", LEFT)
def test_what_could_be_read_in_two_ways_is_left_to_h11(name: str) -> None:
    """Neither refused nor answered: not read."""
    assert plain.read(LEFT[name]) is None


@pytest.mark.parametrize("name", ["bare", "a proxy"])
def test_no_part_of_a_request_is_taken_for_one(name: str) -> None:
    """Wherever the network cuts it."""
    data = TAKEN[name]
    for at in range(1, len(data)):
        assert plain.read(data[:at]) is None and plain.read(data[at:]) is None


def test_every_byte_in_every_place_is_read_as_h11_reads_it_or_left() -> None:
    """One byte of the head is exchanged for each of the 256."""
    end = PLAIN.index(b"\r\n\r\n") + 4
    taken = 0
    for at in range(end):
        for byte in range(256):
            taken += agrees(PLAIN[:at] + bytes([byte]) + PLAIN[at + 1 :])
    assert taken > end


@pytest.mark.parametrize("flood", [b" ", b"\t", b"a", b"a ", b": ", b"a: b\r\n", b"\r\n", b"-"])
def test_a_head_made_to_be_looked_at_again_and_again_is_not(flood: bytes) -> None:
    """A hundred times the bytes take as many times as long, not the square of it."""

    def seconds(size: int) -> float:
        data = PLAIN[:60] + flood * (size // len(flood)) + b"\x00" + PLAIN[60:]
        began = time.thread_time()
        for _ in range(20):
            assert plain.read(data) is None
        return time.thread_time() - began

    seconds(1000)
    assert seconds(50_000) < 1000 * max(seconds(500), 1e-5)


ANSWER = [
    (b"date", b"Sat, 01 Aug 2026 12:00:00 GMT"), (b"content-type", b"application/json"),
    (b"content-length", b"3"), (b"cache-control", b"no-store"),
]  # fmt: skip


def h11s(status: int, headers: list[tuple[Any, Any]]) -> bytes:
    """What h11 writes before an answer to a plain renewal."""
    conn = h11.Connection(h11.SERVER)
    conn.receive_data(PLAIN)
    for _ in range(3):
        conn.next_event()
    reason = plain.STATUS_PHRASES[status]
    event = h11.Response(status_code=status, headers=headers, reason=reason)
    return bytes(conn.send(event) or b"")


@given(
    st.integers(100, 650),
    st.lists(st.tuples(st.one_of(NAMES, st.binary(max_size=5)), VALUES), max_size=3),
    st.permutations(ANSWER),
    st.integers(2, 4),
)
def test_a_head_written_by_hand_is_the_one_h11_writes(
    status: int, more: list[tuple[bytes, bytes]], usual: list[tuple[bytes, bytes]], length: int
) -> None:
    """What h11 would refuse, frame otherwise or add to is not written by hand."""
    headers = [*usual, *more]
    head = plain.head_of(status, headers, length)
    if head is not None:
        assert head == h11s(status, headers) and length == 3


@pytest.mark.parametrize("status", [200, 201, 400, 403, 404, 408, 409, 413, 429, 500, 503, 599])
def test_usual_answers_are_written_by_hand(status: int) -> None:
    """With the reason that belongs to their status."""
    assert plain.head_of(status, ANSWER, 3) == h11s(status, list(ANSWER))


@pytest.mark.parametrize(
    ("status", "headers", "length"),
    [
        (200, ANSWER, 4),
        (204, ANSWER, 3),
        (304, ANSWER, 3),
        (101, ANSWER, 3),
        (999, ANSWER, 3),
        (200, [h for h in ANSWER if h[0] != b"content-length"], 3),
        (200, [*ANSWER, (b"content-length", b"3")], 3),
        (200, [*ANSWER, (b"transfer-encoding", b"chunked")], 3),
        (200, [*ANSWER, (b"connection", b"close")], 3),
        (200, [*ANSWER, (b"host", b"a")], 3),
        (200, [*ANSWER, (b"X", b"a")], 3),
        (200, [*ANSWER, (b"x", b"a\r\ny: b")], 3),
        (200, [*ANSWER, (b"x", b"a\r\n\r\nHTTP/1.1 200 OK")], 3),
        (200, [*ANSWER, (b"x\r\ny", b"b")], 3),
        (200, [*ANSWER, (b"x", b" a")], 3),
        (200, [*ANSWER, (b"x", b"a ")], 3),
        (200, [*ANSWER, (b"x", b"a\x00")], 3),
        (200, [*ANSWER, (b"x", b"\xff")], 3),
        (200, [*ANSWER, ("x", "a")], 3),
    ],
)
def test_an_odd_answer_is_left_to_h11(status: int, headers: Any, length: int) -> None:
    """A value with an end of line above all."""
    assert plain.head_of(status, headers, length) is None
