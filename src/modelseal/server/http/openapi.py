"""The OpenAPI 3.1 document, made from the handlers and their types.

Schemas are msgspec's own (JSON Schema 2020-12, which OpenAPI 3.1 speaks). What a signature does not
show stands in a handler's ``opt``: ``body`` (a type, or a media type for bytes), ``answer`` (a
media type for bytes), ``headers`` (what is read, and why), ``gives`` (headers of the answer),
``answers`` (further statuses), ``verbs`` with ``owner`` (the calls behind one ``{target}`` path).
Nothing is loaded from anywhere else.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg

from modelseal import __version__
from modelseal.server.http import openapi_refusals as refusals
from modelseal.server.http.page import group_of, page
from modelseal.server.http.page_examples import Examples
from modelseal.server.http.problems import Problem

JSON = "application/json"
ADMIN = "/v1/admin/"
_PARAMETER = re.compile(r"\{(\w+):(\w+)\}")
_LIMITS = {
    "min_length": "minLength", "max_length": "maxLength", "ge": "minimum", "le": "maximum",
    "pattern": "pattern",
}  # fmt: skip
_FORMS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {"minLength": 1, "maxLength": 128},
    "If-Match": {"pattern": r'^(\*|"[A-Za-z0-9_-]{1,64}"|[A-Za-z0-9_-]{1,64})$'},
}
_PROBLEM: dict[str, Any] = {"$ref": "#/components/responses/Problem"}
_ABOUT = (
    "Devices sign their requests; publishers show a bearer token. Everything else is public, signed"
    " or useless without a key. Whatever is no success is a problem document (RFC 9457) whose"
    " `code` is stable. Answers may grow: ignore members that you do not know."
)


@dataclass(frozen=True, slots=True)
class Verb:
    """One call behind a ``{target}`` path: ``{name}:{verb}``."""

    body: Any
    answer: Any
    summary: str
    headers: Mapping[str, str] = field(default_factory=dict)
    gives: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Query:
    name: str
    kind: Any
    limits: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Operation:
    method: str
    path: str
    name: str
    summary: str
    status: int
    body: Any
    answer: Any
    integers: frozenset[str]
    query: tuple[_Query, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[int, str] = field(default_factory=dict)
    gives: Mapping[str, str] = field(default_factory=dict)


def routes(handlers: Iterable[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """The document of ``handlers`` and of these two, and the page that lists them."""

    @get("/schema/openapi.json", opt={"answer": "application/vnd.oai.openapi+json"})
    async def openapi_document() -> Response[bytes]:
        """This document."""
        return Response(encoded, media_type="application/vnd.oai.openapi+json")

    @get("/schema", opt={"answer": "text/html"})
    async def openapi_page() -> Response[bytes]:
        """Every call on one page."""
        return Response(shown, media_type="text/html")

    own = [openapi_document, openapi_page]
    described = document([*handlers, *own])
    encoded, shown = msgspec.json.encode(described), page(described)
    return own


def templates(handlers: Iterable[HTTPRouteHandler]) -> Iterator[tuple[str, str]]:
    """Method and path of every call, those that ``routes`` adds too."""
    yield from ((op.method, op.path) for handler in handlers for op in _operations(handler))
    yield from (("get", "/schema"), ("get", "/schema/openapi.json"))


def document(handlers: Iterable[HTTPRouteHandler]) -> dict[str, Any]:
    """The OpenAPI document of ``handlers``, as plain values."""
    operations = [op for handler in handlers for op in _operations(handler)]
    types = [Problem]
    for operation in operations:
        types += [
            t
            for t in (operation.body, operation.answer, *(q.kind for q in operation.query))
            if _is_type(t)
        ]
    found, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    _name_times(components)
    schemas = {id(t): schema for t, schema in zip(types, found, strict=True)}
    examples = Examples(components)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _described(operation, lambda t: schemas[id(t)])
        _exemplify(described, examples)
        paths.setdefault(operation.path, {})[operation.method] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "modelseal license server",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The server that gave this document."}],
        "tags": [{"name": name} for name in sorted({group_of(each.path) for each in operations})],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(components),
            "responses": refusals.responses(schemas[id(Problem)]),
            "securitySchemes": {
                "admin": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An admin token, `mst_` and 43 characters.",
                }
            },
        },
    }


def _name_times(schemas: Mapping[str, Any]) -> None:
    """Texts whose name says that they are times say so in their schema."""
    for schema in schemas.values():
        schema["description"] = inspect.cleandoc(schema.get("description", ""))
        for name, told in schema.get("properties", {}).items():
            if name == "at" or name.endswith("_at"):
                for each in (told, *told.get("anyOf", ())):
                    if each.get("type") == "string":
                        each["format"] = "date-time"


def _operations(handler: HTTPRouteHandler) -> Iterator[_Operation]:
    function, opt = handler.fn, handler.opt
    hints = typing.get_type_hints(function, include_extras=True)
    raw = sorted(handler.paths)[0]
    parameters = dict(_PARAMETER.findall(raw))
    integers = frozenset(name for name, kind in parameters.items() if kind == "int")
    path = _PARAMETER.sub(r"{\1}", raw)
    prefix = "admin_" if path.startswith(ADMIN) else ""
    name = prefix + function.__name__
    verbs: dict[str, Verb] = opt.get("verbs", {})
    for verb, told in verbs.items():
        owner = "{" + opt["owner"] + "}"
        yield _Operation(
            "post", path.replace("{target}", owner) + f":{verb}", f"{name}_{verb}", told.summary,
            200, told.body, told.answer, integers, headers=told.headers, gives=told.gives,
        )  # fmt: skip
    if verbs:
        return
    known = {"return", "request", *parameters}
    for method in sorted(str(m).lower() for m in handler.http_methods):
        yield _Operation(
            method, path, name if method != "head" else f"{name}_head",
            (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " "),
            handler.status_code or 200, opt.get("body"),
            opt.get("answer") or _answer(hints["return"]), integers,
            tuple(_query(n, hint) for n, hint in hints.items() if n not in known),
            opt.get("headers", {}), opt.get("answers", {}), opt.get("gives", {}),
        )  # fmt: skip


def _described(operation: _Operation, schema_of: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [group_of(operation.path)],
        "summary": operation.summary,
        "parameters": list(_parameters(operation, schema_of)),
        "responses": dict(_responses(operation, schema_of)),
    }
    if operation.body is not None:
        made["requestBody"] = {"required": True, "content": _content(operation.body, schema_of)}
    if operation.path.startswith(ADMIN):
        made["security"] = [{"admin": []}]
    return made


def _responses(operation: _Operation, schema_of: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    told = {operation.status: "The answer.", **operation.answers}
    admin, body = operation.path.startswith(ADMIN), operation.body
    asked = bool(operation.query or operation.headers)
    media = JSON if body is not None and not isinstance(body, str) else body
    refused = refusals.statuses(operation.path, admin=admin, body=media, asked=asked)
    told |= dict.fromkeys(refused, "")
    for status, text in sorted(told.items()):
        if status >= 400:
            yield str(status), refusals.reference(status)
        elif status == 304:
            yield str(status), {"description": text}
        else:
            content = _content(operation.answer, schema_of)
            made: dict[str, Any] = {"description": text, "content": content}
            if operation.gives:
                made["headers"] = {
                    name: {"description": why, "schema": {"type": "string"}}
                    for name, why in operation.gives.items()
                }
            yield str(status), made
    yield "default", _PROBLEM


def _exemplify(described: dict[str, Any], examples: Examples) -> None:
    """Every JSON body of an operation has an example beside its schema."""
    asked = described.get("requestBody", {}).get("content", {})
    if JSON in asked:
        asked[JSON]["example"] = examples.of(asked[JSON]["schema"], asked=True)
    for response in described["responses"].values():
        if JSON in response.get("content", {}):
            told = response["content"][JSON]
            told["example"] = examples.of(told["schema"], asked=False)


def _parameters(operation: _Operation, schema_of: Any) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", operation.path):
        kind = "integer" if name in operation.integers else "string"
        yield {"name": name, "in": "path", "required": True, "schema": {"type": kind}}
    for query in operation.query:
        schema = {**schema_of(query.kind), **query.limits}
        yield {"name": query.name, "in": "query", "required": False, "schema": schema}
    for name, why in operation.headers.items():
        schema = {"type": "string", **_FORMS.get(name, {})}
        yield {
            "name": name, "in": "header", "required": False, "description": why, "schema": schema
        }  # fmt: skip


def _content(kind: Any, schema_of: Any) -> dict[str, Any]:
    if not isinstance(kind, str):
        return {JSON: {"schema": schema_of(kind)}}
    if kind == "application/octet-stream":
        return {kind: {}}
    return {kind: {"schema": {"type": "object" if kind.endswith("json") else "string"}}}


def _is_type(kind: object) -> bool:
    return kind is not None and not isinstance(kind, str)


def _answer(hint: Any) -> Any:
    if typing.get_origin(hint) is Response:
        return typing.get_args(hint)[0]
    return hint


def _query(name: str, hint: Any) -> _Query:
    """An optional parameter of the query under the name and within the limits it is read by."""
    limits: dict[str, Any] = {}
    kind = typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, ParameterKwarg):
            name = extra.name or name
            found = {said: getattr(extra, ours) for ours, said in _LIMITS.items()}
            limits |= {said: value for said, value in found.items() if value is not None}
    return _Query(name, kind, limits)
