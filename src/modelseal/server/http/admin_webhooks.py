"""The publisher's calls: webhooks and what was told to them."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from modelseal.admin import (
    IssuedWebhook,
    MessageRecord,
    MessageState,
    NewWebhook,
    Page,
    ReplayedMessages,
    ReplayMessages,
    WebhookChange,
    WebhookRecord,
)
from modelseal.errors import NotFound
from modelseal.server.http.admin_licenses import BASE, Cursor, Nothing
from modelseal.server.http.openapi import Verb
from modelseal.server.http.work import (
    MATCH,
    ONCE,
    TAGGED,
    AnyRequest,
    admin_of,
    read,
    run,
    tag_of,
    versioned,
)
from modelseal.server.services import webhooks

_ON_WEBHOOK = {
    "owner": "webhook_id",
    "verbs": {
        "rotate": Verb(
            Nothing, IssuedWebhook, "A new secret; the old one signs a day longer.", ONCE
        ),
        "test": Verb(Nothing, ReplayedMessages, "Send one message about this act.", ONCE),
        "replay": Verb(
            ReplayMessages,
            ReplayedMessages,
            "Send messages again: the named, or all given up.",
            ONCE,
        ),
    },
}


_STATES = f"^({'|'.join(MessageState)})?$"


@post(f"{BASE}/webhooks", status_code=HTTP_201_CREATED, opt={"body": NewWebhook, "headers": ONCE})
async def create_webhook(request: AnyRequest) -> IssuedWebhook:
    """Make a webhook; its secret is shown this once."""
    return await run(admin_of(request).create_webhook, await read(request, NewWebhook))


@get(f"{BASE}/webhooks")
async def list_webhooks(request: AnyRequest, cursor: Cursor = "") -> Page[WebhookRecord]:
    """List webhooks."""
    return await run(admin_of(request).list_webhooks, cursor or None)


@get(f"{BASE}/webhooks/{{webhook_id:str}}", opt={"gives": TAGGED})
async def show_webhook(request: AnyRequest, webhook_id: str) -> Response[WebhookRecord]:
    """Show one webhook; its ``ETag`` names this state of it, for ``If-Match``."""
    record = await run(admin_of(request).show_webhook, webhook_id)
    return versioned(record, webhooks.tag_of(record))


@patch(
    f"{BASE}/webhooks/{{webhook_id:str}}",
    opt={"body": WebhookChange, "headers": MATCH, "gives": TAGGED},
)
async def change_webhook(request: AnyRequest, webhook_id: str) -> Response[WebhookRecord]:
    """Change what is named; 409 when ``If-Match`` is not the present state."""
    change, tag = await read(request, WebhookChange), tag_of(request)
    record = await run(admin_of(request).change_webhook, webhook_id, change, tag)
    return versioned(record, webhooks.tag_of(record))


@delete(f"{BASE}/webhooks/{{webhook_id:str}}", status_code=HTTP_200_OK, opt={"headers": MATCH})
async def remove_webhook(request: AnyRequest, webhook_id: str) -> WebhookRecord:
    """Remove a webhook and what waits for it; ``If-Match`` as with a change."""
    return await run(admin_of(request).remove_webhook, webhook_id, tag_of(request))


@post(f"{BASE}/webhooks/{{target:str}}", status_code=HTTP_200_OK, opt=_ON_WEBHOOK)
async def act_on_webhook(request: AnyRequest, target: str) -> Any:
    """``{id}:rotate``, ``:test``, ``:replay``."""
    webhook_id, _, verb = target.rpartition(":")
    admin = admin_of(request)
    if verb == "replay":
        wish = await read(request, ReplayMessages)
        return await run(admin.replay_messages, webhook_id, wish.event_ids)
    acts: dict[str, Any] = {"rotate": admin.rotate_webhook, "test": admin.test_webhook}
    if verb not in acts:
        raise NotFound("no such call")
    await read(request, Nothing)
    return await run(acts[verb], webhook_id)


@get(f"{BASE}/webhooks/{{webhook_id:str}}/messages")
async def list_messages(
    request: AnyRequest,
    webhook_id: str,
    in_state: Annotated[str, QueryParameter(name="state", pattern=_STATES)] = "",
    cursor: Cursor = "",
) -> Page[MessageRecord]:
    """List what was told to a webhook, in one state where asked."""
    wanted = MessageState(in_state) if in_state else None
    return await run(admin_of(request).list_messages, webhook_id, wanted, cursor or None)


HANDLERS: list[HTTPRouteHandler] = [
    create_webhook, list_webhooks, show_webhook, change_webhook, remove_webhook, act_on_webhook,
    list_messages,
]  # fmt: skip
