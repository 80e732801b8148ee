"""What stands before every call: odd requests, slow bodies, floods, the headers of every answer.

The application behind it sees requests whose path is a path and whose body comes in time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from litestar import Response
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from modelseal.errors import Misuse, ModelsealError, NotFound
from modelseal.server.http import problems
from modelseal.server.http.addresses import Addresses
from modelseal.server.http.cycle import Whole
from modelseal.server.http.heads import HOST
from modelseal.server.services.limits import PUBLIC, Limiter, prefix

Header = tuple[bytes, bytes]
BODY_SECONDS = 20
"""How long a body of a limited size may take; sealed models are counted by the piece."""
UPLOADS = "/v1/admin/blobs/"
_UNCOUNTED = frozenset({"/healthz", "/readyz", "/metrics"})
_LIMITED_INSIDE = ("/v1/admin/", "/v1/devices", "/v1/leases/", "/v1/licenses:", "/v1/trials")
_CACHE = (b"cache-control", b"no-store")  # what may be kept says so
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    (b"referrer-policy", b"no-referrer"),
]
_ONCE = frozenset({
    b"authorization", b"content-type", b"content-encoding", b"idempotency-key", b"if-match",
    b"range", b"if-range",
})  # fmt: skip
_SENDING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Front:
    """See the module. ``count`` is told template, status and seconds of every answer."""

    def __init__(
        self,
        addresses: Addresses,
        limiter: Limiter,
        now: Callable[[], datetime],
        count: Callable[[str, int, float], None],
    ) -> None:
        self._addresses = addresses
        self._limiter = limiter
        self._now = now
        self._count = count

    async def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """``app``'s answer to an HTTP request, or the refusal of one that is odd."""
        path, began = _origin_form(scope), time.perf_counter()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._headers(path, message["headers"])
                # Of what was called only the template, so that ids never become labels.
                template = str(scope.get("path_template") or "other")
                self._count(template, message["status"], time.perf_counter() - began)
            await send(message)

        if isinstance(receive, Whole):  # none of what follows can be said of it
            await app(scope, receive, sending)
            return
        odd = _oddness(scope)
        if odd is not None:
            await _refuse(odd, sending)
            return
        try:
            # The framework would read it as another, or as one that is not there.
            if "//" in path or "/:" in path or path[:1] != "/" or path[1:].endswith("/"):
                raise NotFound("no such address")
            if "\0" in path:
                raise NotFound("nothing has NUL in its name")
            _check_query(scope["query_string"])
            self._limit(scope, path)
            if scope.get("method") == "OPTIONS":
                await _answer(self._options(path), sending)
                return
        except ModelsealError as error:
            await _answer(problems.render(error), sending)
            return
        if scope.get("method") in _SENDING:
            receive = _whole(receive)
        if not path.startswith(UPLOADS):
            receive = _in_time(receive)
        await app(scope, receive, sending)

    def _options(self, path: str) -> Response[bytes]:
        """What may be asked of an address, which is no secret."""
        allow = self._addresses.allow(path)
        if not allow:
            raise NotFound("no such address")
        return Response(b"", status_code=204, headers={"Allow": allow})

    def _limit(self, scope: Scope, path: str) -> None:
        inside = path.startswith(_LIMITED_INSIDE) and scope.get("method") != "OPTIONS"
        if path in _UNCOUNTED or inside:
            return
        client = scope.get("client")
        self._limiter.take(PUBLIC, prefix(client[0] if client else None), self._now())

    def _headers(
        self, path: str, given: Iterable[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        headers = [*given, *_HEADERS]
        names = {name.lower() for name, _value in headers}
        if b"cache-control" not in names:
            headers.append(_CACHE)
        if b"allow" in names:  # the framework tells the methods of one of several handlers
            allow = self._addresses.allow(path)
            if allow:
                headers = [h for h in headers if h[0].lower() != b"allow"]
                headers.append((b"allow", allow.encode()))
        return headers


def _origin_form(scope: Scope) -> str:
    """The path that is asked for; of an address in absolute form (RFC 9112, 3.2.2) its path."""
    path: str = scope["path"]
    scheme, mark, rest = path.partition("://")
    if mark and scheme.lower() in ("http", "https"):
        _host, slash, local = rest.partition("/")
        path = slash + local or "/"
        scope["path"] = path
        scope["raw_path"] = path.encode("utf-8", "replace")
    return path


def _oddness(scope: Scope) -> str | None:
    """Why a request could mean different things to us and to a proxy before us; None for most."""
    headers = scope["headers"]
    if scope["http_version"] not in ("1.0", "1.1"):
        return "HTTP is spoken in version 1.1 here"
    names = [name for name, _value in headers]
    if b"transfer-encoding" in names and b"content-length" in names:
        return "a body has a length or comes in chunks, not both"
    if b"transfer-encoding" in names and scope["http_version"] == "1.0":
        return "HTTP/1.0 has no chunks"
    if names.count(b"content-length") > 1 or names.count(b"transfer-encoding") > 1:
        return "the length of the body is said twice"
    for name in _ONCE.intersection(names):
        if names.count(name) > 1:
            return f"the header {name.decode()} stands twice"
    host = next((value for name, value in headers if name == b"host"), b"")
    if HOST.fullmatch(host) is None:
        return "the header host names no host"
    return None


def _check_query(query: bytes) -> None:
    """Returns when every parameter has one meaning; ``Misuse`` for NUL and what stands twice."""
    if b"%00" in query:
        raise Misuse("no parameter holds NUL")
    seen: set[str] = set()
    for part in query.split(b"&"):
        name = unquote_plus(part.partition(b"=")[0].decode("latin-1"))
        if name and name in seen:
            raise Misuse("a parameter of the query stands twice", parameter=name[:64])
        seen.add(name)


def _whole(receive: Receive) -> Receive:
    """``receive`` that ends a request whose sender is gone before all of its body was there.

    Status 400, which nobody hears; without it the framework takes it for a failure of its own.
    """
    whole = False

    async def receiving() -> Any:
        nonlocal whole
        message = await receive()
        if message["type"] == "http.disconnect" and not whole:
            raise HTTPException(status_code=400, detail="the body ended before it was whole")
        whole = whole or not message.get("more_body", False)
        return message

    return receiving


def _in_time(receive: Receive) -> Receive:
    """``receive`` that gives up ``BODY_SECONDS`` after the first look; status 408."""
    loop = asyncio.get_running_loop()
    end: float | None = None
    whole = False

    async def receiving() -> Any:
        nonlocal end, whole
        if whole:  # what comes now is that the client went away
            return await receive()
        if end is None:
            end = loop.time() + BODY_SECONDS
        try:
            async with asyncio.timeout_at(end):
                message = await receive()
        except TimeoutError:
            raise HTTPException(status_code=408, detail="the body took too long") from None
        whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return receiving


async def _refuse(detail: str, send: Send) -> None:
    """400, and the connection ends: what follows on it may be no request."""
    answer = problems.refused(400, detail)
    answer.headers["Connection"] = "close"
    await _answer(answer, send)


async def _answer(answer: Response[bytes], send: Send) -> None:
    headers = [(k.lower().encode(), v.encode()) for k, v in answer.headers.items()]
    body = answer.content
    if body:
        headers.append((b"content-type", problems.MEDIA_TYPE.encode()))
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": answer.status_code or 500,
                "headers": headers})  # fmt: skip
    await send({"type": "http.response.body", "body": body, "more_body": False})


__all__ = ["BODY_SECONDS", "Front"]
