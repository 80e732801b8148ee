"""A shop whose key-encryption key is in a key store: seal, publish, serve, activate, open."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.world import Shop, here
from tests.keys.conftest import LIGHT

import modelseal
from modelseal.desk import backup as backups
from modelseal.desk import rotating
from modelseal.desk import workspace as workspaces
from modelseal.desk.halves import RECOVERY_SECRET
from modelseal.errors import KeyStoreUnavailable, ModelsealError
from modelseal.keys import reference
from modelseal.runtime import default
from modelseal.server.services import LocalAdmin, open_server
from modelseal.testing.server import RunningServer, RunningServerWarning
from modelseal.trust import Use

WEIGHTS = b"weights that somebody paid for " * 4096


SELDOM = ("keystore", "transit", "google", "azure")
RARELY = [pytest.param(name, marks=pytest.mark.soak) for name in SELDOM]


@pytest.fixture(params=["softhsm", "aws", *RARELY])
def store(request: pytest.FixtureRequest) -> Any:
    """Each kind of key store beside files."""
    return request.getfixturevalue(request.param)


def running(folder: Path) -> RunningServer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RunningServerWarning)
        return RunningServer(folder)


def founded(folder: Path, kek: str) -> Path:
    made = here("init", "--home", folder / "shop", "--product", "facefusion", "--kek", kek)
    assert made.code == 0, made
    return folder / "shop"


def published(folder: Path, shop: Shop, name: str) -> Path:
    (folder / f"{name}.bin").write_bytes(WEIGHTS)
    sealed = folder / f"{name}.sealed"
    shop.do("seal", folder / f"{name}.bin", "-o", sealed, "--entitlement", "face.swap")
    shop.do("model", "publish", sealed)
    return sealed


def opened(sealed: Path, shop: Shop, state: Path, key: str | None) -> bytes:
    """The plaintext of ``sealed`` on the device at ``state``."""
    client = modelseal.Client(state=state, server=shop.url, trust=shop.trust, background=False)
    with client as device:
        if key is not None:
            device.activate(key)
        else:
            device.renew()
        modelseal.use(device)
        try:
            with modelseal.open(sealed) as found:
                return bytes(found.read(found.names()[0]))
        finally:
            default.use(None)


@pytest.fixture
def shop(store: Any, tmp_path: Path) -> Iterator[tuple[Shop, RunningServer]]:
    """A served shop with a plan, whose key-encryption key the store has."""
    home = founded(tmp_path, store.uri(f"shop-{os.urandom(4).hex()}"))
    with running(tmp_path) as server:
        there = Shop(home, server.url)
        there.do("plan", "create", "trial", "--entitlement", "face.swap")
        yield there, server


def test_what_is_sealed_opens_on_a_device_and_goes_on_while_the_key_moves(
    store: Any, shop: tuple[Shop, RunningServer], tmp_path: Path
) -> None:
    there, _server = shop
    key, _license = there.issue()
    first = published(tmp_path, there, "first")
    assert opened(first, there, tmp_path / "laptop", key) == WEIGHTS
    before = first.read_bytes()
    moved = there.do("keys", "move", "kek", "--to", store.uri(f"next-{os.urandom(4).hex()}"))
    assert moved["rows"] > 0 and moved["files"] > 0
    second = published(tmp_path, there, "second")
    assert opened(second, there, tmp_path / "laptop", None) == WEIGHTS
    assert opened(first, there, tmp_path / "other", there.issue()[0]) == WEIGHTS
    assert first.read_bytes() == before


def test_tokens_are_signed_in_the_token_and_a_server_without_it_signs_nothing(
    softhsm: Any, tmp_path: Path
) -> None:
    home = founded(tmp_path, softhsm.uri(f"shop-{os.urandom(4).hex()}"))
    with workspaces.open(home) as desk, open_server(home) as local:
        done = rotating.rotate(desk, LocalAdmin(local), to=softhsm.token_uri)
        assert {key.use for key in done.keys} == {use.value for use in rotating.SIGNING}
        kept = {
            entry.set: reference.is_reference(desk.online_keys.private_bytes(entry))
            for entry in desk.online_keys.entries()
        }
        assert {name for name, there in kept.items() if there} == {
            f"{use.value}-2" for use in rotating.SIGNING
        }
        told = desk.desk_keys.secret(RECOVERY_SECRET).decode()
        made = backups.backup(desk, tmp_path / "shop.backup", told, work=LIGHT)
        proved = backups.recovery_test(tmp_path / "shop.backup", told, workspace=desk)
        assert made.elsewhere == proved.elsewhere == len(rotating.SIGNING) + 1
        assert made.keys == proved.keys > 0
    with running(tmp_path) as server:
        there = Shop(home, server.url)
        there.do("plan", "create", "trial", "--entitlement", "face.swap")
        sealed = published(tmp_path, there, "first")
        assert opened(sealed, there, tmp_path / "laptop", there.issue()[0]) == WEIGHTS
    softhsm.take_out()
    try:
        with pytest.raises(ModelsealError) as refused, open_server(home):
            pass
        assert isinstance(refused.value, KeyStoreUnavailable)
    finally:
        softhsm.put_back()
    with open_server(home) as again:
        again.ready()
        assert again.context.signers(Use.LEASE, again.context.now())[0].alg == "Ed25519"
