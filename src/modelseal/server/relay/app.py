"""The relay's side towards devices: the device calls, and what everybody may fetch, read-only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from litestar import Litestar, Response, get, post, put, route
from litestar.enums import HttpMethod
from litestar.exceptions import HTTPException
from litestar.response import Stream

from modelseal.errors import ModelsealError, NotFound
from modelseal.server.http import problems, work
from modelseal.server.http.files import IMMUTABLE, part_of
from modelseal.server.http.work import AnyRequest, run, token_of
from modelseal.server.relay import asking, documents
from modelseal.server.relay.box import MAX_ASKED_FOR, Box
from modelseal.server.relay.giving import Giving
from modelseal.server.services.blobs import is_digest

_STEP = 1 << 20
_OCTETS = "application/octet-stream"
BUNDLES = "/v1/bundles/"


def create_app(box: Box, now: Callable[[], datetime], giving: Giving | None = None) -> Litestar:
    """The application over the relay's ``box``, and over its budget where it has one."""

    async def ask(request: AnyRequest) -> Response[bytes]:
        path = request.scope["path"]
        asking.check(path)
        token = await token_of(request)
        method = request.method
        found = await run(lambda: asking.answer(box, method, path, token, now(), giving))
        headers = {"Cache-Control": "no-store"}
        return Response(
            found.body, status_code=found.status, media_type=found.media, headers=headers
        )

    @post("/v1/{rest:path}", request_max_body_size=work.DEVICE_BODY_BYTES)
    async def posted(request: AnyRequest, rest: str) -> Response[bytes]:
        return await ask(request)

    @put("/v1/{rest:path}", request_max_body_size=work.DEVICE_BODY_BYTES)
    async def renewed(request: AnyRequest, rest: str) -> Response[bytes]:
        return await ask(request)

    @get("/v1/{rest:path}")
    async def fetched(request: AnyRequest, rest: str) -> Response[bytes]:
        return await run(_document, box, request.scope["path"], giving)

    @get("/.well-known/{name:str}")
    async def known(name: str) -> Response[bytes]:
        return await run(_document, box, f"/.well-known/{name}", None)

    @route("/v1/blobs/{digest:str}", http_method=[HttpMethod.GET, HttpMethod.HEAD])
    async def blob(request: AnyRequest, digest: str) -> Response[bytes] | Stream:
        return await run(_model, box, request, digest)

    @get("/v1/blobs/{digest:str}/urls")
    async def blob_urls(digest: str) -> dict[str, list[str]]:
        await run(_size, box, digest)
        return {"urls": []}

    @get("/healthz")
    async def healthz() -> Response[bytes]:
        return Response(b"ok\n", media_type="text/plain")

    @get("/readyz")
    async def readyz() -> Response[bytes]:
        await run(box.counts)
        return Response(b"ready\n", media_type="text/plain")

    @get("/metrics")
    async def metrics() -> Response[bytes]:
        lines = await run(_metrics, box, now())
        return Response(lines, media_type="text/plain; version=0.0.4")

    return Litestar(
        route_handlers=[
            *(posted, renewed, fetched, known, blob, blob_urls, healthz, readyz, metrics)
        ],
        exception_handlers={
            Exception: problems.on_error,
            HTTPException: problems.on_error,
            ModelsealError: problems.on_error,
        },
        openapi_config=None,
        logging_config=None,
        request_max_body_size=work.DEVICE_BODY_BYTES,
    )


def _document(box: Box, path: str, giving: Giving | None) -> Response[bytes]:
    """What the last sync brought under ``path``; a status list is noted for the next one."""
    if giving is not None and path.startswith(BUNDLES):
        bundle = giving.bundle(path.removeprefix(BUNDLES))
        if bundle is not None:
            return Response(bundle, media_type=_OCTETS, headers={"Cache-Control": IMMUTABLE})
    found = box.document(path) if documents.is_document(path) else None
    if found is None:
        changes = documents.is_document(path) and not documents.is_fixed(path)
        if changes and documents.is_wanted(path):
            box.want(path, MAX_ASKED_FOR)
        if changes or documents.is_wanted(path):
            raise asking.waiting(box)
        raise NotFound("a relay has no such document")
    cache = IMMUTABLE if documents.is_fixed(path) else "no-cache"
    return Response(found.body, media_type=found.media, headers={"Cache-Control": cache})


def _path(box: Box, digest: str) -> Path:
    if not is_digest(digest):
        raise NotFound("no such blob", digest=digest[:64])
    return box.models / digest


def _size(box: Box, digest: str) -> int:
    try:
        return _path(box, digest).stat().st_size
    except OSError:
        raise NotFound("no such blob", digest=digest[:64]) from None


def _model(box: Box, request: AnyRequest, digest: str) -> Response[bytes] | Stream:
    def read(_digest: str, start: int, stop: int) -> Iterator[bytes]:
        return _pieces(_path(box, digest), start, stop)

    return part_of(request, digest, _size(box, digest), read)


def _pieces(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start, os.SEEK_SET)
        while start < stop and (piece := file.read(min(_STEP, stop - start))):
            start += len(piece)
            yield piece


def _metrics(box: Box, now: datetime) -> bytes:
    """Counts since the last report, and seconds since the last acknowledged sync."""
    values = {f"modelseal_relay_{name}": count for name, count in box.counts().items()}
    values["modelseal_relay_overdrawn"] = int(box.noted("overdrawn") or 0)
    synced = box.noted("synced_at")
    if synced is not None:
        age = now - datetime.fromisoformat(synced)
        values["modelseal_relay_sync_age_seconds"] = int(age.total_seconds())
    lines = (f"# TYPE {name} gauge\n{name} {value}\n" for name, value in values.items())
    return "".join(lines).encode()
