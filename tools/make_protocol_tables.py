"""Writes the tables of ``docs/spec/protocol.md`` from the code that they describe.

    python tools/make_protocol_tables.py          rewrite the page
    python tools/make_protocol_tables.py --check  fail when the page is out of date

Everything between ``<!-- table: NAME -->`` and ``<!-- end -->`` is generated; the rest is prose.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from msgspec import inspect

sys.path.insert(0, str(Path(__file__).resolve().parent))

import make_token_tables as token_tables
from modelseal import admin, errors, strict_json
from modelseal.license.decide import STEPS
from modelseal.license.facts import Action
from modelseal.license.license_key import KeyBinding
from modelseal.server.app import PUBLISHER_CALLS
from modelseal.server.http import (
    admin_catalog,
    admin_licenses,
    delegated,
    device,
    files,
    openapi,
    problems,
    signin,
    wellknown,
)
from modelseal.server.services import (
    about,
    activation,
    attesting,
    booking,
    delegating,
    limits,
    log,
    lookup,
    proving,
    releasing,
    renewal,
    returning,
)
from modelseal.server.services.actors import RIGHTS, Right

PAGE = Path(__file__).resolve().parent.parent / "docs" / "spec" / "protocol.md"
_BLOCK = re.compile(r"(<!-- table: ([A-Za-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
SOURCE = Path(errors.__file__).parent
_ROOMS = ("server", "license", "container", "trust", "crypto", "admin", "keys", "audit")
_DEVICE = ("/v1/devices", "/v1/relays", "/v1/leases", "/v1/licenses", "/v1/trials")
_MODULES = (activation, renewal, returning, releasing, attesting, delegating, booking, lookup,
            proving, log, about, problems, admin, admin_licenses, admin_catalog, files,
            signin)  # fmt: skip
VECTORS = PAGE.parent.parent.parent / "vectors" / "protocol"
_LONG = 64
_LIMITS = (
    limits.NETWORK, limits.ACTIVATION, limits.KEY, limits.LICENSE, limits.GUESSING, limits.RENEWAL,
    limits.RELEASE, limits.PUBLIC,
)  # fmt: skip


def table(name: str) -> str:
    """The generated table of that name; ``KeyError`` for one that does not exist."""
    if name.startswith("calls-"):
        return _calls(document(), name.removeprefix("calls-"))
    made = {"statuses": _statuses, "roles": _roles, "limits": _limits, "example": _example}
    return made[name]() if name in made else _members(structs()[name])


def structs() -> dict[str, type[msgspec.Struct]]:
    """What is asked and answered in JSON, by name."""
    return {
        name: cls
        for module in _MODULES
        for name, cls in vars(module).items()
        if isinstance(cls, type) and issubclass(cls, msgspec.Struct) and cls.__struct_fields__
    }


def render(page: str) -> str:
    """``page`` with every table made anew."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{table(m[2])}\n\n{m[3]}", page)


def document() -> dict[str, Any]:
    """The OpenAPI document, which needs the handlers and no server behind them."""
    nobody: Any = SimpleNamespace(devices=None)
    public = [*device.routes(nobody), *delegated.routes(nobody), *files.routes(nobody),
              *wellknown.routes(nobody), *signin.routes(nobody)]  # fmt: skip
    handlers = [*public, *PUBLISHER_CALLS]
    return openapi.document([*handlers, *openapi.routes(handlers)])


def _calls(described: dict[str, Any], kind: str) -> str:
    rows = ["| call | body | answer | |", "|---|---|---|---|"]
    for path, item in described["paths"].items():
        if _kind(path) != kind:
            continue
        for method, operation in item.items():
            body = _content(operation.get("requestBody", {}))
            answers = {s: r for s, r in operation["responses"].items() if s.startswith("2")}
            status = min(answers)
            answer = " ".join(filter(None, [status, _content(answers[status])]))
            summary = operation["summary"].replace("``", "`")
            rows.append(f"| `{method.upper()} {path}` | {body} | {answer} | {summary} |")
    return "\n".join(rows)


def _kind(path: str) -> str:
    if path.startswith(openapi.ADMIN):
        return "admin"
    return "device" if path.startswith(_DEVICE) else "public"


def _content(told: dict[str, Any]) -> str:
    for media_type, found in told.get("content", {}).items():
        ref = found.get("schema", {}).get("$ref")
        if ref is None:
            return f"`{media_type}`"
        name = str(ref).rpartition("/")[2]
        page = re.fullmatch(r"Page_(\w+)_", name)
        return f"page of {page[1]}" if page else name
    return ""


