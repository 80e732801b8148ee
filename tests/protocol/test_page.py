"""The page for people: whole, linked within itself, its examples fit, its commands work."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.world import Shop

from modelseal.admin import Role
from modelseal.server.http.page import GROUPS
from modelseal.server.http.page_examples import Examples

VOID = {"meta"}
LOOSE = {"html", "body"}
"""Elements whose end HTML leaves out."""


class Reader(HTMLParser):
    """Keeps ids and links; every element that is opened is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID | LOOSE:
            self.open.append(tag)
        told = dict(attrs)
        self.ids += [told["id"]] if told.get("id") else []  # type: ignore[list-item]
        self.links |= {told["href"]} if told.get("href") else set()  # type: ignore[arg-type]

    def handle_endtag(self, tag: str) -> None:
        if tag not in LOOSE:
            assert self.open.pop() == tag, self.getpos()


@pytest.fixture
def document(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/schema/openapi.json").json()
    return found


@pytest.fixture
def text(http: httpx.Client) -> str:
    return http.get("/schema").text


def calls(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def test_the_page_is_whole_and_every_link_in_it_leads_somewhere(
    text: str, document: dict[str, Any]
) -> None:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    assert [name for name, count in Counter(reader.ids).items() if count > 1] == []
    inner = {link[1:] for link in reader.links if link.startswith("#")}
    assert inner <= set(reader.ids)
    assert {link for link in reader.links if not link.startswith("#")} == {"/schema/openapi.json"}
    names = {operation["operationId"] for _, _, operation in calls(document)}
    assert names <= set(reader.ids)
    assert {f"schema-{name}" for name in document["components"]["schemas"]} <= set(reader.ids)


def test_every_call_is_in_one_group_and_every_group_has_calls(document: dict[str, Any]) -> None:
    told = [operation["tags"] for _, _, operation in calls(document)]
    assert all(len(tags) == 1 for tags in told)
    assert {tags[0] for tags in told} == {title for title, _about, _starts in GROUPS}
    server = {path for _, path, operation in calls(document)
              if operation["tags"] == ["The server itself"]}  # fmt: skip
    assert not [path for path in server if path.startswith("/v1/")]


def test_every_example_fits_the_schema_that_it_stands_under(document: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="pip install -r requirements/more.txt")
    examples = Examples(document["components"]["schemas"])
    seen = 0
    for method, path, operation in calls(document):
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [r.get("content", {}) for r in operation["responses"].values()]
        for number, content in enumerate(contents):
            told = content.get("application/json")
            if told is None:
                continue
            value = examples.of(told["schema"], asked=number == 0)
            whole = {**told["schema"], "components": document["components"]}
            jsonschema.Draft202012Validator(whole).validate(value)
            seen += 1
        for one in operation["parameters"]:
            if one["in"] == "path":
                jsonschema.validate(examples.place(one["name"], one), one["schema"])
        assert method and path
    assert seen > 60


def command(text: str, name: str) -> str:
    """The command with which the page makes a call."""
    start = text.index(f"id='{name}'>")
    found = re.search(r"With curl</h4><pre>(.*?)</pre>", text[start:], re.DOTALL)
    assert found is not None
    return unescape(found[1])


def test_the_commands_of_the_page_work_as_they_stand(text: str, shop: Shop, tmp_path: Path) -> None:
    if not shutil.which("curl") or not shutil.which("bash"):
        pytest.skip("needs bash and curl: apt-get install bash curl")
    token = shop.admin.create_token(Role.OWNER, 86400, "page").token
    (tmp_path / "ca.pem").write_text(shop.trust.tls_ca)
    environment = {
        "SERVER": shop.url,  # type: ignore[attr-defined]
        "MODELSEAL_TOKEN": token,
        "PATH": "/usr/bin:/bin",
    }

    def told(name: str) -> Any:
        script = "uuidgen() { cat /proc/sys/kernel/random/uuid; }\n" + command(text, name).replace(
            "curl ", "curl -sS --fail-with-body ", 1
        )
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return json.loads(done.stdout)

    assert told("admin_create_plan")["name"] == "pro"
    issued = told("admin_issue_license")
    assert issued["plan"] == "pro" and issued["license_key"].startswith("MS-")
    assert issued["license_id"] in [
        each["license_id"] for each in told("admin_list_licenses")["items"]
    ]
    assert told("admin_create_token")["token"].startswith("mst_")
    assert told("admin_create_webhook")["webhook"]["url"] == "https://example.com/hook"
    assert told("discovery")["server_id"] == shop.trust.server_id
