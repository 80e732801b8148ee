"""The OpenAPI document as it is served: whole, of the right form; the page names its calls."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute
from tests.server.world import Shop

from modelseal.server.app import create_app

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
PAGE = (Path(__file__).resolve().parents[2] / "docs/spec/protocol.md").read_text("utf-8")


@pytest.fixture
def document(http: httpx.Client) -> dict[str, Any]:
    answer = http.get("/schema/openapi.json")
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json"
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def test_the_document_follows_the_rules_of_openapi_3_1(document: dict[str, Any]) -> None:
    """The rules of the specification for everything that this document uses."""
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert set(document) == {"openapi", "info", "servers", "tags", "paths", "components"}
    assert {tag["name"] for tag in document["tags"]} == {
        tag for _, _, operation in operations(document) for tag in operation["tags"]
    }
    assert {"title", "version"} <= set(document["info"])
    for name in [*document["components"]["schemas"], *document["components"]["responses"]]:
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    for response in document["components"]["responses"].values():
        check_response(response, document)
    shapes = [re.sub(r"\{\w+\}", "{}", path) for path in document["paths"]]
    assert len(set(shapes)) == len(shapes), "two paths differ in names of parameters only"
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for method, path, operation in operations(document):
        assert path.startswith("/") and method in METHODS
        check_operation(method, path, operation, document)


def check_operation(
    method: str, path: str, operation: dict[str, Any], document: dict[str, Any]
) -> None:
    known = {"operationId", "summary", "parameters", "responses", "requestBody", "security", "tags"}
    assert set(operation) <= known and operation["summary"], path
    places = [(p["name"].lower(), p["in"]) for p in operation["parameters"]]
    assert len(set(places)) == len(places)
    for parameter in operation["parameters"]:
        assert parameter["in"] in ("path", "query", "header") and "schema" in parameter
        assert parameter["required"] is (parameter["in"] == "path")
        assert parameter["name"].lower() not in ("accept", "content-type", "authorization")
        check_schema(parameter["schema"], document)
    in_path = {name for name, place in places if place == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", path))
    assert operation["responses"], path
    for status, response in operation["responses"].items():
        assert re.fullmatch(r"[1-5]\d\d|default", status)
        check_response(response, document)
    if "requestBody" in operation:
        assert method not in ("get", "head", "delete") and operation["requestBody"]["content"]
        check_content(operation["requestBody"]["content"], document)
    for demanded in operation.get("security", []):
        assert set(demanded) <= set(document["components"]["securitySchemes"])


def check_response(response: dict[str, Any], document: dict[str, Any]) -> None:
    if "$ref" in response:
        assert set(response) == {"$ref"}
        check_response(resolved(response["$ref"], document), document)
        return
    assert response["description"]
    check_content(response.get("content", {}), document)


def check_content(content: dict[str, Any], document: dict[str, Any]) -> None:
    for media_type, told in content.items():
        assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", media_type)
        if "schema" in told:
            check_schema(told["schema"], document)


def check_schema(schema: Any, document: dict[str, Any], seen: frozenset[str] = frozenset()) -> None:
    """JSON Schema 2020-12, as far as types, references and members go."""
    assert isinstance(schema, (dict, bool))
    if isinstance(schema, bool):
        return
    ref = schema.get("$ref")
    if ref is not None and ref not in seen:
        check_schema(resolved(ref, document), document, seen | {ref})
    known = {"string", "integer", "number", "boolean", "object", "array", "null"}
    types = schema.get("type", [])
    assert set([types] if isinstance(types, str) else types) <= known
    assert set(schema.get("required", [])) <= set(schema.get("properties", {}))
    for part in (*schema.get("properties", {}).values(), *schema.get("anyOf", [])):
        check_schema(part, document, seen)
    for name in ("items", "additionalProperties", "propertyNames"):
        if name in schema:
            check_schema(schema[name], document, seen)


def resolved(ref: str, document: dict[str, Any]) -> Any:
    assert ref.startswith("#/components/"), ref
    found: Any = document
    for part in ref[2:].split("/"):
        found = found[part]
    return found


def test_a_document_with_a_fault_would_be_found(document: dict[str, Any]) -> None:
    """The check above is no ornament: each of these faults breaks it."""
    first = document["paths"]["/v1/devices"]["post"]
    for fault in (
        {**first, "responses": {"ok": {"description": "x"}}},
        {**first, "responses": {"200": {"$ref": "#/components/responses/Nothing"}}},
        {**first, "parameters": [{"name": "x", "in": "path", "required": True, "schema": {}}]},
        {**first, "requestBody": {"content": {"a/b": {"schema": {"type": "text"}}}}},
        {**first, "security": [{"nobody": []}]},
    ):
        with pytest.raises((AssertionError, KeyError)):
            check_operation("post", "/v1/devices", fault, document)


def test_every_route_of_the_application_is_in_the_document(
    document: dict[str, Any], shop: Shop
) -> None:
    """With the methods it takes; ``{target}`` paths stand there as the calls behind them."""
    described: set[tuple[str, str]] = set()
    verbs = {path for path in document["paths"] if re.search(r"\}:[a-z]+$", path)}
    for method, path, _ in operations(document):
        plain = re.sub(r"\{\w+\}:[a-z]+$", "{}", path) if path in verbs else path
        described.add((method, re.sub(r"\{\w+\}", "{}", plain)))
    served = {
        (method.lower(), re.sub(r"\{\w+\}", "{}", route.path_format))
        for route in create_app(shop.server, ticking=False).routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    }
    assert described == served


def test_every_call_tells_what_it_takes_what_it_answers_and_what_goes_wrong(
    document: dict[str, Any],
) -> None:
    for method, path, operation in operations(document):
        done = [s for s in operation["responses"] if s.startswith("2")]
        assert done and all(operation["responses"][s]["content"] for s in done), path
        problem = resolved(operation["responses"]["default"]["$ref"], document)
        assert list(problem["content"]) == ["application/problem+json"]
        assert ("requestBody" in operation) == (method in ("post", "put", "patch")), path
        assert ("security" in operation) == path.startswith("/v1/admin/")


def test_a_validator_of_others_finds_no_fault_in_it(document: dict[str, Any]) -> None:
    """With every example beside its schema, and the statuses that a caller has to expect."""
    validator = pytest.importorskip(
        "openapi_spec_validator", reason="pip install -r requirements/more.txt"
    )
    validator.validate(document)
    for _, path, operation in operations(document):
        told = set(operation["responses"])
        if "security" in operation:
            assert {"401", "403", "429", "503"} <= told, path
        if "requestBody" in operation:
            assert {"400", "413", "415", "422"} <= told, path
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [each.get("content", {}) for each in operation["responses"].values()]
        for content in contents:
            assert "example" in content.get("application/json", {"example": 0}), path


def test_parameters_stand_under_the_names_that_are_read(
    document: dict[str, Any], http: httpx.Client, shop: Shop, owner: dict[str, str]
) -> None:
    """Each query parameter of the document is obeyed, which an unknown one would not be."""
    for path, name, odd in (
        ("/v1/admin/licenses", "state", "no such state"),
        ("/v1/admin/licenses", "cursor", "x"),
        ("/v1/admin/licenses", "customer", "x" * 255),
        ("/v1/admin/devices", "license", "x" * 129),
        ("/v1/admin/events", "subject", "x" * 129),
    ):
        told = document["paths"][path]["get"]["parameters"]
        assert name in [parameter["name"] for parameter in told]
        assert http.get(path, params={name: odd}, headers=owner).status_code == 422, (path, name)
        assert http.get(path, params={"unknown": odd}, headers=owner).status_code == 200


def test_the_page_names_every_call(document: dict[str, Any]) -> None:
    for method, path, _ in operations(document):
        assert f"`{method.upper()} {path}`" in PAGE, f"{method.upper()} {path}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/v1/sign-in"),
        ("post", "/v1/sign-in"),
        ("post", "/v1/admin/leases:code"),
        ("post", "/v1/admin/models"),
        ("post", "/v1/admin/session:end"),
        ("post", "/v1/admin/customers:export"),
    ],
)
def test_a_call_that_can_miss_what_it_names_says_so(
    document: dict[str, Any], method: str, path: str
) -> None:
    assert "404" in document["paths"][path][method]["responses"]
