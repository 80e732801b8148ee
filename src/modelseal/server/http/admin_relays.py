"""The calls of relays in closed networks, and the list of them."""

from __future__ import annotations

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_200_OK

from modelseal.admin import AskRelayed, Page, Relayed, RelayRecord, RelayReport, RelaySynced
from modelseal.server.http.admin_licenses import Cursor
from modelseal.server.http.work import AnyRequest, admin_of, read, run

BASE = "/v1/admin/relays"


@post(f"{BASE}:sync", status_code=HTTP_200_OK, opt={"body": RelayReport})
async def sync_relay(request: AnyRequest) -> RelaySynced:
    """Report what a relay did; says how the report follows the last one."""
    return await run(admin_of(request).sync_relay, await read(request, RelayReport))


@post(f"{BASE}:leases", status_code=HTTP_200_OK, opt={"body": AskRelayed})
async def relayed_leases(request: AnyRequest) -> Relayed:
    """Tell which leases ahead a relay gave out; answers the codes of those it may give out."""
    return await run(admin_of(request).relayed_leases, await read(request, AskRelayed))


@get(BASE)
async def list_relays(request: AnyRequest, cursor: Cursor = "") -> Page[RelayRecord]:
    """List relays: their newest reports, and what was found about them."""
    return await run(admin_of(request).list_relays, cursor or None)


HANDLERS: list[HTTPRouteHandler] = [list_relays, sync_relay, relayed_leases]
