"""What devices ask: each body is one ``request+jwt``."""

from __future__ import annotations

from litestar import post, put
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from modelseal.errors import NotFound
from modelseal.server.http.openapi import Verb
from modelseal.server.http.work import (
    ATTESTED_BODY_BYTES,
    DEVICE_BODY_BYTES,
    JWT,
    AnyRequest,
    network_of,
    read,
    run,
    token_of,
)
from modelseal.server.services import Server
from modelseal.server.services.activation import Activated
from modelseal.server.services.attesting import AttestedRequest, ReleaseNonce
from modelseal.server.services.lookup import Looked
from modelseal.server.services.proving import Challenged
from modelseal.server.services.releasing import Released
from modelseal.server.services.renewal import Renewed
from modelseal.server.services.returning import Returned

RETURN = ":return"
TAKES_JWT = {"body": JWT}


def routes(server: Server) -> list[HTTPRouteHandler]:
    """The device calls."""
    calls = server.devices
    cap = DEVICE_BODY_BYTES

    @post("/v1/devices", status_code=HTTP_201_CREATED, request_max_body_size=cap, opt=TAKES_JWT)
    async def activate(request: AnyRequest) -> Activated:
        """Activate: a license key and a device become a seat, a license and a lease."""
        token, network = await token_of(request), network_of(request)
        return await run(lambda: calls.activate(token, network=network))

    @post("/v1/trials", status_code=HTTP_201_CREATED, request_max_body_size=cap, opt=TAKES_JWT)
    async def start_trial(request: AnyRequest) -> Activated:
        """Start a trial, where a plan offers one; answers the license key too."""
        token, network = await token_of(request), network_of(request)
        return await run(lambda: calls.trial(token, network=network))

    @post("/v1/licenses:lookup", status_code=HTTP_200_OK, request_max_body_size=cap, opt=TAKES_JWT)
    async def look_up(request: AnyRequest) -> Looked:
        """Look a license key up: plan, end, seats, holders, agreement."""
        token, network = await token_of(request), network_of(request)
        return await run(lambda: calls.lookup(token, network=network))

    @post(
        "/v1/devices:challenge", status_code=HTTP_200_OK, request_max_body_size=cap, opt=TAKES_JWT
    )
    async def challenge(request: AnyRequest) -> Challenged:
        """Challenge: a credential that only the TPM named in the request can read."""
        token, network = await token_of(request), network_of(request)
        return await run(lambda: calls.challenge(token, network=network))

    @put("/v1/leases/{device_id:str}", request_max_body_size=cap, opt=TAKES_JWT)
    async def renew(request: AnyRequest, device_id: str) -> Renewed:
        """Renew: the heartbeat. The next lease, or a signed denial."""
        token, network = await token_of(request), network_of(request)
        return await run(lambda: calls.renew(device_id, token, network=network))

    @post(
        "/v1/devices/{target:str}",
        status_code=HTTP_200_OK,
        request_max_body_size=cap,
        opt={"owner": "device_id", "verbs": {"return": Verb(JWT, Returned, "Give the seat back.")}},
    )
    async def return_seat(request: AnyRequest, target: str) -> Returned:
        """Return: give the seat back."""
        if not target.endswith(RETURN):
            raise NotFound("no such call")
        device_id = target.removesuffix(RETURN)
        token, network = await token_of(request), network_of(request)
        return await run(lambda: calls.give_back(device_id, token, network=network))

    @post(
        "/v1/devices/{device_id:str}/key-releases",
        status_code=HTTP_200_OK,
        request_max_body_size=cap,
        opt=TAKES_JWT,
    )
    async def release_keys(request: AnyRequest, device_id: str) -> Released:
        """Release keys for one run under the lease in force."""
        token, network = await token_of(request), network_of(request)
        return await run(lambda: calls.release(device_id, token, network=network))

    @post(
        "/v1/devices/{device_id:str}/key-releases:nonce",
        status_code=HTTP_200_OK,
        request_max_body_size=cap,
        opt=TAKES_JWT,
    )
    async def release_nonce(request: AnyRequest, device_id: str) -> ReleaseNonce:
        """A nonce for one attested key release; known to every process of the server."""
        token, network = await token_of(request), network_of(request)
        return await run(lambda: calls.release_nonce(device_id, token, network=network))

    @post(
        "/v1/devices/{device_id:str}/key-releases:attest",
        status_code=HTTP_200_OK,
        request_max_body_size=ATTESTED_BODY_BYTES,
        opt={"body": AttestedRequest},
    )
    async def attested_release(request: AnyRequest, device_id: str) -> Released:
        """Release keys of higher levels for one run that proves what it is."""
        sent, network = await read(request, AttestedRequest), network_of(request)
        return await run(lambda: calls.attested_release(device_id, sent, network=network))

    return [
        *(activate, start_trial, look_up, challenge, renew, return_seat, release_keys),
        *(release_nonce, attested_release),
    ]
