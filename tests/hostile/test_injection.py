"""Texts that mean something elsewhere (SQL, logs, templates, shells) mean themselves here."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from tests.server.world import Shop

TEXTS = [
    "' OR '1'='1", "'; DROP TABLE licenses; --", '" OR ""="', "%' AND SLEEP(5) --",
    "1) UNION SELECT key_hash FROM licenses --", "\\'; DELETE FROM events; --", "{{7*7}}",
    "${jndi:ldap://127.0.0.1/a}", "$(id)", "`id`", "../../../etc/passwd", "é" * 40, "true",
    "<script>alert(1)</script>", '=HYPERLINK("http://127.0.0.1")', "%s%s%n{0}{error}", "null",
    "li\r\n2026-01-01 ERROR forged line", "a\u2028b\u202ec", "\x1b[2J\x1b]0;owned\x07",
    "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd",
]  # fmt: skip


@pytest.fixture(scope="module")
def http(served: Shop, owner: str) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cadata=served.trust.tls_ca)
    headers = {"Authorization": f"Bearer {owner}"}
    with httpx.Client(base_url=served.url, verify=context, timeout=300, headers=headers) as client:  # type: ignore[attr-defined]
        yield client


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_as_it_was_and_finds_only_itself(
    http: httpx.Client, shop: Shop, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    caplog.set_level(logging.DEBUG)
    wish = {"plan": "basic", "customer": text, "label": text[:64], "metadata": {text[:64]: text}}
    issued = http.post("/v1/admin/licenses", json=wish)
    assert issued.status_code == 201, issued.text
    made = issued.json()["license_id"]
    shown = http.get(f"/v1/admin/licenses/{made}").json()
    assert (shown["customer"], shown["label"]) == (text, text[:64])
    assert shown["metadata"] == {text[:64]: text}
    found = http.get("/v1/admin/licenses", params={"customer": text}).json()["items"]
    assert [item["license_id"] for item in found] == [made]
    reason = http.post(f"/v1/admin/licenses/{made}:revoke", json={"reason": text})
    assert reason.json()["reason"] == text
    for path in ("events?subject=", "devices?license=", "licenses?cursor=", "explanations/"):
        odd = http.get(f"/v1/admin/{path}{quote(text, safe='')}")
        assert odd.status_code in (200, 400, 404, 422), (path, odd.text)
        if odd.status_code == 200:
            assert odd.json()["items"] == []
    for record in caplog.records:
        if record.name.startswith("modelseal"):
            assert "\n" not in record.getMessage() and "\x1b" not in record.getMessage()


def test_a_cursor_and_a_state_are_never_read_as_nothing(http: httpx.Client, shop: Shop) -> None:
    """``null`` in a query is a text: no way to get the whole list by a filter that is not one."""
    assert http.get("/v1/admin/licenses?customer=null-nobody").json()["items"] == []
    for query in (
        "state=null",
        "state=None",
        "cursor=null",
        "customer=a%00b",
        "cursor=MTo&state=x",
    ):
        assert http.get(f"/v1/admin/licenses?{query}").status_code == 422, query


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "licenses", {"plan": "basic", "customer": "m", "license_id": "lic_mine"}),
        ("POST", "licenses", {"plan": "basic", "customer": "m", "license_key": "MS-1"}),
        ("POST", "licenses", {"plan": "basic", "customer": "m", "state": "active", "rev": 9}),
        ("POST", "tokens", {"role": "auditor", "token": "mst_mine"}),
        ("POST", "tokens", {"role": "auditor", "created_at": "2020-01-01T00:00:00Z"}),
        ("POST", "tokens", {"role": "root"}),
        ("POST", "plans", {"name": "p", "version": 7, "terms": {"entitlements": [{"id": "a"}]}}),
        ("POST", "plans", {"name": "p", "terms": {"entitlements": [{"id": "a", "owner": 1}]}}),
        ("PATCH", "licenses/{id}", {"state": "active"}),
        ("PATCH", "licenses/{id}", {"customer": "other@example.com"}),
        ("PATCH", "licenses/{id}", {"key_hash": "00", "seats": 2}),
        ("PATCH", "licenses/{id}", {"seats": 2, "seats_used": 0}),
        ("POST", "licenses/{id}:renew", {"starts_at": "2020-01-01T00:00:00Z"}),
        ("POST", "licenses/{id}:rekey", {"license_key": "MS-00000-00000-00000-00000"}),
        ("POST", "licenses/{id}:resume", {"__class__": "x"}),
    ],
)
def test_a_member_that_is_not_the_callers_to_say_is_refused_and_nothing_changes(
    http: httpx.Client, shop: Shop, method: str, path: str, body: dict[str, object]
) -> None:
    issued = shop.license()
    before = http.get(f"/v1/admin/licenses/{issued.license_id}").json()
    events = len(shop.events())
    answer = http.request(method, "/v1/admin/" + path.format(id=issued.license_id), json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "misuse"), answer.text
    assert http.get(f"/v1/admin/licenses/{issued.license_id}").json() == before
    assert len(shop.events()) == events


@pytest.mark.parametrize(
    "body",
    [
        b'{"plan":"basic","plan":"pro","customer":"a"}',
        b'{"plan":"basic","customer":"a","metadata":{"k":"1","k":"2"}}',
        b'{"plan":"basic","customer":"a"}{"plan":"basic"}',
        b'{"plan":"basic","customer":"a"}\x00',
        b'\xef\xbb\xbf{"plan":"basic","customer":"a"}',
        b'{"plan":"basic","customer":"\\ud800"}',
        b'{"plan":"basic","customer":"a","seats":1.0e0}',
        b'{"plan":"basic","customer":"a","seats":NaN}',
        b'{"plan":"basic","customer":"a","seats":99999999999999999999999}',
        b'{"plan":"basic","customer":"a\\u0000b"}',
        b"{'plan':'basic'}",
        '{"plan":"basic","customer":"a"}'.encode("utf-16"),
    ],
)
def test_json_that_two_readers_read_differently_is_refused(
    http: httpx.Client, shop: Shop, body: bytes
) -> None:
    before = len(shop.events("license_issued"))
    answer = http.post(
        "/v1/admin/licenses", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422, answer.text
    json.loads(answer.text)
    assert len(shop.events("license_issued")) == before
