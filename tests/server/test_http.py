"""The HTTP face: problems by one table, ranges, caps, hostile bodies, the OpenAPI document."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.world import Clock, Computer, Shop

from modelseal import errors
from modelseal.admin import Role
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.license import tokens
from modelseal.license.claims import DenialClaims, LeaseClaims, ReleaseClaims
from modelseal.server.http import problems
from modelseal.server.services import limits
from modelseal.strict_json import b64u
from modelseal.testing.server import RunningServer, RunningServerWarning

JWT = {"Content-Type": "application/jwt"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Shop]]:
    """A real server over HTTPS with a plan and a model."""
    clock = Clock()
    folder = tmp_path_factory.mktemp("http")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(folder, now=clock)
    with server:
        shop = Shop(server.home, clock, server.services)
        shop.plan("basic", "face.swap", seats=100)
        shop.publish(folder, "swap.onnx", "face.swap")
        yield server, shop


@pytest.fixture
def shop(running: tuple[RunningServer, Shop]) -> Shop:  # type: ignore[override]
    """The shop behind the running server; every test a minute later than the one before."""
    running[1].clock.pass_(minutes=1)
    return running[1]


@pytest.fixture
def http(running: tuple[RunningServer, Shop]) -> Iterator[httpx.Client]:
    """A client that trusts the workspace's own authority and nothing else."""
    server, shop = running
    context = ssl.create_default_context(cadata=shop.trust.tls_ca)
    with httpx.Client(base_url=server.url, verify=context, timeout=300) as client:
        yield client


@pytest.fixture
def owner(shop: Shop) -> dict[str, str]:
    """The header of an owner's token."""
    token = shop.admin.create_token(Role.OWNER, 3600, "http").token
    return {"Authorization": f"Bearer {token}"}


def test_a_device_lives_its_life_over_http(http: httpx.Client, shop: Shop) -> None:
    issued = shop.license()
    device, kem = Computer(shop), KemPrivateKey.generate()
    answer = http.post(
        "/v1/devices", content=device.activation(issued.license_key, kem), headers=JWT
    )
    assert answer.status_code == 201
    body = answer.json()
    assert sorted(body) == ["device_id", "event_id", "lease", "license"]
    device._accept(body["lease"], body["license"], kem)
    assert len(device.keys) == 2
    path = f"/v1/leases/{device.device_id}"
    token = device.sign(device.request("renew", kem=device.kem(kem)))
    renewed = http.put(path, content=token, headers=JWT)
    assert renewed.status_code == 200 and sorted(renewed.json()) == ["event_id", "lease"]
    lease = tokens.read(renewed.json()["lease"], LeaseClaims, shop.trust)
    device.seq, device.prev = lease.seq, lease.jti
    token = device.sign(device.request("release", kem=device.kem(kem)))
    released = http.post(f"/v1/devices/{device.device_id}/key-releases", content=token, headers=JWT)
    assert released.status_code == 200
    assert tokens.read(released.json()["release"], ReleaseClaims, shop.trust).seq == lease.seq
    token = device.sign(device.request("return"))
    returned = http.post(f"/v1/devices/{device.device_id}:return", content=token, headers=JWT)
    assert returned.status_code == 200 and "seat_free_at" in returned.json()
    token = device.sign(device.request("renew", kem=device.kem(kem)))
    denied = http.put(path, content=token, headers=JWT)
    assert denied.status_code == 403
    assert denied.headers["content-type"] == "application/problem+json"
    problem = denied.json()
    denial = tokens.read(problem["denial"], DenialClaims, shop.trust)
    assert problem["code"] == denial.code == "device_returned"
    assert problem["reference"] == denial.reference and problem["event_id"].startswith("evt_")
    place = http.get(f"/v1/log/events/{problem['event_id']}").json()
    shop.server.log.sequence()
    place = http.get(f"/v1/log/events/{problem['event_id']}").json()
    assert isinstance(place["index"], int)


