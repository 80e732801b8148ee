"""The OpenAPI 3.1 document, made from the handlers and their types; and a page for people.

Schemas are msgspec's own (JSON Schema 2020-12, which OpenAPI 3.1 speaks). What a signature does not
show stands in a handler's ``opt``: ``body`` (a type, or a media type for bytes), ``answer`` (a
media type for bytes), ``verbs`` (the calls behind one ``{target}`` path). Nothing is loaded from
anywhere else.
"""

from __future__ import annotations

import html
import inspect
import re
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg

from modelseal import __version__
from modelseal.server.http.problems import MEDIA_TYPE, Problem

JSON = "application/json"
_PARAMETER = re.compile(r"\{(\w+):(\w+)\}")
_TYPES = {"str": {"type": "string"}, "int": {"type": "integer"}, "path": {"type": "string"}}


@dataclass(frozen=True, slots=True)
class Verb:
    """One call behind a ``{target}`` path: ``{name}:{verb}``."""

    body: Any
    answer: Any
    summary: str


@dataclass(frozen=True, slots=True)
class _Operation:
    method: str
    path: str
    name: str
    summary: str
    status: int
    body: Any
    answer: Any
    query: dict[str, Any]


def routes(handlers: Iterable[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """The document of ``handlers`` and the page that lists it."""
    described = document(handlers)
    encoded = msgspec.json.encode(described)
    page = _page(described)

    @get("/schema/openapi.json")
    async def openapi_document() -> Response[bytes]:
        """This document."""
        return Response(encoded, media_type="application/vnd.oai.openapi+json")

    @get("/schema")
    async def openapi_page() -> Response[bytes]:
        """Every call on one page."""
        return Response(page, media_type="text/html")

    return [openapi_document, openapi_page]


def document(handlers: Iterable[HTTPRouteHandler]) -> dict[str, Any]:
    """The OpenAPI document of ``handlers``, as plain values."""
    operations = [op for handler in handlers for op in _operations(handler)]
    types = [Problem]
    for operation in operations:
        types += [
            t for t in (operation.body, operation.answer, *operation.query.values()) if _is_type(t)
        ]
    found, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    schemas = {id(t): schema for t, schema in zip(types, found, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _described(operation, lambda t: schemas[id(t)])
        paths.setdefault(operation.path, {})[operation.method] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "modelseal license server", "version": __version__},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(components),
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operations(handler: HTTPRouteHandler) -> Iterator[_Operation]:
    function = handler.fn
    hints = typing.get_type_hints(function, include_extras=True)
    raw = sorted(handler.paths)[0]
    names = {name for name, _kind in _PARAMETER.findall(raw)}
    query = {
        _query_name(name, hint): _bare(hint)
        for name, hint in hints.items()
        if name not in {"return", "request", *names}
    }
    summary = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    path = _PARAMETER.sub(r"{\1}", raw)
    verbs: dict[str, Verb] = handler.opt.get("verbs", {})
    for verb, told in verbs.items():
        owner = handler.opt["owner"]
        yield _Operation(
            "post", path.replace("{target}", "{" + owner + "}") + f":{verb}",
            f"{function.__name__}_{verb}", told.summary, 200, told.body, told.answer, {},
        )  # fmt: skip
    if verbs:
        return
    answer = handler.opt.get("answer") or _answer(hints["return"])
    for method in sorted(str(m).lower() for m in handler.http_methods):
        name = function.__name__ if method != "head" else f"{function.__name__}_head"
        yield _Operation(
            method, path, name, summary, handler.status_code or 200,
            handler.opt.get("body"), answer, query,
        )  # fmt: skip


def _described(operation: _Operation, schema_of: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", operation.path)
        ]
        + [
            {"name": name, "in": "query", "required": False, "schema": schema_of(kind)}
            for name, kind in operation.query.items()
        ],
        "responses": {
            str(operation.status): {
                "description": "The answer.",
                "content": _content(operation.answer, schema_of),
            },
            "default": {
                "description": "A problem (RFC 9457). Only a member denial denies.",
                "content": {MEDIA_TYPE: {"schema": schema_of(Problem)}},
            },
        },
    }
    if operation.body is not None:
        made["requestBody"] = {"required": True, "content": _content(operation.body, schema_of)}
    if operation.path.startswith("/v1/admin/"):
        made["security"] = [{"admin": []}]
    return made


def _content(kind: Any, schema_of: Any) -> dict[str, Any]:
    if isinstance(kind, str):
        return {kind: {"schema": {"type": "string"}}}
    return {JSON: {"schema": schema_of(kind)}}


def _is_type(kind: object) -> bool:
    return kind is not None and not isinstance(kind, str)


def _answer(hint: Any) -> Any:
    if typing.get_origin(hint) is Response:
        return typing.get_args(hint)[0]
    return hint


def _query_name(name: str, hint: Any) -> str:
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, ParameterKwarg) and extra.query:
            return extra.query
    return name


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint


def _page(described: dict[str, Any]) -> bytes:
    rows = [
        f"<tr><td>{method.upper()}</td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(operation['summary'])}</td></tr>"
        for path, item in described["paths"].items()
        for method, operation in item.items()
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>modelseal</title>"
        "<style>body{font:16px sans-serif;margin:2em}td{padding:.2em .8em}</style>"
        "<h1>modelseal license server</h1><p>For programs: "
        "<a href='/schema/openapi.json'>openapi.json</a>.</p>"
        f"<table>{''.join(rows)}</table></html>"
    ).encode()
