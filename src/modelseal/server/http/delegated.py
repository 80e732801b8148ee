"""What relays ask that give leases by themselves."""

from __future__ import annotations

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_200_OK

from modelseal.server.http.work import (
    ATTESTED_BODY_BYTES,
    DELEGATED_BODY_BYTES,
    AnyRequest,
    network_of,
    read,
    run,
)
from modelseal.server.services import Server
from modelseal.server.services.acts import DelegatedAct
from modelseal.server.services.attesting import AttestedRequest
from modelseal.server.services.booking import Booked
from modelseal.server.services.delegating import Delegated


def routes(server: Server) -> list[HTTPRouteHandler]:
    """The calls of relays."""
    calls = server.devices

    @post(
        "/v1/devices/{device_id:str}/delegations",
        status_code=HTTP_200_OK,
        request_max_body_size=ATTESTED_BODY_BYTES,
        opt={"body": AttestedRequest},
    )
    async def delegate(request: AnyRequest, device_id: str) -> Delegated:
        """Let a relay that proves what it is give leases of the device's license by itself."""
        sent, network = await read(request, AttestedRequest), network_of(request)
        return await run(lambda: calls.delegate(device_id, sent, network=network))

    @post(
        "/v1/relays/{relay_id:str}/acts",
        status_code=HTTP_200_OK,
        request_max_body_size=DELEGATED_BODY_BYTES,
        opt={"body": DelegatedAct},
    )
    async def book(request: AnyRequest, relay_id: str) -> Booked:
        """Book what a relay gave by itself: a device's request and the lease for it."""
        sent, network = await read(request, DelegatedAct), network_of(request)
        return await run(lambda: calls.book(relay_id, sent, network=network))

    return [delegate, book]
