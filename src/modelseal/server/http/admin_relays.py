"""The call of relays in closed networks: what they did since the last sync."""

from __future__ import annotations

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_200_OK

from modelseal.admin import AskRelayed, Relayed, RelayReport, RelaySynced
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


HANDLERS: list[HTTPRouteHandler] = [sync_relay, relayed_leases]