def test_every_error_has_one_status_and_the_table_covers_the_tree() -> None:
    expected = {
        errors.NoFreeSeat: 403, errors.UnknownLicenseKey: 403, errors.AccessDenied: 403,
        errors.LevelNotReached: 403, errors.CredentialInvalid: 401, errors.NotFound: 404,
        errors.Conflict: 409, errors.IdempotencyMismatch: 422, errors.LicenseKeyMistyped: 422,
        errors.RateLimited: 429, errors.StorageFailed: 503, errors.StoreBehind: 503,
        errors.DiskFull: 503, errors.TokenSignature: 400, errors.TokenTooLarge: 413,
        errors.InternalError: 500,
    }  # fmt: skip
    assert {cls: problems.status_of(cls("x")) for cls in expected} == expected
    pending: list[type[errors.ModelsealError]] = [errors.ModelsealError]
    while pending:
        cls = pending.pop()
        status = problems.status_of(cls("x"))
        who = issubclass(cls, errors.CredentialInvalid | errors.SignInRefused)
        assert 400 <= status < 600 and (status != 401 or who)
        pending += [c for c in cls.__subclasses__() if c.__module__.startswith("modelseal")]


def test_an_unavailable_store_is_503_with_a_time_to_come_back() -> None:
    answer = problems.render(errors.StorageFailed("x"))
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    limited = problems.render(errors.RateLimited("x", retry_after_seconds=17))
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "17")


def test_a_blob_is_served_in_ranges_by_its_digest(
    http: httpx.Client, shop: Shop, running: tuple[RunningServer, Shop]
) -> None:
    model = shop.admin.list_models().items[0]
    path = f"/v1/blobs/{model.blob_digest}"
    whole = http.get(path)
    etag = f'"{model.blob_digest}"'
    assert hashlib.sha256(whole.content).hexdigest() == model.blob_digest
    assert whole.headers["etag"] == etag and whole.headers["accept-ranges"] == "bytes"
    assert "immutable" in whole.headers["cache-control"]
    size = len(whole.content)
    for asked, start, stop in (
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, size),
        ("bytes=-50", size - 50, size),
        (f"bytes=10-{size * 2}", 10, size),
    ):
        part = http.get(path, headers={"Range": asked})
        assert part.status_code == 206 and part.content == whole.content[start:stop]
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    for asked in ("bytes=0-1,5-6", "items=0-1", "bytes=-", "bytes=a-b"):
        assert http.get(path, headers={"Range": asked}).status_code == 200
    for asked in (f"bytes={size}-", "bytes=9-3", "bytes=-0"):
        refused = http.get(path, headers={"Range": asked})
        assert refused.status_code == 416 and refused.headers["content-range"] == f"bytes */{size}"
    old = http.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert old.status_code == 200
    assert http.get(path, headers={"If-None-Match": etag}).status_code == 304
    head = http.head(path)
    assert head.headers["content-length"] == str(size) and head.content == b""


