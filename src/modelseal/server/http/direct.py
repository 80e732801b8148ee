"""Calls that are answered in front of the framework: one whole body of the right type, no more.

Anything else about the same address goes through to it, whose handler answers in the same words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

from modelseal.server.http import problems
from modelseal.server.http.cycle import Whole
from modelseal.server.http.work import DEVICE_BODY_BYTES, JWT

_ODD = frozenset({b"content-encoding", b"transfer-encoding", b"expect"})
_JSON = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
_ENCODER = msgspec.json.Encoder()


def is_plain(scope: Any, method: str) -> bool:
    """True for a body that is a request token of a known length, where nothing else is said."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    return (
        scope["method"] == method
        and not scope.get("root_path")
        and not scope["query_string"]
        and headers.get(b"content-type") == JWT.encode()
        and _ODD.isdisjoint(headers)
        and length.isdigit()
        and int(length) <= DEVICE_BODY_BYTES
    )


async def answer(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    route: str,
    status: int,
    act: Callable[[bytes, str | None], Awaitable[object]],
) -> None:
    """What ``act`` returns for the body and the address of whoever asks, under ``status``.

    What it raises is answered as a problem. ``route`` is what is counted.
    """
    scope["path_template"] = route
    headers = _JSON
    try:
        client = scope.get("client")
        data = _ENCODER.encode(await act(await _body(receive), client[0] if client else None))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is answered as a problem
        shown = problems.rendered(error)
        headers = [(b"content-type", (shown.media_type or problems.MEDIA_TYPE).encode())]
        headers += [
            (name.lower().encode(), value.encode()) for name, value in shown.headers.items()
        ]
        status, data = shown.status_code or 500, shown.content
    headers = [*headers, (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data, "more_body": False})


async def _body(receive: Receive) -> bytes:
    """The whole body, no longer than was said; what came of it when whoever sends it is gone."""
    if isinstance(receive, Whole):
        return receive.take()
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
