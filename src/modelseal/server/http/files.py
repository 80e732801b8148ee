"""What everybody may fetch: blobs in ranges, bundles, catalog, status lists, log."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
from litestar import Response, get, route
from litestar.enums import HttpMethod
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from modelseal.errors import NotFound
from modelseal.server.http.work import AnyRequest, run
from modelseal.server.services import Server
from modelseal.server.services.log import LoggedEvent

IMMUTABLE = "public, max-age=31536000, immutable"
FRESH = "public, max-age=60"
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_OCTETS = "application/octet-stream"
_RANGE_HEADERS = {
    "Range": "One range of bytes; anything else means the whole file.",
    "If-Range": "The ETag the range belongs to; another one means the whole file.",
    "If-None-Match": "The ETag of a file that is there already.",
}
_RANGE_GIVES = {
    "ETag": "The digest in quotes: the file never changes.",
    "Accept-Ranges": "`bytes`.",
    "Content-Range": "With 206: first and last byte, and the size.",
}
_RANGE_ANSWERS = {206: "The range.", 304: "The file that is there already.", 416: "Outside."}


class BlobUrls(msgspec.Struct, frozen=True):
    """Addresses that give one sealed model's bytes, in ranges too, with no header of ours."""

    urls: list[str]


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes to send, from ``start`` up to ``stop``; ``partial`` when asked for a range."""

    start: int
    stop: int
    partial: bool


def span_of(request: AnyRequest, size: int, etag: str) -> Span:
    """What of a file is wanted (RFC 9110, section 14); status 416 for a range outside it.

    Several ranges, odd units and a range of another version (``If-Range``) mean the whole file.
    """
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if asked is None or asked.groups() == ("", ""):
        return Span(0, size, partial=False)
    if request.headers.get("if-range", etag) != etag:
        return Span(0, size, partial=False)
    first, last = asked.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    if start >= size or start >= stop:
        raise HTTPException(
            status_code=416,
            detail="the range lies outside the file",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return Span(start, stop, partial=True)


def part_of(
    request: AnyRequest, digest: str, size: int, read: Callable[[str, int, int], Iterator[bytes]]
) -> Response[bytes] | Stream:
    """What ``request`` wants of the immutable file ``digest``: of the bytes that ``read`` gives
    from one offset up to another, or nothing when it is there already."""
    etag = f'"{digest}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": IMMUTABLE}
    known = request.headers.get("if-none-match", "").strip()
    if known == "*" or etag in known:
        return Response(b"", status_code=304, headers=headers)
    span = span_of(request, size, etag)
    headers["Content-Length"] = str(span.stop - span.start)
    if span.partial:
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    status = 206 if span.partial else 200
    if request.method == "HEAD":
        return Response(b"", status_code=status, headers=headers, media_type=_OCTETS)
    pieces = read(digest, span.start, span.stop)
    return Stream(pieces, status_code=status, headers=headers, media_type=_OCTETS)


def routes(server: Server) -> list[HTTPRouteHandler]:
    """Static, cacheable things."""
    return [*_blobs(server), *_signed(server)]


def _blobs(server: Server) -> list[HTTPRouteHandler]:

    @route(
        "/v1/blobs/{digest:str}",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        opt={
            "answer": _OCTETS,
            "headers": _RANGE_HEADERS,
            "answers": _RANGE_ANSWERS,
            "gives": _RANGE_GIVES,
        },
    )
    async def blob(request: AnyRequest, digest: str) -> Response[bytes] | Stream:
        """A sealed model by its SHA-256; ``Range`` and ``If-Range`` as in RFC 9110."""
        size = await run(server.context.blobs.size, digest)
        return part_of(request, digest, size, server.context.blobs.read)

    @get("/v1/blobs/{digest:str}/urls")
    async def blob_urls(digest: str) -> BlobUrls:
        """Where else a sealed model lies for a while: addresses of the server's own store."""
        found = await run(server.context.blobs.url, digest)
        if found is None and not await run(server.context.blobs.has, digest):
            raise NotFound("no such blob", digest=digest[:64])
        return BlobUrls([found] if found else [])

    return [blob, blob_urls]


def _signed(server: Server) -> list[HTTPRouteHandler]:
    @get("/v1/bundles/{digest:str}", opt={"answer": _OCTETS})
    async def bundle(digest: str) -> Response[bytes]:
        """A key bundle by its SHA-256."""
        data = await run(server.devices.bundle, digest)
        return _bytes(data, _OCTETS, "private, max-age=31536000, immutable")

    @get("/v1/catalog/{name:str}", opt={"answer": "application/json"})
    async def catalog(name: str) -> Response[bytes]:
        """TUF metadata with consistent snapshots: ``timestamp.json``, ``N.role.json``."""
        data = await run(server.catalog.document, name)
        cache = "no-cache" if name == "timestamp.json" else IMMUTABLE
        return _bytes(data, "application/json", cache)

    @get("/v1/catalog/targets/{name:str}", opt={"answer": "application/json"})
    async def catalog_target(name: str) -> Response[bytes]:
        """The key list, as TUF names it: ``{sha256}.keys``."""
        data = await run(server.catalog.key_list, name)
        return _bytes(data, "application/json", IMMUTABLE)

    @get("/v1/status-lists/{number:int}", opt={"answer": "application/statuslist+jwt"})
    async def status_list(request: AnyRequest, number: int) -> Response[bytes]:
        """A Token Status List."""
        if not request.scope["path"].endswith(f"/{number}"):  # +1, 01 and 1_0 are numbers to Python
            raise NotFound("no such status list")
        data = await run(server.statuses.token, number)
        return _bytes(data, "application/statuslist+jwt", FRESH)

    @get("/v1/log/checkpoint", opt={"answer": "text/plain"})
    async def checkpoint() -> Response[bytes]:
        """The signed head of the audit log (C2SP tlog-checkpoint)."""
        return _bytes(await run(server.log.note), "text/plain", "no-cache")

    @get("/v1/log/tile/{path:path}", opt={"answer": _OCTETS})
    async def tile(path: str) -> Response[bytes]:
        """A hash tile of the audit log (C2SP tlog-tiles)."""
        data = await run(server.log.public_tile, f"tile/{str(path).strip('/')}")
        return _bytes(data, _OCTETS, IMMUTABLE)

    @get("/v1/log/events/{event_id:str}")
    async def event(event_id: str) -> LoggedEvent:
        """Where an event stands in the audit log."""
        return await run(server.log.find, event_id)

    return [bundle, catalog, catalog_target, status_list, checkpoint, tile, event]


def _bytes(data: bytes, media_type: str, cache: str) -> Response[bytes]:
    return Response(data, media_type=media_type, headers={"Cache-Control": cache})
