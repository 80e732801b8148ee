"""``docs/spec/protocol.md`` says what the code does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import httpx
import msgspec
import pytest
from tests.license.good import facts
from tests.license.test_decide import PAIRS
from tests.server.world import Shop

from modelseal import admin
from modelseal.admin import Role
from modelseal.client import heartbeat, revocation, transport
from modelseal.errors import by_code
from modelseal.license import bundle, clock, tokens
from modelseal.license.decide import decide
from modelseal.license.facts import Action
from modelseal.server.http import admin_catalog, admin_leases, work
from modelseal.server.services import actors, blobs, catalog, idempotency, paging, statuses
from modelseal.server.services import tokens as admin_tokens
from modelseal.server.services.actors import RIGHTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "spec" / "protocol.md").read_text("utf-8")
PROSE = re.sub(r"<!-- table: .*?<!-- end -->", "", PAGE, flags=re.DOTALL)


def generator() -> ModuleType:
    path = ROOT / "tools" / "make_protocol_tables.py"
    spec = importlib.util.spec_from_file_location("make_protocol_tables", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_tables_are_those_of_the_code() -> None:
    assert generator().render(PAGE) == PAGE, "run: python tools/make_protocol_tables.py"


def test_everything_that_a_call_takes_or_answers_has_its_table() -> None:
    shown = set(re.findall(r"<!-- table: (\w+) -->", PAGE))
    elsewhere = {
        "Eula",
        "SealedText",
        "SealedKeys",
        "Plan",
        "Page",
        "Nothing",
    }  # tokens.md, or said in words
    document = generator().document()
    below = (
        "PlanEntitlement",
        "LeaseTerms",
        "Binding",
        "Meter",
        "Allow",
        "Anomaly",
        "RelayTerms",
    )  # of a plan
    for name, schema in document["components"]["schemas"].items():
        if schema.get("type") == "object" and not name.startswith("Page_") and name not in below:
            assert name in shown | elsewhere, name
    for name in admin.__all__:
        cls = getattr(admin, name)
        if isinstance(cls, type) and issubclass(cls, msgspec.Struct):
            assert name in shown | elsewhere, name


def test_every_code_that_the_page_names_exists() -> None:
    families = "token|sealed_key|answer|store|storage|rate|download|catalog|container|access"
    named = set(re.findall(rf"`((?:{families})_[a-z_]+)`", PROSE))
    assert {"store_behind", "answer_unsigned", "access_denied"} <= named
    assert {code for code in named if by_code(code) is None} == set()


def refusals() -> dict[str, set[str]]:
    """The table of section 4.9: parameters by code."""
    part = PAGE[PAGE.index("<!-- params -->") : PAGE.index("<!-- end params -->")]
    rows = (row.split("|")[1:3] for row in part.splitlines() if row.startswith("| `"))
    return {
        code: set(re.findall(r"`(\w+)`", params))
        for codes, params in rows
        for code in re.findall(r"`(\w+)`", codes)
    }


def test_the_parameters_of_refusals_are_those_of_decide() -> None:
    """Every refusal of a server's call that the decision tests know, with what it tells."""
    told, met = refusals(), set()
    for case in PAIRS:
        action, _, change = case.values
        found = decide(facts(action, **change))
        if action is Action.LOAD or found.allowed:
            continue
        met.add(found.code)
        assert set(found.params) <= told[found.code], found.code
    assert {"no_free_seat", "forked", "license_expired"} <= met <= set(told)
    assert all(by_code(code) is not None for code in told)


def rights() -> dict[str, str]:
    """The table of section 9.1: the right by call."""
    part = PAGE[PAGE.index("<!-- rights -->") : PAGE.index("<!-- end rights -->")]
    rows = (row.split("|")[1:3] for row in part.splitlines() if row.startswith("| `"))
    return {
        call: right.strip(" `") for right, calls in rows for call in re.findall(r"`(.+?)`", calls)
    }


