"""The call of relays in closed networks: what they did since the last sync."""

from __future__ import annotations

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_200_OK

from modelseal.admin import RelayReport, RelaySynced
from modelseal.server.http.work import AnyRequest, admin_of, read, run

BASE = "/v1/admin/relays"


@post(f"{BASE}:sync", status_code=HTTP_200_OK, opt={"body": RelayReport})
async def sync_relay(request: AnyRequest) -> RelaySynced:
    """Report what a relay did; says how the report follows the last one."""
    return await run(admin_of(request).sync_relay, await read(request, RelayReport))


HANDLERS: list[HTTPRouteHandler] = [sync_relay]
