"""What changed since it was read is left as it is; webhook calls that act are done once per key."""

from __future__ import annotations

import os
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.world import Clock, Computer, Shop

from modelseal.admin import Role
from modelseal.strict_json import b64u
from modelseal.testing.server import RunningServer

URL = "https://example.com/hook"


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[tuple[httpx.Client, Shop]]:
    """A real server over HTTPS, asked by an owner."""
    clock = Clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(tmp_path, now=clock)
    with server:
        shop = Shop(server.home, clock, server.services)
        token = shop.admin.create_token(Role.OWNER, 30 * 86400, "versions").token
        with httpx.Client(
            base_url=f"{server.url}/v1/admin",
            verify=ssl.create_default_context(cadata=shop.trust.tls_ca),
            headers={"Authorization": f"Bearer {token}"},
            timeout=300,
        ) as client:
            yield client, shop


def post(http: httpx.Client, path: str, body: Any, key: str) -> httpx.Response:
    return http.post(path, json=body, headers={"Idempotency-Key": key})


def test_a_webhook_is_changed_and_removed_in_the_state_that_was_read_or_not_at_all(
    owned: tuple[httpx.Client, Shop],
) -> None:
    http, _ = owned
    made = http.post("/webhooks", json={"url": URL}).json()["webhook"]
    path = f"/webhooks/{made['webhook_id']}"
    read = http.get(path).headers["etag"]
    first = http.patch(path, json={"label": "a"}, headers={"If-Match": read})
    assert first.status_code == 200 and first.headers["etag"] != read
    assert http.get(path).headers["etag"] == first.headers["etag"]
    for answer in (
        http.patch(path, json={"enabled": False}, headers={"If-Match": read}),
        http.delete(path, headers={"If-Match": read}),
        http.patch(path, json={"enabled": False}, headers={"If-Match": '"7"'}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    odd = http.delete(path, headers={"If-Match": "W/x"})
    assert (odd.status_code, odd.json()["code"]) == (422, "misuse")
    left = http.get(path).json()
    assert left["enabled"] and left["label"] == "a"
    gone = http.delete(path, headers={"If-Match": first.headers["etag"]})
    assert gone.status_code == 200 and http.get(path).status_code == 404


def test_a_device_that_was_in_contact_since_it_was_read_is_not_revoked_by_that_reading(
    owned: tuple[httpx.Client, Shop],
) -> None:
    http, shop = owned
    shop.plan()
    device = Computer(shop)
    device.activate(shop.license().license_key)
    path = f"/devices/{device.device_id}"
    read = http.get(path).headers["etag"]
    shop.clock.pass_(hours=100)
    device.renew()
    refused = http.post(f"{path}:revoke", json={}, headers={"If-Match": read})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert http.get(path).json()["state"] == "active"
    now = http.get(path).headers["etag"]
    revoked = http.post(f"{path}:revoke", json={}, headers={"If-Match": now})
    assert revoked.status_code == 200 and revoked.json()["state"] == "revoked"
    assert revoked.headers["etag"] == http.get(path).headers["etag"] != now


def test_what_acts_on_a_webhook_is_done_once_under_one_key(
    owned: tuple[httpx.Client, Shop],
) -> None:
    http, shop = owned
    keys = [b64u(os.urandom(8)) for _ in range(4)]
    wish = {"url": URL}
    first, again = (post(http, "/webhooks", wish, keys[0]) for _ in range(2))
    assert first.status_code == again.status_code == 201 and first.json() == again.json()
    assert len(http.get("/webhooks").json()["items"]) == 1
    other = post(http, "/webhooks", {**wish, "label": "b"}, keys[0])
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    path = f"/webhooks/{first.json()['webhook']['webhook_id']}"
    for verb, key in zip(("rotate", "test", "replay"), keys[1:], strict=True):
        once, twice = (post(http, f"{path}:{verb}", {}, key) for _ in range(2))
        assert once.status_code == 200 and once.json() == twice.json(), verb
        crossed = post(http, f"{path}:{verb}", {}, keys[0])
        assert (crossed.status_code, crossed.json()["code"]) == (422, "idempotency_mismatch")
    told = [event.params["change"] for event in shop.events("webhook_changed")]
    assert told == ["created", "rotated", "tested", "replayed"]
