"""The OpenAPI document as a page for people: every call with its types, an example and a command.

Made from the document alone, so that it says what programs read. One file without scripts, which
loads nothing; calls are folded by HTML itself.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from modelseal.server.http.page_examples import Examples
from modelseal.server.http.page_style import STYLE

ADMIN = "/v1/admin/"
JSON = "application/json"
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Devices",
        "Bodies are requests that the device signed (`request+jwt`); answers are signed too.",
        ("/v1/devices", "/v1/leases", "/v1/licenses", "/v1/trials", "/v1/bundles"),
    ),
    (
        "Catalog and sealed models",
        "Public and cacheable: TUF metadata, blobs by digest, revocation.",
        ("/v1/catalog", "/v1/blobs", "/v1/status-lists"),
    ),
    ("Audit log", "Checkpoints and hash tiles of the transparency log.", ("/v1/log",)),
    (
        "Signing in",
        "People get a token by an ID token of the configured provider.",
        ("/v1/sign-in", ADMIN + "session"),
    ),
    ("Plans", "The terms that licenses are issued under, by version.", (ADMIN + "plans",)),
    (
        "Licenses",
        "Issue, change, renew, suspend, revoke; and why a decision was made.",
        (ADMIN + "licenses", ADMIN + "explanations"),
    ),
    (
        "Activated devices",
        "Devices as the publisher sees them, and those without a network.",
        (ADMIN + "devices", ADMIN + "leases"),
    ),
    ("Customers", "What is stored about a person, exported or erased.", (ADMIN + "customers",)),
    (
        "Publishing",
        "Sealed models and the catalog that lists them.",
        (ADMIN + "blobs", ADMIN + "models", ADMIN + "catalog", ADMIN + "products"),
    ),
    (
        "Trust and keys",
        "The signed trust in force, and the server's own keys.",
        (ADMIN + "trust", ADMIN + "keys", ADMIN + "kek"),
    ),
    ("Events", "The audit log for the publisher.", (ADMIN + "events", ADMIN + "checkpoint")),
    ("Tokens", "Who may make admin calls.", (ADMIN + "tokens",)),
    ("Webhooks", "Who is told what happens.", (ADMIN + "webhooks",)),
    (
        "Relays",
        "What relays in closed networks report, and what they gave by themselves.",
        (ADMIN + "relays", ADMIN + "budgets", "/v1/relays"),
    ),
    ("The server itself", "Who it is, whether it is well, this document.", ("/",)),
)
"""Title, a sentence, and the beginnings of paths; the first group that fits has the call."""
_WORDS = re.compile(r"``(.+?)``|`(.+?)`", re.DOTALL)
_PAGE = re.compile(r"Page_(\w+)_")


def group_of(path: str) -> str:
    """The title of the group that a call belongs to."""
    return next(
        title
        for title, _about, starts in GROUPS
        if any(path == start or re.match(re.escape(start) + r"(\W|$)|/$", path) for start in starts)
        or starts == ("/",)
    )


def page(document: Mapping[str, Any]) -> bytes:
    """The page of ``document``."""
    return _Page(document).html().encode()


class _Page:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._schemas: dict[str, Any] = document["components"]["schemas"]
        self._examples = Examples(self._schemas)
        self._groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
        for path, item in document["paths"].items():
            for method, operation in item.items():
                call = (method, path, operation)
                self._groups.setdefault(operation["tags"][0], []).append(call)

    def html(self) -> str:
        info = self._document["info"]
        title = escape(f"{info['title']} {info['version']}")
        return "".join([
            "<!doctype html><html lang=en><meta charset=utf-8>",
            "<meta name=viewport content='width=device-width,initial-scale=1'>",
            f"<title>{title}</title><style>{STYLE}</style>",
            f"<body><nav><details open><summary>{title}</summary>{self._menu()}</details></nav>",
            f"<main><h1>{title}</h1>{_introduction()}",
            *(self._group(title, about) for title, about, _starts in GROUPS),
            "<section id=schemas><h2>Schemas</h2>",
            *(self._schema(name, schema) for name, schema in sorted(self._schemas.items())),
            "</section></main></html>",
        ])  # fmt: skip

    def _menu(self) -> str:
        links = [f"<a href='#{_anchor(title)}'>{escape(title)}</a>" for title in self._shown()]
        return "".join([*links, "<a href='#schemas'>Schemas</a>"])

    def _shown(self) -> list[str]:
        return [title for title, _about, _starts in GROUPS if title in self._groups]

    def _group(self, title: str, about: str) -> str:
        calls = self._groups.get(title)
        if not calls:
            return ""
        made = "".join(self._call(*call) for call in calls)
        head = f"<h2>{escape(title)}</h2><p>{_prose(about)}</p>"
        return f"<section id='{_anchor(title)}'>{head}{made}</section>"

    def _call(self, method: str, path: str, operation: dict[str, Any]) -> str:
        name, lock = operation["operationId"], "security" in operation
        shown = re.sub(r"(\{\w+\})", r"<i>\1</i>", escape(path))
        return "".join([
            f"<details class=call id='{name}'><summary><b class={method}>{method.upper()}</b> ",
            f"<code>{shown}</code><span>{_prose(operation['summary'])}</span></summary><div>",
            "<p class=need>Needs an admin token.</p>" if lock else "",
            self._parameters(operation["parameters"]),
            self._body(operation),
            *self._answers(operation),
            f"<h4>With curl</h4><pre>{escape(self._curl(method, path, operation))}</pre>",
            f"<p class=id><a href='#{name}'>{name}</a></p></div></details>",
        ])  # fmt: skip

    def _parameters(self, told: list[dict[str, Any]]) -> str:
        rows = [
            (f"<code>{escape(one['name'])}</code>", one["in"], self._type(one["schema"]),
             _prose(one.get("description", "")))
            for one in told
        ]  # fmt: skip
        return f"<h4>Parameters</h4>{_table(rows)}" if rows else ""

    def _body(self, operation: dict[str, Any]) -> str:
        if "requestBody" not in operation:
            return ""
        [(media, told)] = operation["requestBody"]["content"].items()
        return f"<h4>Body</h4>{self._content(media, told, asked=True)}"

    def _answers(self, operation: dict[str, Any]) -> Iterator[str]:
        yield "<h4>Answers</h4>"
        for status, told in operation["responses"].items():
            if "$ref" in told:
                continue
            about = told["description"]
            said = "" if about == "The answer." else f" {_prose(about)}"
            yield f"<p><b>{status}</b>{said}</p>"
            if status in ("200", "201"):
                for media, content in told.get("content", {}).items():
                    yield self._content(media, content, asked=False)
        named = [each for each, told in operation["responses"].items() if each.isdecimal()
                 and "$ref" in told]  # fmt: skip
        which = f"<b>{', '.join(named)}</b> and all else" if named else "<b>else</b>"
        yield f"<p>{which} a <a href='#schema-Problem'>problem</a></p>"

    def _content(self, media: str, told: dict[str, Any], *, asked: bool) -> str:
        if media != JSON:
            return f"<p><code>{escape(media)}</code></p>"
        value = self._examples.of(told["schema"], asked=asked)
        text = json.dumps(value, indent=2, ensure_ascii=False)
        return f"<p>{self._type(told['schema'])}</p><pre>{escape(text)}</pre>"

    def _curl(self, method: str, path: str, operation: dict[str, Any]) -> str:
        places = {one["name"]: one for one in operation["parameters"] if one["in"] == "path"}
        address = re.sub(
            r"\{(\w+)\}", lambda found: str(self._examples.place(found[1], places[found[1]])), path
        )
        verb = {"get": "", "head": "-I "}.get(method, f"-X {method.upper()} ")
        lines = [f'curl --cacert ca.pem {verb}"$SERVER{address}"']
        if "security" in operation:
            lines.append('-H "Authorization: Bearer $MODELSEAL_TOKEN"')
        if any(one["name"] == "Idempotency-Key" for one in operation["parameters"]):
            lines.append('-H "Idempotency-Key: $(uuidgen)"')
        for media, told in operation.get("requestBody", {}).get("content", {}).items():
            lines.append(f'-H "Content-Type: {media}"')
            if media == JSON:
                value = self._examples.of(told["schema"], asked=True)
                lines.append("-d " + _quoted(json.dumps(value, ensure_ascii=False)))
            else:
                file = "request.jwt" if media == "application/jwt" else "model.sealed"
                lines.append(f"--data-binary @{file}")
        return " \\\n  ".join(lines)

    def _schema(self, name: str, schema: dict[str, Any]) -> str:
        head = f"<h3>{escape(_title(name))}</h3>"
        about = _prose(inspect.cleandoc(schema.get("description", "")))
        required = schema.get("required", [])
        rows = [
            (f"<code>{escape(member)}</code>", self._type(told), _absent(member in required, told))
            for member, told in schema.get("properties", {}).items()
        ]
        body = _table(rows) if rows else f"<p>{self._type({**schema, 'description': ''})}</p>"
        return f"<article id='schema-{name}'>{head}<p>{about}</p>{body}</article>"

    def _type(self, schema: dict[str, Any]) -> str:
        """What a value may be, in words, with links to what has a name."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return f"<a href='#schema-{name}'>{escape(_title(name))}</a>"
        if "anyOf" in schema:
            return " or ".join(self._type(each) for each in schema["anyOf"])
        if "enum" in schema:
            return " / ".join(f"<code>{escape(str(each))}</code>" for each in schema["enum"])
        kind = schema.get("type", "any value")
        if kind == "array":
            return f"list of {self._type(schema['items'])}{_range(schema, 'Items')}"
        if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
            return f"object of {self._type(schema['additionalProperties'])}"
        if kind == "string":
            return _text_type(schema)
        return escape(str(kind)) + _range(schema, "imum")


