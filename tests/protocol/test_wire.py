"""What ``docs/spec/protocol.md`` says about HTTP itself, held by the running server."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from tests.server.world import Computer, Shop

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import by_code
from modelseal.license import jws, license_key, status, tokens
from modelseal.license.claims import DenialClaims, RequestClaims
from modelseal.strict_json import unb64u

JWT = {"Content-Type": "application/jwt"}
JSON = {"Content-Type": "application/json"}
DEVICE_CALLS = (
    ("POST", "/v1/devices"),
    ("POST", "/v1/trials"),
    ("POST", "/v1/licenses:lookup"),
    ("PUT", "/v1/leases/dev_x"),
    ("POST", "/v1/devices/dev_x:return"),
    ("POST", "/v1/devices/dev_x/key-releases"),
)
ADMIN_BODIES = (
    ("POST", "plans"), ("PUT", "plans/basic"), ("POST", "licenses"), ("PATCH", "licenses/lic_x"),
    ("POST", "licenses/lic_x:renew"), ("POST", "licenses/lic_x:suspend"),
    ("POST", "licenses/lic_x:resume"), ("POST", "licenses/lic_x:revoke"),
    ("POST", "licenses/lic_x:rekey"), ("POST", "devices/dev_x:revoke"),
    ("POST", "customers:export"), ("POST", "customers:erase"), ("POST", "models"),
    ("POST", "models/mod_x:withdraw"), ("PUT", "trust"), ("POST", "tokens"),
    ("POST", "tokens/tok_x:revoke"),
)  # fmt: skip


def problem(answer: httpx.Response, status_code: int, code: str) -> dict[str, Any]:
    """The problem document, which is ours in every part and denies nothing."""
    assert (answer.status_code, answer.headers["content-type"]) == (
        status_code, "application/problem+json",
    ), answer.text  # fmt: skip
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:modelseal:error:{code}" and found["code"] == code
    assert found["status"] == status_code and by_code(code) is not None
    assert found["title"] and isinstance(found["params"], dict) and "denial" not in found
    return found


@pytest.mark.parametrize(("method", "path"), DEVICE_CALLS)
def test_a_device_call_takes_one_media_type_uncompressed_and_64_kib(
    http: httpx.Client, method: str, path: str
) -> None:
    for headers in ({}, JSON, {"Content-Type": "text/plain"}, {**JWT, "Content-Encoding": "br"}):
        problem(http.request(method, path, content=b"x", headers=headers), 415, "misuse")
    exact = http.request(method, path, content=b"x" * 65_536, headers=JWT)
    problem(exact, 400, "token_malformed")
    problem(http.request(method, path, content=b"x" * 65_537, headers=JWT), 413, "misuse")
    pieces = (b"x" * 1000 for _ in range(100))  # no Content-Length to judge by
    problem(http.request(method, path, content=pieces, headers=JWT), 413, "misuse")
    with_parameter = {"Content-Type": "Application/JWT; charset=us-ascii"}
    problem(
        http.request(method, path, content=b"x", headers=with_parameter), 400, "token_malformed"
    )


def test_a_request_is_for_its_own_address_alone(http: httpx.Client, shop: Shop) -> None:
    """The operation and the device in the signature are those of the call, or nothing happens."""
    device, kem = Computer(shop), KemPrivateKey.generate()
    device.activate(shop.license().license_key)
    before = len(shop.events())
    renewal = device.sign(device.request("renew", kem=device.kem(kem)))
    at = f"/v1/devices/{device.device_id}"
    problem(http.post(f"{at}:return", content=renewal, headers=JWT), 422, "misuse")
    problem(http.post(f"{at}/key-releases", content=renewal, headers=JWT), 422, "misuse")
    problem(http.post("/v1/devices", content=renewal, headers=JWT), 400, "token_key_unknown")
    lookup = device.sign(device.request("lookup"))
    problem(http.post("/v1/devices", content=lookup, headers=JWT), 422, "misuse")
    other = Computer(shop, "b")
    other.activate(shop.license().license_key)
    before = len(shop.events())
    foreign = f"/v1/leases/{other.device_id}"
    problem(http.put(foreign, content=renewal, headers=JWT), 404, "not_found")
    named = other.sign(other.request("renew", kem=other.kem(kem), sub=device.device_id))
    problem(http.put(foreign, content=named, headers=JWT), 400, "token_claims")
    wrong = other.sign(other.request("renew", kem=other.kem(kem), lic=device.license_id))
    problem(http.put(foreign, content=wrong, headers=JWT), 400, "token_claims")
    elsewhere = other.sign(other.request("renew", kem=other.kem(kem), aud="srv_other"))
    problem(http.put(foreign, content=elsewhere, headers=JWT), 400, "token_audience")
    assert len(shop.events()) == before


def test_a_member_that_is_not_in_the_schema_of_a_request_is_refused(
    http: httpx.Client, shop: Shop
) -> None:
    device = Computer(shop)
    claims = json.loads(_payload(device.sign(device.request("lookup"))))
    token = jws.build(RequestClaims.TYP, {**claims, "surprise": 1}, [device.key]).encode()
    problem(http.post("/v1/licenses:lookup", content=token, headers=JWT), 400, "token_claims")


def _payload(token: bytes) -> bytes:
    return unb64u(token.split(b".")[1].decode())


def test_without_what_an_operation_needs_it_is_refused(http: httpx.Client, shop: Shop) -> None:
    device, kem = Computer(shop), KemPrivateKey.generate()
    nothing = device.sign(device.request("activate"))
    problem(http.post("/v1/devices", content=nothing, headers=JWT), 400, "token_claims")
    keyless = device.sign(device.request("activate", kem=device.kem(kem)))
    problem(http.post("/v1/devices", content=keyless, headers=JWT), 400, "token_claims")
    planless = device.sign(device.request("trial", kem=device.kem(kem)))
    problem(http.post("/v1/trials", content=planless, headers=JWT), 400, "token_claims")
    no_plan = device.sign(device.request("trial", kem=device.kem(kem), plan="nothing"))
    problem(http.post("/v1/trials", content=no_plan, headers=JWT), 404, "not_found")
    paid = device.sign(device.request("trial", kem=device.kem(kem), plan="basic"))
    problem(http.post("/v1/trials", content=paid, headers=JWT), 404, "not_found")


def test_a_license_key_sealed_for_another_question_does_not_open(
    http: httpx.Client, shop: Shop
) -> None:
    """Nonce, device key and product are bound: a sealed license key cannot be carried over."""
    issued, device, kem = shop.license(), Computer(shop), KemPrivateKey.generate()
    nonce = "A" * 43
    sealed = device.sealed_key(issued.license_key, nonce)
    moved = device.request("activate", kem=device.kem(kem), license_key=sealed)
    answer = http.post("/v1/devices", content=device.sign(moved), headers=JWT)
    problem(answer, 400, "sealed_key_invalid")
    thief = Computer(shop, "thief")
    taken = thief.request("activate", nonce=nonce, kem=thief.kem(kem), license_key=sealed)
    answer = http.post("/v1/devices", content=thief.sign(taken), headers=JWT)
    problem(answer, 400, "sealed_key_invalid")


def test_a_device_the_store_does_not_know_is_no_denial(http: httpx.Client, shop: Shop) -> None:
    """503 without a lease to show, 404 with one that is none; either way nothing is denied."""
    device, kem = Computer(shop), KemPrivateKey.generate()
    known: dict[str, Any] = {"sub": "dev_x", "lic": "lic_x", "seq": 4, "kem": device.kem(kem)}
    for method, path, op in (
        ("PUT", "/v1/leases/dev_x", "renew"),
        ("POST", "/v1/devices/dev_x:return", "return"),
        ("POST", "/v1/devices/dev_x/key-releases", "release"),
    ):
        asked = device.sign(device.request(op, **known))
        answer = http.request(method, path, content=asked, headers=JWT)
        problem(answer, 503, "store_behind")
        assert answer.headers["retry-after"].isdigit()
        shown = device.sign(device.request(op, **known, lease_token="a.b.c"))
        problem(http.request(method, path, content=shown, headers=JWT), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/devices", {"POST", "OPTIONS"}),
        ("DELETE", "/v1/leases/dev_x", {"PUT", "OPTIONS"}),
        ("POST", "/v1/blobs/" + "0" * 64, {"GET", "HEAD", "OPTIONS"}),
        ("PUT", "/v1/log/tile/0/x001/067", {"GET", "OPTIONS"}),
        ("PATCH", "/healthz", {"GET", "OPTIONS"}),
        ("DELETE", "/v1/admin/licenses/lic_x", {"GET", "PATCH", "OPTIONS"}),
        ("GET", "/v1/admin/tokens/tok_x:revoke", {"POST", "OPTIONS"}),
    ],
)
def test_a_method_that_an_address_does_not_take_is_405_with_those_it_takes(
    http: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = http.request(method, path)
    problem(answer, 405, "misuse")
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/v1/devices/dev_x", "/v1/devices/dev_x:erase", "/v1/devices/:"])
def test_a_verb_that_no_device_call_has_is_404(http: httpx.Client, path: str) -> None:
    problem(http.post(path, content=b"x", headers=JWT), 404, "not_found")


@pytest.mark.parametrize(("method", "path"), ADMIN_BODIES)
def test_an_admin_body_is_a_closed_json_object_of_bounded_depth(
    http: httpx.Client, owner: dict[str, str], method: str, path: str
) -> None:
    path = f"/v1/admin/{path}"
    for headers in (owner, {**owner, **JWT}, {**owner, **JSON, "Content-Encoding": "gzip"}):
        problem(http.request(method, path, content=b"{}", headers=headers), 415, "misuse")
    headers = {**owner, **JSON}
    for body in (b'{"surprise":1}', b"[]", b"null", b"{", b"\xff", b"[" * 33 + b"]" * 33):
        problem(http.request(method, path, content=body, headers=headers), 422, "misuse")
    problem(http.request(method, path, content=b"{}", headers=JSON), 401, "credential_invalid")


def test_a_license_is_changed_against_its_etag_or_not_at_all(
    http: httpx.Client, shop: Shop, owner: dict[str, str]
) -> None:
    path = f"/v1/admin/licenses/{shop.license().license_id}"
    shown = http.get(path, headers=owner)
    assert shown.headers["etag"] == f'"{shown.json()["version"]}"'
    changed = http.patch(path, json={"label": "a"}, headers={**owner, "If-Match": "*"})
    assert changed.status_code == 200
    assert changed.json()["version"] == shown.json()["version"] + 1
    old = {**owner, "If-Match": shown.headers["etag"]}
    problem(http.patch(path, json={"label": "b"}, headers=old), 409, "conflict")
    by_member = http.patch(path, json={"label": "b", "version": 1}, headers=owner)
    problem(by_member, 409, "conflict")
    assert http.get(path, headers=owner).json()["label"] == "a"


def test_an_idempotency_key_has_1_to_128_characters(
    http: httpx.Client, shop: Shop, owner: dict[str, str]
) -> None:
    wish = {"plan": "basic", "customer": "length"}
    for key, code in (("x" * 128, 201), ("x" * 129, 422), ("", 422)):
        headers = {**owner, "Idempotency-Key": key}
        answer = http.post("/v1/admin/licenses", json=wish, headers=headers)
        assert answer.status_code == code, answer.text
        if code == 422:
            problem(answer, 422, "misuse")


def test_a_blob_that_is_there_already_is_not_sent_again(http: httpx.Client, shop: Shop) -> None:
    """If-None-Match before Range; a weak or listed tag and the star count (RFC 9110, 13.1.2)."""
    path = f"/v1/blobs/{shop.admin.list_models().items[0].blob_digest}"
    etag = http.head(path).headers["etag"]
    for known in (etag, "*", f'"x", {etag}', f"W/{etag}"):
        for method in ("GET", "HEAD"):
            headers = {"If-None-Match": known, "Range": "bytes=0-1"}
            answer = http.request(method, path, headers=headers)
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == etag and "immutable" in answer.headers["cache-control"]
    fresh = http.get(path, headers={"If-None-Match": '"x"', "Range": "bytes=0-1", "If-Range": etag})
    assert (fresh.status_code, len(fresh.content)) == (206, 2)


@pytest.mark.parametrize(
    ("path", "media_type", "cache"),
    [
        ("/v1/catalog/timestamp.json", "application/json", "no-cache"),
        ("/v1/catalog/1.root.json", "application/json", "immutable"),
        ("/v1/status-lists/1", "application/statuslist+jwt", "max-age=60"),
        ("/v1/log/checkpoint", "text/plain; charset=utf-8", "no-cache"),
        ("/.well-known/jwks.json", "application/jwk-set+json", "max-age=300"),
        ("/.well-known/modelseal", "application/json", "no-store"),
        ("/healthz", "text/plain; charset=utf-8", "no-store"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "no-store"),
        ("/schema/openapi.json", "application/vnd.oai.openapi+json", "no-store"),
    ],
)
def test_what_everybody_may_fetch_has_its_media_type_and_its_age(
    http: httpx.Client, path: str, media_type: str, cache: str
) -> None:
    answer = http.get(path, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert cache in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_status_list_is_signed_under_its_own_address(http: httpx.Client, shop: Shop) -> None:
    device = Computer(shop)
    lease = device.activate(shop.license().license_key)
    found = status.parse(http.get(lease.status.uri).content, shop.trust, uri=lease.status.uri)
    assert (found.get(lease.status.idx), found.ttl_seconds) == (status.Status.VALID, 300)
    shop.admin.revoke_device(device.device_id or "")
    newer = status.parse(http.get(lease.status.uri).content, shop.trust, uri=lease.status.uri)
    assert newer.get(lease.status.idx) is status.Status.REVOKED and newer.number > found.number


def test_a_refusal_is_a_problem_with_a_denial_and_everything_in_it_agrees(
    http: httpx.Client, shop: Shop
) -> None:
    device, kem = Computer(shop), KemPrivateKey.generate()
    token = device.activation(license_key.format_key(b"\x01" * 10), kem)
    answer = http.post("/v1/devices", content=token, headers=JWT)
    found = answer.json()
    assert (answer.status_code, found["code"]) == (403, "unknown_license_key")
    denial = tokens.read(found["denial"], DenialClaims, shop.trust)
    assert (denial.seq, denial.erase, denial.state) == (0, False, "NOT_ACTIVATED")
    assert (denial.sub, denial.cnf.jkt) == (device.key.kid, device.key.kid)
    assert (denial.code, denial.reference) == (found["code"], found["reference"])
    assert denial.jti == found["event_id"] and re.fullmatch("[0-9A-Z]{8}", denial.reference)
    assert http.get(f"/v1/log/events/{found['event_id']}").json()["event_id"] == denial.jti


def test_a_refusal_tells_the_same_in_its_problem_and_in_its_denial(
    http: httpx.Client, shop: Shop
) -> None:
    """What has no value is absent in both."""
    shop.plan("single", "face.swap", seats=1)
    issued = shop.license("single")
    Computer(shop, "first").activate(issued.license_key, label="the first")
    token = Computer(shop, "second").activation(issued.license_key, KemPrivateKey.generate())
    found = http.post("/v1/devices", content=token, headers=JWT).json()
    denial = tokens.read(found["denial"], DenialClaims, shop.trust)
    assert found["code"] == "no_free_seat" and sorted(denial.params) == [
        "devices",
        "holders",
        "seats",
    ]
    assert denial.params == found["params"]
    assert [d["label"] for d in found["params"]["devices"]] == ["the first"]


def test_what_holds_a_secret_is_kept_by_no_cache(
    http: httpx.Client, shop: Shop, owner: dict[str, str]
) -> None:
    """Answers of devices and publishers are never stored on the way."""
    wish = {"plan": "basic", "customer": "cache", "expires_in_seconds": 86400}
    issued = http.post("/v1/admin/licenses", json=wish, headers=owner)
    device, kem = Computer(shop), KemPrivateKey.generate()
    token = device.activation(issued.json()["license_key"], kem)
    activated = http.post("/v1/devices", content=token, headers=JWT)
    shown = http.get(f"/v1/admin/licenses/{issued.json()['license_id']}", headers=owner)
    for answer, status_code in ((issued, 201), (activated, 201), (shown, 200)):
        assert (answer.status_code, answer.headers["cache-control"]) == (status_code, "no-store")
