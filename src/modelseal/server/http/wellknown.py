"""Who this server is, whether it works, and its numbers."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from modelseal.errors import NotFound
from modelseal.server.http.work import run
from modelseal.server.services import Server
from modelseal.server.services.about import Discovery

_TEXT = "text/plain; version=0.0.4"


def routes(server: Server) -> list[HTTPRouteHandler]:
    """Discovery, keys, health, metrics."""

    @get("/.well-known/modelseal")
    async def discovery() -> Discovery:
        """Server id, product, versions, time."""
        return await run(server.about.discovery)

    @get("/.well-known/jwks.json", opt={"answer": "application/jwk-set+json"})
    async def jwks() -> Response[bytes]:
        """The public keys of the pinned list as a JWK set. Never a reason to trust one."""
        keys: dict[str, Any] = await run(server.about.jwks)
        return Response(
            msgspec.json.encode(keys),
            media_type="application/jwk-set+json",
            headers={"Cache-Control": "public, max-age=300"},
        )

    @get("/healthz", opt={"answer": "text/plain"})
    async def healthz() -> Response[bytes]:
        """The process answers."""
        return Response(b"ok\n", media_type="text/plain")

    @get("/readyz", opt={"answer": "text/plain"})
    async def readyz() -> Response[bytes]:
        """Store and keys work."""
        await run(server.ready)
        return Response(b"ready\n", media_type="text/plain")

    @get("/metrics", opt={"answer": "text/plain"})
    async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Prometheus text, for the networks that may watch; 404 for others."""
        client = request.scope.get("client")
        if not server.about.may_watch(client[0] if client else None):
            raise NotFound("no such address")
        text: str = await run(server.about.metrics)
        return Response(text.encode(), media_type=_TEXT, headers={"Cache-Control": "no-store"})

    return [discovery, jwks, healthz, readyz, metrics]
