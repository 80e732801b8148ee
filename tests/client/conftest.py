"""Fixtures of the client's tests: a world with a server in it, a clock, a computer."""

from __future__ import annotations

import pytest
from tests.client.activated import MODEL
from tests.client.world import World

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy_from_outside(monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("APP", "STATE", "SERVER", "TRUST", "CA", "LICENSE_KEY", "EULA"):
        monkeypatch.delenv(f"MODELSEAL_{name}", raising=False)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    made.server.publish(MODEL)
    return made


@pytest.fixture
def key(world):
    return world.server.issue("face.swap")


@pytest.fixture
def client(world):
    with world.client() as made:
        yield made


@pytest.fixture
def active(client, key):
    client.activate(key, label="workshop")
    return client
