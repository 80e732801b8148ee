"""A client written from the specification alone gets a license, keeps it and gives it back."""

from __future__ import annotations

import os
from typing import Any

import httpx
import pytest
from tests.protocol import independent_device as other
from tests.server.world import Shop

from modelseal.types import to_numeric

JWT = {"Content-Type": "application/jwt"}


@pytest.fixture
def me(shop: Shop, http: httpx.Client) -> other.Device:
    """A fresh device of the other client; ``http`` has set the clock."""
    return other.Device(other.Trust((shop.home / "trust.json").read_bytes()))


def test_the_other_client_activates_renews_is_refused_and_returns(
    me: other.Device, shop: Shop, http: httpx.Client
) -> None:
    issued = shop.license()
    now = to_numeric(shop.clock())

    def ask(method: str, path: str, op: str, **more: Any) -> tuple[other.Kem, httpx.Response]:
        kem = other.Kem(os.urandom(96))
        token = me.ask(op, now, None if op == "lookup" else kem, **more)
        return kem, http.request(method, path, content=token.encode(), headers=JWT)

    _, looked = ask("POST", "/v1/licenses:lookup", "lookup", license_key=issued.license_key)
    assert looked.status_code == 200 and looked.json()["plan"] == "basic"
    kem, first = ask("POST", "/v1/devices", "activate", license_key=issued.license_key)
    assert first.status_code == 201, first.text
    assert me.trust.signed(first.json()["license"], "license+jwt")["sub"] == issued.license_id
    keys = kem.data_keys(me.accept(first.json()["lease"], "lease+jwt"))
    assert len(keys) == 2
    kem, next_ = ask("PUT", f"/v1/leases/{me.device_id}", "renew")
    assert next_.status_code == 200, next_.text
    lease = me.accept(next_.json()["lease"], "lease+jwt")
    assert (lease["seq"], kem.data_keys(lease)) == (2, keys)
    shop.admin.suspend_license(issued.license_id)
    _, refused = ask("PUT", f"/v1/leases/{me.device_id}", "renew")
    denial = me.accept(refused.json()["denial"], "denial+jwt")
    assert (refused.status_code, denial["code"], denial["seq"]) == (403, "license_suspended", 3)
    shop.admin.resume_license(issued.license_id)
    _, next_ = ask("PUT", f"/v1/leases/{me.device_id}", "renew")
    assert me.accept(next_.json()["lease"], "lease+jwt")["seq"] == 4
    listed = me.trust.signed(http.get(lease["status"]["uri"]).text, "statuslist+jwt")
    assert other.status_at(listed, lease["status"]["idx"]) == 0
    _, returned = ask("POST", f"/v1/devices/{me.device_id}:return", "return")
    assert returned.status_code == 200 and "seat_free_at" in returned.json()


def test_the_other_client_asks_again_after_a_lost_reply(
    me: other.Device, shop: Shop, http: httpx.Client
) -> None:
    kem, key = other.Kem(os.urandom(96)), shop.license().license_key
    token = me.ask("activate", to_numeric(shop.clock()), kem, license_key=key)
    lost, found = (http.post("/v1/devices", content=token, headers=JWT) for _ in range(2))
    assert (lost.status_code, found.status_code) == (201, 201)
    assert lost.json()["device_id"] == found.json()["device_id"]
    first, second = (
        me.trust.signed(answer.json()["lease"], "lease+jwt") for answer in (lost, found)
    )
    assert {**first, "keys": 0} == {**second, "keys": 0}
    assert kem.data_keys(first) == kem.data_keys(second)


def test_the_other_client_fetches_the_keys_of_one_run(
    me: other.Device, shop: Shop, http: httpx.Client
) -> None:
    shop.plan("online", "face.swap", enforcement="online", seats=10)
    kem, key = other.Kem(os.urandom(96)), shop.license("online").license_key
    token = me.ask("activate", to_numeric(shop.clock()), kem, license_key=key)
    answer = http.post("/v1/devices", content=token, headers=JWT)
    assert me.accept(answer.json()["lease"], "lease+jwt")["keys"] == []
    for _ in range(2):
        run = other.Kem(os.urandom(96))
        token = me.ask("release", to_numeric(shop.clock()), run)
        path = f"/v1/devices/{me.device_id}/key-releases"
        released = http.post(path, content=token, headers=JWT)
        claims = me.accept(released.json()["release"], "release+jwt")
        assert len(run.data_keys(claims)) == 2 and claims["seq"] == me.seq == 1