@pytest.mark.parametrize(
    "path",
    [
        "/v1/blobs/" + "0" * 64,
        "/v1/blobs/..%2f..%2fserver.toml",
        "/v1/blobs/%2e%2e",
        "/v1/bundles/" + "0" * 64,
        "/v1/catalog/..%2ftrust.json",
        "/v1/catalog/targets/x.keys",
        "/v1/status-lists/999",
        "/v1/status-lists/-1",
        "/v1/log/tile/0/999",
        "/v1/log/tile/entries/000",
        "/v1/log/tile/../../x",
        "/v1/log/events/evt_nothing",
        "/v1/nothing",
        "/",
    ],
)
def test_what_is_not_there_is_404_as_a_problem(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found" and "denial" not in answer.json()


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"x", {"Content-Type": "application/json"}, 415),
        (b"x", {}, 415),
        (b"x", {**JWT, "Content-Encoding": "gzip"}, 415),
        (b"", JWT, 400),
        (b"a.b.c", JWT, 400),
        (b"\xff\xfe\x00", JWT, 400),
        (b"x" * 65_000, JWT, 400),
        (b"x" * 70_000, JWT, 413),
        (b"{" * 60_000, JWT, 400),
        (b'{"payload":"' + b"A" * 1000 + b'","signatures":[]}', JWT, 400),
    ],
)
def test_hostile_bodies_are_refused_without_a_denial(
    http: httpx.Client, content: bytes, headers: dict[str, str], status: int
) -> None:
    for method, path in (("POST", "/v1/devices"), ("PUT", "/v1/leases/dev_x")):
        answer = http.request(method, path, content=content, headers=headers)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert "denial" not in answer.json()


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        b'{"plan": 5}',
        b'{"plan":"basic","customer":"a","surprise":1}',
        b'{"plan":"basic","customer":""}',
        b'{"plan":"basic","customer":"a","seats":0}',
        b'{"plan":"basic","customer":"a","seats":1e300}',
        b'{"plan":"basic","customer":"a","seats":true}',
        b'{"plan":"basic","customer":"a","expires_at":"2026-01-01T00:00:00"}',
        b'{"plan":"../x","customer":"a"}',
        b"[" * 100 + b"]" * 100,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"plan":"basic\xff","customer":"a"}',
        b'{"plan":"basic","customer":"a","metadata":{"k":"' + b"v" * 600 + b'"}}',
    ],
)
def test_odd_admin_bodies_are_422_and_change_nothing(
    http: httpx.Client, shop: Shop, owner: dict[str, str], body: bytes
) -> None:
    before = len(shop.events("license_issued"))
    headers = {**owner, "Content-Type": "application/json"}
    answer = http.post("/v1/admin/licenses", content=body, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in ("misuse", "config_invalid")
    assert len(shop.events("license_issued")) == before


def test_admin_calls_need_a_token_before_their_body_is_read(http: httpx.Client) -> None:
    for headers in (
        {},
        {"Authorization": "Basic abc"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer mst_" + "a" * 43},
        {"Authorization": "Bearer " + "x" * 5000},
    ):
        answer = http.post("/v1/admin/licenses", content=b"{" * 100_000, headers=headers)
        assert answer.status_code == 401 and answer.json()["code"] == "credential_invalid"
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_large_admin_body_is_413(http: httpx.Client, owner: dict[str, str]) -> None:
    headers = {**owner, "Content-Type": "application/json"}
    body = b'{"plan":"' + b"x" * 300_000 + b'"}'
    assert http.post("/v1/admin/plans", content=body, headers=headers).status_code == 413


def test_a_blob_that_is_not_its_digest_is_refused_and_gone(
    http: httpx.Client, shop: Shop, owner: dict[str, str]
) -> None:
    headers = {**owner, "Content-Type": "application/octet-stream"}
    wanted = "ab" * 32
    answer = http.put(f"/v1/admin/blobs/{wanted}", content=os.urandom(3_000_000), headers=headers)
    assert answer.status_code == 400 and answer.json()["code"] == "download_damaged"
    folder = shop.home / "server/blobs"
    assert not list((folder / "incoming").glob("*")) and not (folder / "ab" / wanted).exists()
    odd = http.put("/v1/admin/blobs/..%2fx", content=b"x", headers=headers)
    assert odd.status_code in (404, 422)


def test_versions_are_etags_of_a_license(
    http: httpx.Client, shop: Shop, owner: dict[str, str]
) -> None:
    issued = shop.license()
    path = f"/v1/admin/licenses/{issued.license_id}"
    etag = http.get(path, headers=owner).headers["etag"]
    first = http.patch(path, json={"seats": 3}, headers={**owner, "If-Match": etag})
    assert first.status_code == 200
    second = http.patch(path, json={"seats": 4}, headers={**owner, "If-Match": etag})
    assert second.status_code == 409 and second.json()["code"] == "conflict"
    odd = http.patch(path, json={"seats": 4}, headers={**owner, "If-Match": "W/abc"})
    assert odd.status_code == 422


def test_an_idempotency_key_in_the_header_counts(
    http: httpx.Client, shop: Shop, owner: dict[str, str]
) -> None:
    headers = {**owner, "Idempotency-Key": b64u(os.urandom(8))}
    wish = {"plan": "basic", "customer": "a"}
    first, second = (
        http.post("/v1/admin/licenses", json=wish, headers=headers).json() for _ in range(2)
    )
    assert first == second
    other = http.post("/v1/admin/licenses", json={**wish, "seats": 2}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_verbs_that_do_not_exist_are_404(
    http: httpx.Client, shop: Shop, owner: dict[str, str]
) -> None:
    issued = shop.license()
    for path in (f"licenses/{issued.license_id}:delete", f"licenses/{issued.license_id}", "x:y"):
        assert http.post(f"/v1/admin/{path}", json={}, headers=owner).status_code in (404, 405)
    assert http.delete(f"/v1/admin/licenses/{issued.license_id}", headers=owner).status_code == 405


def test_discovery_keys_and_health_are_public(http: httpx.Client, shop: Shop) -> None:
    about = http.get("/.well-known/modelseal").json()
    assert (about["server_id"], about["product"]) == (shop.trust.server_id, "facefusion")
    jwks = http.get("/.well-known/jwks.json").json()["keys"]
    assert {k["kid"] for k in jwks} <= {
        k.kid for use in ("license", "lease", "status", "checkpoint", "attestation", "sealing")
        for k in shop.trust.keys(use)  # type: ignore[arg-type]
    }  # fmt: skip
    assert not any({"d", "p", "q", "priv"} & set(key) for key in jwks)
    assert http.get("/healthz").text == "ok\n" and http.get("/readyz").text == "ready\n"


def test_metrics_are_prometheus_text_without_ids(http: httpx.Client, shop: Shop) -> None:
    issued = shop.license()
    Computer(shop).activate(issued.license_key)
    http.get("/healthz")
    text = http.get("/metrics").text
    assert 'modelseal_devices{state="active"}' in text and "modelseal_events_waiting" in text
    assert issued.license_id not in text and "dev_" not in text
    for line in text.splitlines():
        assert line.startswith("#") or float(line.rpartition(" ")[2]) >= 0, line
    assert 'route="/healthz"' in text


def test_the_openapi_document_names_every_call_with_its_types(http: httpx.Client) -> None:
    document: dict[str, Any] = http.get("/schema/openapi.json").json()
    paths = document["paths"]
    for path in (
        "/v1/devices", "/v1/leases/{device_id}", "/v1/devices/{device_id}:return",
        "/v1/devices/{device_id}/key-releases", "/v1/licenses:lookup", "/v1/trials",
        "/v1/admin/licenses/{license_id}:revoke", "/v1/admin/models/{record_id}:withdraw",
        "/v1/status-lists/{number}", "/v1/blobs/{digest}", "/v1/log/checkpoint",
    ):  # fmt: skip
        assert path in paths, path
    assert not any("{target}" in path for path in paths)
    body = paths["/v1/admin/licenses"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["$ref"].endswith("/IssueLicense")
    assert "application/jwt" in paths["/v1/devices"]["post"]["requestBody"]["content"]
    text = json.dumps(document)
    for name in set(_refs(text)):
        assert name in document["components"]["schemas"], name
    assert paths["/v1/admin/plans"]["get"]["security"] and "security" not in paths["/v1/devices"]


def _refs(text: str) -> list[str]:
    return [part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]]


def test_the_page_for_people_loads_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/schema")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"<(script|link|img|iframe)|url\(|@import|\bsrc=", page.text)
    assert all(to.startswith(("#", "/")) for to in re.findall(r"href='([^']*)'", page.text))
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_catalog_and_the_key_list_are_served_as_signed(http: httpx.Client, shop: Shop) -> None:
    state = shop.admin.catalog_state()
    assert http.get("/v1/catalog/timestamp.json").content == state.timestamp.data
    for role in ("root", "targets", "keys", "snapshot"):
        row = getattr(state, role)
        answer = http.get(f"/v1/catalog/{row.version}.{role}.json")
        assert answer.content == row.data and "immutable" in answer.headers["cache-control"]
    digest = json.loads(state.keys.data)["signed"]["targets"]["keys"]["hashes"]["sha256"]
    listed = http.get(f"/v1/catalog/targets/{digest}.keys")
    assert hashlib.sha256(listed.content).hexdigest() == digest


def test_proofs_come_out_of_the_served_tiles(http: httpx.Client, shop: Shop) -> None:
    from modelseal import audit
    from modelseal.crypto.signing import VerifyKey

    shop.server.log.sequence()
    keys = [VerifyKey.from_jwk(k.jwk, k.alg) for k in shop.trust.keys("checkpoint")]  # type: ignore[arg-type]
    head = audit.checkpoint.verify(http.get("/v1/log/checkpoint").content, keys)
    event = shop.events("plan_created")[0]
    place = http.get(f"/v1/log/events/{event.event_id}").json()

    def read(path: str) -> bytes | None:
        answer = http.get(f"/v1/log/{path}")
        return answer.content if answer.status_code == 200 else None

    tree = audit.TileTree(head.size, read)
    assert tree.root() == head.root
    leaf = tree.leaf(place["index"])
    assert b64u(leaf) == place["leaf_hash"]
    audit.merkle.verify_inclusion(
        leaf, place["index"], head.size, tree.inclusion_proof(place["index"]), head.root
    )


def test_a_flood_from_one_network_is_limited_and_told_when_to_come_back(shop: Shop) -> None:
    limiter = limits.Limiter()
    now = shop.clock()
    for _ in range(limits.GUESSING.burst):
        limiter.take(limits.GUESSING, "192.0.2.1", now)
    with pytest.raises(errors.RateLimited) as caught:
        limiter.take(limits.GUESSING, "192.0.2.1", now)
    wait = caught.value.params["retry_after_seconds"]
    assert isinstance(wait, int) and 1 <= wait <= 10
    limiter.take(limits.GUESSING, "192.0.2.2", now)
    from datetime import timedelta

    limiter.take(limits.GUESSING, "192.0.2.1", now + timedelta(seconds=wait))


def test_networks_are_counted_by_address_or_ipv6_site() -> None:
    assert limits.prefix("192.0.2.7") == "192.0.2.7" == limits.prefix("::ffff:192.0.2.7")
    assert limits.prefix("2001:db8:1:2::3") == limits.prefix("2001:db8:1:fe::9")
    assert limits.prefix(None) == limits.prefix("nonsense") == "unknown"


def test_guessing_license_keys_is_limited_while_typing_right_ones_is_not(
    shop: Shop, tmp_path: Path
) -> None:
    fresh = shop.reopen()
    device = Computer(fresh)
    refused = 0
    for _ in range(limits.GUESSING.burst + 5):
        try:
            device.activate("MS-H2W30-RAW01-XKX2C-NKRN4")
        except errors.RateLimited:
            refused += 1
        except errors.UnknownLicenseKey:
            pass
    assert refused >= 1
    Computer(fresh, "other").activate(shop.license().license_key)
    fresh.server.close()


def test_the_server_for_tests_warns(tmp_path: Path, template: Path) -> None:
    shutil.copytree(template, tmp_path / "shop")
    with pytest.warns(RunningServerWarning):
        server = RunningServer(tmp_path)
    server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="two sockets share a port as Linux has it")
def test_the_address_of_a_stopped_server_for_tests_is_nobodys_and_it_comes_back_there(
    tmp_path: Path, template: Path
) -> None:
    shutil.copytree(template, tmp_path / "shop")
    with pytest.warns(RunningServerWarning):
        server = RunningServer(tmp_path)
    url, port = server.url, int(server.url.rpartition(":")[2])
    server.stop()
    with socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", port))
    server.start()
    assert server.url == url
    server.stop()
