"""The publisher's calls: the trust in force and the server's own keys."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.status_codes import HTTP_200_OK

from modelseal.admin import (
    MakeKeys,
    PutTrust,
    RewrappedKeys,
    RotateKek,
    ServerKeys,
    TrustDocuments,
    TrustState,
)
from modelseal.server.http.admin_licenses import BASE
from modelseal.server.http.work import SIGNED_BODY_BYTES, AnyRequest, admin_of, read, run


@put(f"{BASE}/trust", request_max_body_size=SIGNED_BODY_BYTES, opt={"body": PutTrust})
async def put_trust(request: AnyRequest) -> TrustState:
    """Put new trust in force."""
    return await run(admin_of(request).put_trust, await read(request, PutTrust))


@get(f"{BASE}/trust")
async def trust_documents(
    request: AnyRequest,
    after_root: Annotated[str, QueryParameter(pattern="^[0-9]{0,16}$")] = "",
) -> TrustDocuments:
    """The signed trust in force, with the roots after one version."""
    return await run(admin_of(request).trust_documents, int(after_root or 0))


@get(f"{BASE}/keys")
async def server_keys(request: AnyRequest) -> ServerKeys:
    """The server's keys by their public halves."""
    return await run(admin_of(request).server_keys)


@post(f"{BASE}/keys", status_code=HTTP_200_OK, opt={"body": MakeKeys})
async def make_keys(request: AnyRequest) -> ServerKeys:
    """Make keys that wait to be listed."""
    wish = await read(request, MakeKeys)
    return await run(admin_of(request).make_keys, wish.uses, wish.to)


@post(f"{BASE}/kek:rotate", status_code=HTTP_200_OK, opt={"body": RotateKek})
async def rotate_kek(request: AnyRequest) -> RewrappedKeys:
    """Another key-encryption key wraps everything; the old one is erased."""
    return await run(admin_of(request).rotate_kek, (await read(request, RotateKek)).to)


HANDLERS: list[HTTPRouteHandler] = [
    put_trust, trust_documents, server_keys, make_keys, rotate_kek,
]  # fmt: skip
