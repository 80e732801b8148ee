"""A renewal that is read without h11: what is taken h11 and the front read alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import h11

from modelseal.errors import InvalidBytes
from modelseal.server.http import front, heartbeat, plain


def seeds() -> Iterable[bytes]:
    """From a client and from a proxy; two that are odd, and two in one."""
    bare = (
        b"PUT /v1/leases/dev_1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/jwt\r\n"
        b"Content-Length: 3\r\n\r\na.b"
    )
    yield bare
    yield bare.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: ::1, 10.0.0.1\r\nVia: 1.1 b\r\n\r\n")
    yield bare.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    yield bare.replace(b"Host: ", b"Host:\t")
    yield bare + bare


def check(data: bytes) -> None:
    """The same method, address, headers and body, nothing left over, a connection that stays."""
    read = plain.read(data)
    if read is None:
        raise InvalidBytes("left to h11")
    conn = h11.Connection(h11.SERVER)
    conn.receive_data(data)
    head, body, end = conn.next_event(), conn.next_event(), conn.next_event()
    assert isinstance(head, h11.Request)
    assert isinstance(body, h11.Data) and isinstance(end, h11.EndOfMessage)
    assert (head.method, head.target, head.http_version) == (b"PUT", read.path, b"1.1")
    assert list(head.headers) == read.headers
    assert bytes(body.data) == read.body and not end.headers
    assert conn.trailing_data == (b"", False)
    assert conn.their_state is h11.DONE and conn.our_state is h11.SEND_RESPONSE
    assert not conn.they_are_waiting_for_100_continue
    conn.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
    conn.send(h11.EndOfMessage())
    conn.start_next_cycle()
    _front_agrees(read)


def _front_agrees(read: plain.Plain) -> None:
    """Those who look at other requests would have nothing to say, and read the same device."""
    path = read.path.decode()
    scope: Any = {
        "method": "PUT", "path": path, "raw_path": read.path, "http_version": "1.1",
        "headers": read.headers, "query_string": b"", "root_path": "",
    }  # fmt: skip
    before = dict(scope)
    assert front._origin_form(scope) == path and scope == before
    assert front._oddness(scope) is None
    assert "//" not in path and not path.endswith("/") and path.startswith(front._LIMITED_INSIDE)
    assert heartbeat._plain(scope) == read.device_id
