"""One real server over HTTPS for every test here, with a plan, a model and an activated device."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator

import httpx
import pytest
from tests.server.world import Clock, Shop

from modelseal.admin import Role
from modelseal.testing.server import RunningServer


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop behind the running server."""
    clock, folder = Clock(), tmp_path_factory.mktemp("protocol")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(folder, now=clock)
    with server:
        made = Shop(server.home, clock, server.services)
        made.plan("basic", "face.swap", seats=100)
        made.publish(folder, "swap.onnx", "face.swap")
        made.url = server.url  # type: ignore[attr-defined]
        yield made


@pytest.fixture
def http(shop: Shop) -> Iterator[httpx.Client]:
    """A client that trusts the workspace's own authority; a minute later than the test before."""
    shop.clock.pass_(minutes=1)
    context = ssl.create_default_context(cadata=shop.trust.tls_ca)
    with httpx.Client(base_url=shop.url, verify=context, timeout=300) as client:  # type: ignore[attr-defined]
        yield client


@pytest.fixture(scope="session")
def owner(shop: Shop) -> dict[str, str]:
    """The header of an owner's token."""
    token = shop.admin.create_token(Role.OWNER, 86400, "protocol").token
    return {"Authorization": f"Bearer {token}"}