def _statuses() -> str:
    by_status: dict[int, list[str]] = {}
    known, decided = _named_in_rooms(), {s.code for s in STEPS if set(s.actions) != {Action.LOAD}}
    for cls in _tree(errors.ModelsealError):
        if cls.__name__ not in known and cls.code not in decided:
            continue
        by_status.setdefault(problems.status_of(cls("")), []).append(cls.code)
    rows = ["| status | codes |", "|---|---|"]
    for status, codes in sorted(by_status.items()):
        rows.append(f"| {status} | {' '.join(f'`{code}`' for code in codes)} |")
    return "\n".join(rows)


def _named_in_rooms() -> set[str]:
    """Every name in the rooms a server is made of: what it can raise is among them."""
    found: set[str] = set()
    for room in _ROOMS:
        for path in (SOURCE / room).rglob("*.py"):
            found |= set(re.findall(r"\b[A-Z]\w+\b", path.read_text("utf-8")))
    return found


def _tree(cls: type[errors.ModelsealError]) -> Iterator[type[errors.ModelsealError]]:
    """The classes of ``modelseal.errors``; others derive from them and are translated."""
    if cls.__module__ == errors.__name__:
        yield cls
    for below in cls.__subclasses__():
        yield from _tree(below)


def _roles() -> str:
    rights = list(Right)
    rows = [f"| role | {' | '.join(rights)} |", "|---" * (len(rights) + 1) + "|"]
    for role, held in RIGHTS.items():
        cells = " | ".join("yes" if right in held else "" for right in rights)
        rows.append(f"| `{role.value}` | {cells} |")
    return "\n".join(rows)


def _limits() -> str:
    rows = ["| limit | at once | then per second |", "|---|---|---|"]
    rows += [f"| `{one.name}` | {one.burst} | {one.per_second:g} |" for one in _LIMITS]
    return "\n".join(rows)


def _members(cls: type[msgspec.Struct]) -> str:
    """What is asked as ``docs/spec/tokens.md`` shows it; what is answered with when it is there."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    if info.forbid_unknown_fields:
        return token_tables._members(cls)
    rows = ["| member | type | |", "|---|---|---|"]
    for field in info.fields:
        sometimes = cls.__struct_config__.omit_defaults and not field.required
        kind, null = token_tables._type(field.type), _or_null(field.type)
        note = "absent when there is none" if sometimes else ("or null" if null else "")
        rows.append(f"| `{field.encode_name}` | {kind} | {note} |")
    return "\n".join(rows)


def _example() -> str:
    """Activation and renewal out of the vectors, long texts cut."""
    exchange = json.loads((VECTORS / "exchange.json").read_text("utf-8"))
    steps = {step["name"]: step for step in exchange["steps"]}
    return "\n".join(["```", *_shown(steps["activate"]), "", *_shown(steps["renew"]), "```"])


def _shown(step: dict[str, Any]) -> Iterator[str]:
    request, answer, claims = step["request"], step["answer"], step["claims"]
    yield f"{request['method']} {request['path']}"
    yield from (f"{name}: {value}" for name, value in request["headers"].items())
    yield ""
    yield _cut(request["body"])
    yield f"  header    {_decoded(request['body'])}"
    yield f"  claims    {_json(claims)}"
    if "license_key" in claims:
        binding = KeyBinding(claims["aud"], claims["product"], claims["iss"], claims["nonce"])
        yield f"  info of license_key.ct  {binding.info().hex()}"
    yield ""
    yield f"{answer['status']} {answer['headers']['content-type']}"
    yield ""
    yield _json(json.loads(answer["body"]))
    for name, found in sorted(step["tokens"].items()):
        yield f"  {name:<9} {_json(found)}"
    yield f"  info of keys[0].ct  {step['info']}"
    for file_id, section, key in step["keys"]:
        yield f"  data key of section {section} of {file_id[:16]}…  {key}"


def _decoded(token: str) -> str:
    return strict_json.unb64u(token.partition(".")[0]).decode()


def _json(value: Any) -> str:
    """Canonical JSON with every long text cut."""

    def shown(item: Any) -> Any:
        if isinstance(item, dict):
            return {name: shown(below) for name, below in item.items()}
        if isinstance(item, list):
            return [shown(below) for below in item]
        return _cut(item) if isinstance(item, str) else item

    return strict_json.encode(shown(value)).decode()


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:24]}…({len(text)})"


def _or_null(kind: Any) -> bool:
    return isinstance(kind, inspect.UnionType) and any(map(token_tables._is_none, kind.types))


def main() -> int:
    """Rewrites the page, or with ``--check`` says whether it is right."""
    page = PAGE.read_text("utf-8")
    made = render(page)
    if "--check" in sys.argv:
        return int(made != page)
    PAGE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