BODIES = {
    "POST plans": {"name": "rights", "terms": {"entitlements": [{"id": "a"}]}},
    "PUT plans/{plan}": {"name": "rights", "terms": {"entitlements": [{"id": "a"}]}},
    "POST licenses": {"plan": "rights", "customer": "a"},
    "POST customers:export": {"customer": "nobody"},
    "POST customers:erase": {"customer": "nobody"},
    "POST models": {
        "blob_digest": "0" * 64,
        "sealed_keys": {"recipient": "a" * 43, "suite": "x", "ct": ""},
        "targets": "AAAA",
    },
    "POST models/{record_id}:withdraw": {"targets": "AAAA"},
    "PUT trust": {"roots": [], "targets": "AAAA", "keys_role": "AAAA", "key_list": "AAAA"},
    "POST tokens": {"role": "auditor"},
    "POST webhooks": {"url": "https://hooks.example.com/"},
    "POST keys": {"uses": ["status"]},
    "POST leases:respond": {"request": "AAAA"},
    "POST leases:code": {"device": "dev_0"},
    "POST relays:sync": {
        "relay": "rly_019ca945-0a00-713e-aa37-c7c879c30fc9",
        "sync": "syn_0",
    },
    "POST relays:leases": {"relay": "rly_019ca945-0a00-713e-aa37-c7c879c30fc9"},
    "POST kek:rotate": {"to": "nothing:that is a key"},
}


def test_the_rights_of_the_page_are_those_that_calls_ask_for(
    http: httpx.Client, shop: Shop
) -> None:
    """Every admin call, with a token of every role: 403 exactly where the page says so."""
    known = rights()
    described = {
        f"{method.upper()} {path.removeprefix('/v1/admin/')}"
        for path, item in generator().document()["paths"].items()
        for method in item
        if path.startswith("/v1/admin/")
    }
    assert set(known) == described
    for role in Role:
        token = shop.admin.create_token(role, 3600, "rights").token
        for call, right in known.items():
            method, _, path = call.partition(" ")
            path = re.sub(r"\{\w+\}", "0" * 64, path)
            more = {"json": BODIES.get(call, {})} if method != "GET" else {}
            if call.startswith("PUT blobs"):
                more = {"content": b"x", "headers": {"Content-Type": "application/octet-stream"}}
            headers = {**more.pop("headers", {}), "Authorization": f"Bearer {token}"}  # type: ignore[dict-item]
            url = f"/v1/admin/{path}"
            answer = http.request(method, url, headers=headers, **more)  # type: ignore[arg-type]
            allowed = actors.Right(right) in RIGHTS[role]
            assert answer.status_code not in (401, 415) and answer.status_code < 500, call
            denied = answer.status_code == 403 and answer.json()["code"] == "access_denied"
            assert denied is not allowed, f"{role} {call}: {answer.status_code} {answer.text[:200]}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("device calls 65,536 bytes", work.DEVICE_BODY_BYTES),
        ("admin calls 262,144", work.ADMIN_BODY_BYTES),
        (":withdraw`) 16,777,216", work.SIGNED_BODY_BYTES),
        ("leases:respond` 524,288", admin_leases.REQUEST_BODY_BYTES),
        ("at most 4,194,304 bytes of an answer", transport.MAX_ANSWER_BYTES),
        ("bundles 1,048,576", bundle.MAX_BYTES),
        ("status lists 2,097,152", revocation.MAX_LIST_BYTES),
        ("fresh for 60 seconds", 60),
        ("`ttl` is 300", statuses.TTL_SECONDS),
        ("more than 300 seconds behind", clock.SET_BACK_SECONDS),
        ("After a failure: 30 seconds", heartbeat.RETRY_SECONDS),
        ("at most 900", heartbeat.MAX_RETRY_SECONDS),
        ("10 seconds for\n  a connection", int(transport.CONNECT_SECONDS)),
        ("30 for an answer", int(transport.ANSWER_SECONDS)),
        ("pages of 100", paging.PAGE_ITEMS),
        ("1 to 128\n  characters", idempotency.MAX_KEY_CHARACTERS),
        ("Within 24 hours", int(idempotency.KEPT.total_seconds() // 3600)),
        ("63,244,800", admin_tokens.MAX_LIFE_SECONDS),
        ("still for 60 seconds", admin_catalog.PIECE_SECONDS),
        ("Snapshots live 7\ndays", catalog.SNAPSHOT_LIFE.days),
    ],
)
def test_the_numbers_of_the_page_are_those_of_the_code(text: str, value: int) -> None:
    assert text in PAGE
    numbers = [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", text)]
    assert value in numbers


def test_the_caps_of_client_and_server_fit() -> None:
    """What one side may send, the other reads."""
    assert work.DEVICE_BODY_BYTES == tokens.MAX_REQUEST_BYTES
    assert revocation.MAX_LIST_BYTES >= tokens.MAX_STATUS_LIST_BYTES
    assert transport.MAX_ANSWER_BYTES >= 3 * tokens.MAX_BYTES
    assert "8 TiB" in PAGE and blobs.MAX_BLOB_BYTES == 8 << 40
