"""The publisher's calls for devices without a network: request files and codes."""

from __future__ import annotations

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_200_OK

from modelseal.admin import AskLeaseCode, LeaseCode, RequestFile, Responded
from modelseal.server.http.work import ONCE, AnyRequest, admin_of, read, run

BASE = "/v1/admin/leases"
REQUEST_BODY_BYTES = 512 * 1024


@post(
    f"{BASE}:respond",
    status_code=HTTP_200_OK,
    opt={"body": RequestFile},
    request_max_body_size=REQUEST_BODY_BYTES,
)
async def respond(request: AnyRequest) -> Responded:
    """Answer a device's request file."""
    wish = await read(request, RequestFile)
    return await run(admin_of(request).respond, wish.request)


@post(f"{BASE}:code", status_code=HTTP_200_OK, opt={"body": AskLeaseCode, "headers": ONCE})
async def lease_code(request: AnyRequest) -> LeaseCode:
    """Tell the code of a device's next lease."""
    wish = await read(request, AskLeaseCode)
    return await run(admin_of(request).lease_code, wish.device, wish.further)


HANDLERS: list[HTTPRouteHandler] = [respond, lease_code]
