"""Every admin call times every role times what is not there: generated from the calls themselves.

A new call is in the matrix at once. What it would need to be allowed stands in no list here: who
may not is refused before anything is looked up, who may is told 404.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.server.world import Computer, Shop

from modelseal.admin import Role
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.license.claims import KeyWish
from modelseal.server.app import PUBLISHER_CALLS
from modelseal.server.http import openapi
from modelseal.strict_json import b64u

JWT = {"Content-Type": "application/jwt"}
BODIES: dict[str, Any] = {
    "Nothing": {}, "Because": {"reason": "x"}, "LicenseChange": {"seats": 2},
    "Targets": {"targets": ""}, "Whom": {"customer": "nobody@example.com"},
    "RelayReport": {"relay": "rly_019ca945-0a00-713e-aa37-c7c879c30fc9", "sync": "syn_0"},
    "AskRelayed": {"relay": "rly_019ca945-0a00-713e-aa37-c7c879c30fc9",
                   "held": [{"device": "dev_x", "base": "lea_x"}]},
    "AskLeaseCode": {"device": "dev_x"}, "MakeKeys": {"uses": ["lease"]}, "RotateKek": {},
    "NewToken": {"role": "owner"}, "IssueLicense": {"plan": "none", "customer": "c"},
    "RequestFile": {"request": "AAAA"}, "PutTrust": {
        "roots": [], "targets": "", "keys_role": "", "key_list": ""},
    "PlanDraft": {"name": "none", "terms": {"entitlements": [{"id": "a"}]}},
    "NewWebhook": {"url": "https://hooks.example.com/x"}, "WebhookChange": {"label": "x"},
    "ReplayMessages": {"event_ids": ["evt_x"]},
    "PublishModel": {"blob_digest": "0" * 64, "targets": "",
                     "sealed_keys": {"recipient": "r" * 43, "suite": "s", "ct": "c"}},
}  # fmt: skip
"""A body of each type that the calls take: well formed, about nothing that is there."""


def calls() -> Iterator[tuple[str, str, str | None]]:
    """Method, path and type of the body of every admin call."""
    document = openapi.document(PUBLISHER_CALLS)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {})
            ref = content.get("application/json", {}).get("schema", {}).get("$ref", "")
            kind = ref.rpartition("/")[2] or next(iter(content), None)
            if path.startswith("/v1/admin/"):
                yield method.upper(), path, kind


CALLS = sorted(calls(), key=lambda call: call[:2])
NAMED = [call for call in CALLS if "{" in call[1]]


@pytest.fixture(scope="module")
def http(served: Shop) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cadata=served.trust.tls_ca)
    with httpx.Client(base_url=served.url, verify=context, timeout=300) as client:  # type: ignore[attr-defined]
        yield client


@pytest.fixture(scope="module")
def roles(served: Shop) -> dict[Role, str]:
    """A token of every role."""
    return {role: served.admin.create_token(role, 86400, "matrix").token for role in Role}


@pytest.fixture(scope="module")
def things(served: Shop) -> dict[str, str]:
    """One of everything that has an id, so that each call is also asked for what it is not for."""
    issued = served.license()
    device = Computer(served, "matrix")
    device.activate(issued.license_key)
    model = served.admin.list_models().items[0]
    return {
        "license": issued.license_id,
        "device": device.device_id or "",
        "plan": served.admin.show_plan("basic").plan_id,
        "model": model.record_id,
        "token": served.admin.create_token(Role.AUDITOR, 60, "").token_id,
        "event": issued.event_id,
        "digest": model.blob_digest,
    }


OWN = {
    "license_id": {"license"}, "device_id": {"device"}, "plan": {"plan"}, "model": {"model"},
    "record_id": {"model"}, "token_id": {"token"}, "digest": {"digest"},
    "which": {"license", "device", "event"}, "webhook_id": set(),
    "event_id": set(), "product": set(), "relay_id": set(),
}  # fmt: skip
"""Which things a parameter of an address may name."""


def send(
    http: httpx.Client, token: str | None, method: str, path: str, kind: str | None
) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    if kind == "application/octet-stream":
        headers["Content-Type"] = kind
        return http.request(method, path, content=b"x", headers=headers)
    body = {} if kind is None else {"json": BODIES[kind]}
    return http.request(method, path, headers=headers, **body)  # type: ignore[arg-type]


def named(path: str, value: str) -> str:
    return re.sub(r"\{\w+\}", value, path)


def test_every_type_of_body_is_in_the_matrix() -> None:
    kinds = {kind for _method, _path, kind in CALLS if kind and "/" not in kind}
    assert kinds <= BODIES.keys(), "give the new type a body in BODIES"
    parameters = {name for _m, path, _k in CALLS for name in re.findall(r"\{(\w+)\}", path)}
    assert parameters <= OWN.keys(), "say in OWN what the new parameter names"


@pytest.mark.parametrize(("method", "path", "kind"), CALLS)
def test_no_call_is_answered_without_a_token(
    http: httpx.Client, method: str, path: str, kind: str | None
) -> None:
    for token in (None, "mst_" + "a" * 43, "mst_' OR 1=1 --", "x"):
        answer = send(http, token, method, named(path, "x"), kind)
        assert answer.status_code == 401, (token, answer.text)


@pytest.mark.parametrize(("method", "path", "kind"), NAMED)
def test_what_is_not_there_or_is_another_thing_is_404_for_whoever_may_ask_at_all(
    http: httpx.Client,
    shop: Shop,
    roles: dict[Role, str],
    things: dict[str, str],
    method: str,
    path: str,
    kind: str | None,
) -> None:
    parameter = re.findall(r"\{(\w+)\}", path)[0]
    foreign = [value for name, value in things.items() if name not in OWN[parameter]]
    absent = [*foreign, "lic_0", "x" * 120, "%27%20OR%201%3D1", "%f0%9f%98%80"]
    for role, token in roles.items():
        seen = {send(http, token, method, named(path, thing), kind).status_code for thing in absent}
        # One answer for all of them: nobody learns what is there by asking for it.
        assert seen in ({404}, {403}, {400}, {422}), (role, path, seen)
        if role is Role.OWNER and parameter != "digest" and kind != "Targets":
            assert seen == {404}, (path, seen)


@pytest.mark.parametrize(("method", "path", "kind"), CALLS)
def test_the_roles_may_what_the_table_of_the_specification_says(
    http: httpx.Client,
    shop: Shop,
    roles: dict[Role, str],
    method: str,
    path: str,
    kind: str | None,
) -> None:
    from pathlib import Path

    from modelseal.server.services.actors import RIGHTS

    page = Path("docs/spec/protocol.md").read_text().partition("<!-- rights -->")[2]
    told = f"`{method} {path.removeprefix('/v1/admin/')}`"
    rights = [
        line.split("|")[1].strip(" `")
        for line in page.partition("<!-- end rights -->")[0].splitlines()
        if told in line
    ]
    assert len(rights) == 1, f"{told} stands in one line of the table of rights"
    for role, token in roles.items():
        if rights[0] in {right.value for right in RIGHTS[role]}:
            continue
        answer = send(http, token, method, named(path, "x"), kind)
        assert (answer.status_code, answer.json()["code"]) == (403, "access_denied"), (role, path)


def test_a_device_is_not_there_for_another_device(http: httpx.Client, shop: Shop) -> None:
    """The same answer whether the other device exists: 404, never 403, and nothing is recorded."""
    kem = KemPrivateKey.generate()
    mine, other = Computer(shop, "mine"), Computer(shop, "other")
    mine.activate(shop.license().license_key)
    other.activate(shop.license().license_key)
    before = len(shop.events())
    for target in (other.device_id, "dev_01a22754-6f66-7cf8-84df-064e975c4955"):
        for method, path, op in (
            ("PUT", f"/v1/leases/{target}", "renew"),
            ("POST", f"/v1/devices/{target}:return", "return"),
            ("POST", f"/v1/devices/{target}/key-releases", "release"),
            ("POST", f"/v1/devices/{target}/key-releases:nonce", "nonce"),
            ("POST", f"/v1/devices/{target}/key-releases:attest", "attest"),
        ):
            more: dict[str, Any] = {"sub": target, "lic": other.license_id, "seq": 0, "prev": None}
            if op == "attest":
                want = [KeyWish(file=b64u(b"f" * 32), sections=[0])]
                some = b64u(b"n" * 32)
                more |= {"want": want, "server_nonce": some, "server_key": some, "level": 3}
            asked = mine.request(op, kem=mine.kem(kem), **more)
            token = mine.sign(asked)
            if op == "attest":
                evidence = [{"kind": "snp", "parts": ["AAAA"]}]
                body = {"request": token.decode(), "evidence": evidence}
                answer = http.request(method, path, json=body)
            else:
                answer = http.request(method, path, content=token, headers=JWT)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), answer.text
            assert "denial" not in answer.json()
    assert len(shop.events()) == before
    taken = mine.activation(
        shop.license().license_key, kem, b64u(b"n" * 32), replace=other.device_id
    )
    answer = http.post("/v1/devices", content=taken, headers=JWT)
    assert answer.status_code == 404
    assert other.renew().seq == 2


def test_what_spends_something_is_spent_once_under_one_key(
    http: httpx.Client, shop: Shop, roles: dict[Role, str]
) -> None:
    """The same key and body: the same answer. Another body or another call: 422."""
    shop.plan("period", "face.swap", period_seconds=30 * 86400)
    issued = shop.license("period", expires_in_seconds=86400)
    terms = {"entitlements": [{"id": "face.swap"}], "seats": 3}
    of = f"/v1/admin/licenses/{issued.license_id}"
    asked: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
        ("POST", "/v1/admin/licenses", {"plan": "basic", "customer": "o"}, {"seats": 7}),
        ("POST", f"{of}:renew", {}, {"seats": 7}),
        ("POST", f"{of}:rekey", {}, {}),
        ("PUT", "/v1/admin/plans/period", {"name": "period", "terms": terms},
         {"terms": {**terms, "seats": 9}}),
        ("POST", "/v1/admin/tokens", {"role": "auditor"}, {"label": "x"}),
    ]  # fmt: skip
    for number, (method, path, body, other) in enumerate(asked):
        headers = {"Authorization": f"Bearer {roles[Role.OWNER]}", "Idempotency-Key": f"k{number}"}
        before = len(shop.events())
        first, again = (http.request(method, path, json=body, headers=headers) for _ in range(2))
        assert first.status_code in (200, 201) and first.content == again.content, first.text
        assert len(shop.events()) == before + 1, path
        if other:
            odd = http.request(method, path, json={**body, **other}, headers=headers)
            assert (odd.status_code, odd.json()["code"]) == (422, "idempotency_mismatch"), path
        elsewhere = "/v1/admin/tokens" if "tokens" not in path else "/v1/admin/licenses"
        wish = {"role": "owner"} if "tokens" not in path else {"plan": "basic", "customer": "o"}
        odd = http.post(elsewhere, json=wish, headers=headers)
        assert (odd.status_code, odd.json()["code"]) == (422, "idempotency_mismatch"), path
        long = http.request(
            method, path, json=body, headers={**headers, "Idempotency-Key": "k" * 129}
        )
        assert long.status_code == 422


def test_a_plan_is_changed_in_the_version_that_was_read_or_not_at_all(
    http: httpx.Client, shop: Shop, roles: dict[Role, str]
) -> None:
    shop.plan("matched", "face.swap")
    owner = {"Authorization": f"Bearer {roles[Role.OWNER]}"}
    path = "/v1/admin/plans/matched"
    etag = http.get(path, headers=owner).headers["etag"]
    draft = {"name": "matched", "terms": {"entitlements": [{"id": "face.swap"}], "seats": 2}}
    first = http.put(path, json=draft, headers={**owner, "If-Match": etag})
    assert first.status_code == 200 and first.headers["etag"] == '"2"'
    second = http.put(path, json=draft, headers={**owner, "If-Match": etag})
    assert (second.status_code, second.json()["code"]) == (409, "conflict")
    assert http.put(path, json=draft, headers={**owner, "If-Match": "*"}).status_code == 200
    assert http.put(path, json=draft, headers={**owner, "If-Match": "W/x"}).status_code == 422
