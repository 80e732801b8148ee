"""The publisher's calls about relays that give leases by themselves."""

from __future__ import annotations

from typing import Any

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_200_OK

from modelseal.admin import Page, RelayBudget
from modelseal.errors import NotFound
from modelseal.server.http.admin_licenses import Because, Cursor, Nothing
from modelseal.server.http.openapi import Verb
from modelseal.server.http.work import AnyRequest, admin_of, read, run

BASE = "/v1/admin/budgets"
_ON_BUDGET = {
    "owner": "relay_id",
    "verbs": {
        "revoke": Verb(
            Because, RelayBudget, "No further budget; what it gave is listed as revoked."
        ),
        "restore": Verb(Nothing, RelayBudget, "It may ask for a budget again."),
    },
}


@get(BASE)
async def list_budgets(request: AnyRequest, cursor: Cursor = "") -> Page[RelayBudget]:
    """List relays that give leases by themselves."""
    return await run(admin_of(request).list_budgets, cursor or None)


@get(f"{BASE}/{{relay_id:str}}")
async def show_budget(request: AnyRequest, relay_id: str) -> RelayBudget:
    """Show what one relay may give, and what of it was reported."""
    return await run(admin_of(request).show_budget, relay_id)


@post(f"{BASE}/{{target:str}}", status_code=HTTP_200_OK, opt=_ON_BUDGET)
async def act_on_budget(request: AnyRequest, target: str) -> Any:
    """``{id}:revoke``, ``:restore``."""
    relay, _, verb = target.rpartition(":")
    admin = admin_of(request)
    if verb == "revoke":
        wish = await read(request, Because)
        return await run(admin.revoke_budget, relay, wish.reason)
    if verb != "restore":
        raise NotFound("no such call")
    await read(request, Nothing)
    return await run(admin.restore_budget, relay)


HANDLERS: list[HTTPRouteHandler] = [list_budgets, show_budget, act_on_budget]
