"""The publisher's calls: blobs, models, catalog, trust, log, tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from anyio import fail_after
from litestar import get, post, put
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.response import Stream
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from modelseal.admin import (
    Attestation,
    CatalogState,
    CheckpointRecord,
    EventRecord,
    IssuedToken,
    ModelRecord,
    Page,
    ProductRecord,
    PublishedModel,
    PublishModel,
    Role,
    TokenRecord,
)
from modelseal.errors import NotFound
from modelseal.server.http.admin_licenses import BASE, Cursor, Nothing
from modelseal.server.http.openapi import Verb
from modelseal.server.http.work import (
    ONCE,
    SIGNED_BODY_BYTES,
    AnyRequest,
    admin_of,
    check_media_type,
    read,
    run,
)

PIECE_SECONDS = 60
_BUFFER_BYTES = 1 << 20


class Stored(msgspec.Struct, frozen=True):
    """A blob that is now durable."""

    digest: str


class Targets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The next signed targets role."""

    targets: bytes


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be."""

    role: Role
    expires_in_seconds: Annotated[int, msgspec.Meta(ge=1)] = 90 * 86400
    label: Annotated[str, msgspec.Meta(max_length=64)] = ""


_ON_MODEL = {
    "owner": "record_id",
    "verbs": {"withdraw": Verb(Targets, ModelRecord, "Out of the catalog and of later leases.")},
}
_ON_TOKEN = {
    "owner": "token_id",
    "verbs": {"revoke": Verb(Nothing, TokenRecord, "The token opens nothing from now on.")},
}


@put(
    f"{BASE}/blobs/{{digest:str}}",
    request_max_body_size=None,
    opt={"body": "application/octet-stream"},
)
async def put_blob(request: AnyRequest, digest: str) -> Stored:
    """Send a sealed model; it is stored when its SHA-256 is ``digest``."""
    check_media_type(request, "application/octet-stream")
    writer = await run(admin_of(request).receive_blob, digest)
    if writer is None:
        return Stored(digest)
    try:
        async for piece in _pieces(request):
            await run(writer.write, piece)
        return Stored(await run(writer.commit, digest))
    except BaseException:
        writer.abort()
        raise


@post(
    f"{BASE}/models",
    status_code=HTTP_201_CREATED,
    request_max_body_size=SIGNED_BODY_BYTES,
    opt={"body": PublishModel},
)
async def publish_model(request: AnyRequest) -> PublishedModel:
    """Publish a sealed model whose blob was sent."""
    return await run(admin_of(request).publish_model, await read(request, PublishModel))


@get(f"{BASE}/models")
async def list_models(request: AnyRequest, cursor: Cursor = "") -> Page[ModelRecord]:
    """List models."""
    return await run(admin_of(request).list_models, cursor or None)


@get(f"{BASE}/models/{{model:str}}")
async def show_model(
    request: AnyRequest,
    model: str,
    release: Annotated[str, QueryParameter(pattern="^[0-9]{0,16}$")] = "",
) -> ModelRecord:
    """Show a model by record id, file id or model id."""
    return await run(admin_of(request).show_model, model, int(release) if release else None)


@post(
    f"{BASE}/models/{{target:str}}",
    status_code=HTTP_200_OK,
    request_max_body_size=SIGNED_BODY_BYTES,
    opt=_ON_MODEL,
)
async def act_on_model(request: AnyRequest, target: str) -> ModelRecord:
    """``{id}:withdraw``."""
    record_id, _, verb = target.rpartition(":")
    if verb != "withdraw":
        raise NotFound("no such call")
    targets = (await read(request, Targets)).targets
    return await run(admin_of(request).withdraw_model, record_id, targets)


@get(f"{BASE}/products")
async def list_products(request: AnyRequest, cursor: Cursor = "") -> Page[ProductRecord]:
    """List products: the one of the workspace."""
    return await run(admin_of(request).list_products, cursor or None)


@get(f"{BASE}/products/{{product:str}}")
async def show_product(request: AnyRequest, product: str) -> ProductRecord:
    """Show a product by its name."""
    return await run(admin_of(request).show_product, product)


@get(f"{BASE}/catalog")
async def catalog_state(request: AnyRequest) -> CatalogState:
    """The current signed roles."""
    return await run(admin_of(request).catalog_state)


@get(f"{BASE}/events")
async def list_events(
    request: AnyRequest,
    cursor: Cursor = "",
    subject: Annotated[str, QueryParameter(max_length=128)] = "",
) -> Page[EventRecord]:
    """List audit events, of one subject where asked."""
    return await run(admin_of(request).list_events, cursor or None, subject or None)


@get(f"{BASE}/events/{{event_id:str}}/attestation")
async def show_attestation(request: AnyRequest, event_id: str) -> Attestation:
    """The signed verdicts over a machine's evidence beside one event."""
    return await run(admin_of(request).show_attestation, event_id)


@get(f"{BASE}/events:export", opt={"answer": "application/jsonl"})
async def export_events(request: AnyRequest) -> Stream:
    """Export the audit log as JSON lines."""
    lines = await run(admin_of(request).export_events)
    return Stream(lines, media_type="application/jsonl")


@get(f"{BASE}/checkpoint")
async def checkpoint(request: AnyRequest) -> CheckpointRecord:
    """The signed head after everything acknowledged so far."""
    return await run(admin_of(request).checkpoint)


@post(f"{BASE}/tokens", status_code=HTTP_201_CREATED, opt={"body": NewToken, "headers": ONCE})
async def create_token(request: AnyRequest) -> IssuedToken:
    """Make an admin token."""
    new = await read(request, NewToken)
    act = admin_of(request).create_token
    return await run(act, new.role, new.expires_in_seconds, new.label)


@get(f"{BASE}/tokens")
async def list_tokens(request: AnyRequest, cursor: Cursor = "") -> Page[TokenRecord]:
    """List admin tokens."""
    return await run(admin_of(request).list_tokens, cursor or None)


@post(f"{BASE}/tokens/{{target:str}}", status_code=HTTP_200_OK, opt=_ON_TOKEN)
async def act_on_token(request: AnyRequest, target: str) -> TokenRecord:
    """``{id}:revoke``."""
    token_id, _, verb = target.rpartition(":")
    if verb != "revoke":
        raise NotFound("no such call")
    await read(request, Nothing)
    return await run(admin_of(request).revoke_token, token_id)


async def _pieces(request: AnyRequest) -> AsyncIterator[bytes]:
    """The body in pieces of about 1 MiB; a sender that stands still is left after a minute."""
    stream = request.stream()
    kept = bytearray()
    while True:
        try:
            with fail_after(PIECE_SECONDS):
                piece = await anext(stream)
        except StopAsyncIteration:
            break
        except TimeoutError:
            raise HTTPException(status_code=408, detail="the upload stood still") from None
        kept += piece
        if len(kept) >= _BUFFER_BYTES:
            yield bytes(kept)
            kept.clear()
    if kept:
        yield bytes(kept)


HANDLERS: list[HTTPRouteHandler] = [
        put_blob, publish_model, list_models, show_model, act_on_model, list_products, show_product,
        catalog_state,
        list_events, show_attestation, export_events, checkpoint, create_token, list_tokens,
        act_on_token,
    ]  # fmt: skip