def _text_type(schema: dict[str, Any]) -> str:
    said = {"date-time": "time (RFC 3339)"}.get(schema.get("format", ""), "text")
    if "contentEncoding" in schema:
        said = escape(schema["contentEncoding"])
    pattern = f" like <code>{escape(schema['pattern'])}</code>" if "pattern" in schema else ""
    return said + _range(schema, "Length") + pattern


def _range(schema: dict[str, Any], of: str) -> str:
    least, most = schema.get(f"min{of}"), schema.get(f"max{of}")
    if least is None and most is None:
        return ""
    if least == most:
        return f", {least}"
    if most is None:
        return f", from {least}"
    return f", up to {most}" if least is None else f", {least} to {most}"


def _absent(required: bool, schema: dict[str, Any]) -> str:
    if required:
        return "required"
    default = schema.get("default")
    return "optional" if default is None else f"else <code>{escape(json.dumps(default))}</code>"


def _table(rows: Sequence[Sequence[str]]) -> str:
    made = ("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table>{''.join(made)}</table></div>"


def _prose(text: str) -> str:
    """A docstring's words: paragraphs, and code between backquotes."""
    parts = _WORDS.sub(lambda found: f"<code>{found[1] or found[2]}</code>", escape(text))
    return parts.replace("\n\n", "</p><p>")


def _title(name: str) -> str:
    found = _PAGE.fullmatch(name)
    return f"page of {found[1]}" if found else name


def _anchor(title: str) -> str:
    return "group-" + re.sub(r"\W+", "-", title.lower())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _introduction() -> str:
    points = "".join(f"<li>{_prose(point)}</li>" for point in _POINTS)
    problem = "<a href='#schema-Problem'>problem</a> (RFC 9457)"
    return (
        "<p>For programs: <a href='/schema/openapi.json'>openapi.json</a> (OpenAPI 3.1). What it "
        f"means is told in <code>docs/spec/protocol.md</code>.</p><ul>{points}"
        f"<li>Whatever goes wrong is a {problem} with a stable <code>code</code>. Only a member "
        "<code>denial</code> denies; 429 and 503 say in <code>Retry-After</code> when to come "
        "back.</li></ul>"
    )


_POINTS = (
    "In the commands, `$SERVER` is this server's address, and `ca.pem` holds the member `tls_ca` "
    "of the publisher's `trust.json`; with a certificate that everybody trusts, leave `--cacert` "
    "out.",
    "Admin calls take `Authorization: Bearer` and a token; `modelseal server token create --role "
    "owner` makes the first one on the host.",
    "Lists come in pages: give `next_cursor` back as `cursor` until it is null.",
    "`Idempotency-Key` makes the same call twice one act with one answer, for 24 hours.",
    "`If-Match` with an `ETag` that was read changes that state or nothing (409).",
    "Times are RFC 3339 in UTC, durations are seconds, bytes are base64.",
)
__all__ = ["GROUPS", "group_of", "page"]
