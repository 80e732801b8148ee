"""Signing in by an ID token, and out."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from modelseal.admin import EndedSession, Session, SignInOffer
from modelseal.server.http.admin_licenses import BASE, Nothing
from modelseal.server.http.work import AnyRequest, admin_of, network_of, read, run
from modelseal.server.services import Server
from modelseal.server.services.idtoken import MAX_BYTES


class OpenSession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An ID token, and the ``proof`` its nonce was made of; none by a device grant."""

    id_token: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_BYTES)]
    proof: Annotated[str, msgspec.Meta(min_length=43, max_length=43)] | None = None


def routes(server: Server) -> list[HTTPRouteHandler]:
    """Where people sign in, and the exchange: calls without an admin token."""

    @get("/v1/sign-in")
    async def sign_in_offer() -> SignInOffer:
        """Where and as which client people sign in; 404 where they do not."""
        return await run(server.signin.offer)

    @post("/v1/sign-in", status_code=HTTP_201_CREATED, opt={"body": OpenSession})
    async def open_session(request: AnyRequest) -> Session:
        """Exchange an ID token for an admin token of the person's role."""
        asked = await read(request, OpenSession)
        who = network_of(request)
        return await run(server.signin.open, asked.id_token, asked.proof, who)

    return [sign_in_offer, open_session]


@post(f"{BASE}/session:end", status_code=HTTP_200_OK, opt={"body": Nothing})
async def end_session(request: AnyRequest) -> EndedSession:
    """Sign out: the session that asks is over."""
    await read(request, Nothing)
    return await run(admin_of(request).end_session)


HANDLERS: list[HTTPRouteHandler] = [end_session]
