"""Fixtures of the client's tests: a world with a server in it, a clock, a computer."""

from __future__ import annotations

import contextlib
import os
import subprocess

import pytest
from tests.client.activated import MODEL
from tests.client.world import World, computer

from modelseal.client import Client, Ports

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


# -- the real server


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    from tests.client.real_shop import running

    with running(tmp_path_factory.mktemp("shop")) as made:
        yield made


@pytest.fixture
def computers():
    """Every client of a test runs on the same computer unless it says otherwise."""
    return {"this": computer(os.urandom(4).hex())}


@pytest.fixture
def make(shop, tmp_path, computers):
    with contextlib.ExitStack() as stack:

        def client(state="laptop", on="this", **more):
            traits = computers.setdefault(on, computer(os.urandom(4).hex()))
            ports = more.pop("ports", Ports(traits=lambda: traits, environ={}))
            more.setdefault("server", shop.server.url)
            more.setdefault("trust", shop.server.trust)
            made = Client(state=tmp_path / state, background=False, ports=ports, **more)
            return stack.enter_context(made)

        yield client


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 512 KiB, where this user may mount one."""
    place = tmp_path / "tiny"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(place)], capture_output=True
    )
    if made.returncode != 0:
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
