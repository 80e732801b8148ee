"""Who reads the server's numbers: those near it, and nobody on the Internet."""

from __future__ import annotations

from typing import Any

import pytest
from litestar.testing import TestClient
from tests.server.world import Clock, Shop

from modelseal.errors import ConfigInvalid
from modelseal.server.app import create_app
from modelseal.server.services import open_server
from modelseal.server.services.addresses import may_watch, networks

NEAR = ("127.0.0.1", "::1", "10.2.3.4", "192.168.7.7", "100.64.0.9", "fd00::1", "::ffff:10.0.0.1")
FAR = ("8.8.8.8", "2600::1", "::ffff:8.8.8.8", "2002:808:808::1", None, "", "unknown")


def status(shop: Shop, path: str, address: str) -> int:
    """What somebody at ``address`` is answered."""
    app = create_app(shop.server, ticking=False)
    answering = app.asgi_handler

    async def from_address(scope: Any, receive: Any, send: Any) -> None:
        scope["client"] = (address, 50123)
        await answering(scope, receive, send)

    app.asgi_handler = from_address
    with TestClient(app) as http:
        return int(http.get(path, headers={"X-Forwarded-For": "127.0.0.1"}).status_code)


def test_numbers_are_there_for_those_near_and_not_for_the_internet(shop: Shop) -> None:
    """A header that anybody can send makes nobody near."""
    assert status(shop, "/metrics", "10.2.3.4") == 200
    assert status(shop, "/metrics", "8.8.8.8") == 404
    assert status(shop, "/readyz", "8.8.8.8") == 200


@pytest.mark.parametrize("address", NEAR)
def test_whoever_is_not_on_the_internet_is_near(address: str) -> None:
    assert may_watch(address)


@pytest.mark.parametrize("address", FAR)
def test_whoever_is_public_or_nobody_is_not(address: str | None) -> None:
    assert not may_watch(address)


def test_named_networks_stand_in_place_of_all_others() -> None:
    named = networks(["203.0.113.0/24", "2600::/32"], "metrics_networks")
    assert may_watch("203.0.113.9", named) and may_watch("2600::1", named)
    assert not may_watch("10.2.3.4", named) and not may_watch("127.0.0.1", named)


def test_what_is_no_network_is_refused_when_the_server_starts(shop: Shop) -> None:
    path = shop.home / "server/server.toml"
    path.write_text(path.read_text() + '\nmetrics_networks = ["everybody"]\n')
    with pytest.raises(ConfigInvalid):
        open_server(shop.home, now=Clock())
