"""What a stranger asks a relay, or what a relay's file says, reaches no further than it may."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from tests.relay.closed import Site
from tests.server.world import START, Clock, Computer, Shop

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.desk import workspace as workspaces
from modelseal.errors import RelayFileInvalid
from modelseal.server.relay import files, syncing
from modelseal.server.services import open_server


@pytest.fixture
def shop(tmp_path) -> Iterator[Shop]:
    workspaces.init(tmp_path / "shop", "facefusion", now=START, random=os.urandom)
    clock = Clock(START)
    with open_server(tmp_path / "shop", now=clock) as server:
        yield Shop(tmp_path / "shop", clock, server)


@pytest.fixture
def site(shop, tmp_path) -> Iterator[Site]:
    made = Site(shop, tmp_path / "relay")
    yield made
    made.close()


def asked(site: Site, device_id: str) -> Any:
    """A stranger's renewal under any device id."""
    stranger = Computer(site.shop, "s", device_id=device_id)
    kem = stranger.kem(KemPrivateKey.generate())
    token = stranger.sign(stranger.request("renew", kem=kem))
    path = f"/v1/leases/{quote(device_id, safe='')}"
    head = {"content-type": "application/jwt"}
    return site.wire.exchange("PUT", path, body=token, headers=head)


@pytest.mark.parametrize(
    "device_id",
    [
        "a\nb",
        "a\x00b",
        "../devices",
        "..",
        "x?y=z",
        "x#y",
        "@evil.example",
        "x\\y",
        "é",
        "a b",
        "%0a",
    ],
)
def test_a_device_id_that_is_none_is_never_noted(site, device_id):
    assert asked(site, device_id).status in (400, 404)
    assert site.box.questions() == []


def test_a_question_of_a_stranger_stops_no_sync(site):
    assert asked(site, "dev_019ca945-0a00-713e-aa37-c7c879c30fc9").status == 503
    assert site.sync().failed == 0


def forged(site: Site, **changes: Any) -> bytes:
    file = syncing.question(site.box, site.now(), os.urandom)
    return files.write(msgspec.structs.replace(file, **changes))


def question(path: str, method: str = "POST") -> list[files.Asked]:
    return [files.Asked("j" * 43, "n" * 43, method, path, b"x")]


PATHS = [
    "http://127.0.0.1:1/metadata", "https://intranet.example/", "//intranet.example/v1/devices",
    "@intranet.example/v1/devices", "/v1/admin/licenses", "/v1/trials", "/v1/devices/../admin/x",
    "/v1/devices?x=y", "/v1/leases/a/b", "/v1/leases/a%2fb", "", "/", "/v1/leases/a\n",
    "/v1/relays/rly_other/acts",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_courier_asks_nothing_but_what_devices_ask(site, path):
    with pytest.raises(RelayFileInvalid):
        site.carry(forged(site, questions=question(path)))


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST\r\nX: y", "put"])
def test_a_courier_uses_no_other_method(site, method):
    with pytest.raises(RelayFileInvalid):
        site.carry(forged(site, questions=question("/v1/leases/dev_x", method)))


@pytest.mark.parametrize("path", [*PATHS, "/v1/status-lists/1/../../admin"])
def test_a_courier_fetches_no_other_documents(site, path):
    for member in ("wanted", "held"):
        with pytest.raises(RelayFileInvalid):
            site.carry(forged(site, **{member: [path]}))


@pytest.mark.parametrize("digest", ["../" * 20 + "etcd", "x" * 64, "", "A" * 64])
def test_names_of_models_are_digests(site, digest):
    with pytest.raises(RelayFileInvalid):
        site.carry(forged(site, models=[digest]))
    answer = files.read(site.carry(site.write()), files.AnswerFile)
    with pytest.raises(RelayFileInvalid):
        site.read(files.write(msgspec.structs.replace(answer, models=[digest])))


def test_devices_that_are_known_are_asked_for_before_strangers(site):
    for number in range(3):
        asked(site, f"dev_{number}")
        site.shop.clock.pass_(seconds=1)
    site.forge("UPDATE questions SET known = 1 WHERE path = '/v1/leases/dev_2'")
    assert [each.path[-1] for each in site.box.questions()] == ["2", "0", "1"]
