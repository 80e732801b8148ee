"""Writes the tables of ``docs/spec/tokens.md`` from the code that they describe.

    python tools/make_token_tables.py          rewrite the page
    python tools/make_token_tables.py --check  fail when the page is out of date

Everything between ``<!-- table: NAME -->`` and ``<!-- end -->`` is generated; the rest is prose.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from modelseal.license import claims, lease, plans
from modelseal.license.decide import STEPS
from modelseal.license.facts import Action
from modelseal.license.lease import Phase, Word

PAGE = Path(__file__).resolve().parent.parent / "docs" / "spec" / "tokens.md"
_BLOCK = re.compile(r"(<!-- table: ([A-Za-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_TIME_MAX = 253402300799
_COUNT_MAX = 2**53 - 1


def tables() -> dict[str, str]:
    """Every generated table by its name."""
    found = {"steps": _steps(), "states": _states(), "denied": _denied()}
    for module in (claims, plans):
        for name, cls in vars(module).items():
            if isinstance(cls, type) and issubclass(cls, msgspec.Struct) and cls.__struct_fields__:
                found[name] = _members(cls)
    return found


def render(page: str) -> str:
    """``page`` with every table made anew; ``KeyError`` names a table that does not exist."""
    known = tables()
    return _BLOCK.sub(lambda m: f"{m[1]}\n{known[m[2]]}\n\n{m[3]}", page)


def _steps() -> str:
    rows = ["| step | code | asked | of |", "|---|---|---|---|"]
    for step in STEPS:
        actions = "all" if len(step.actions) == len(Action) else ", ".join(step.actions)
        code = step.code if step.code.startswith("(") else f"`{step.code}`"
        rows.append(f"| {step.number} | {code} | {step.question} | {actions} |")
    return "\n".join(rows)


def _states() -> str:
    rows = [f"| said last | {' | '.join(Phase)} |", "|---" * (len(Phase) + 1) + "|"]
    for word in Word:
        cells = " | ".join(lease.TABLE[word, phase].value for phase in Phase)
        rows.append(f"| {word} | {cells} |")
    return "\n".join(rows)


def _denied() -> str:
    rows = ["| code | state |", "|---|---|"]
    rows += [f"| `{code}` | {state} |" for code, state in lease.DENIED_STATES.items()]
    return "\n".join([*rows, "| every other | EXPIRED |"])


def _members(cls: type[msgspec.Struct]) -> str:
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    rows = ["| member | type | absent means |", "|---|---|---|"]
    for field in info.fields:
        absent = "refused" if field.required else _default(field)
        rows.append(f"| `{field.encode_name}` | {_type(field.type)} | {absent} |")
    return "\n".join(rows)


def _default(field: inspect.Field) -> str:
    value = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory() if callable(field.default_factory) else None
    if value is None:
        return "none"
    if isinstance(value, msgspec.Struct):
        return "its defaults"
    shown = msgspec.json.encode(value).decode()
    return f"`{shown}`"


def _inner(kind: Any) -> str:
    """A type inside another one: alternatives stand in parentheses."""
    shown = _type(kind)
    several = isinstance(kind, inspect.UnionType) and " or " in shown
    return f"({shown})" if several else shown


def _type(kind: Any) -> str:
    if isinstance(kind, inspect.StructType):
        return kind.cls.__name__
    if isinstance(kind, inspect.UnionType):
        return " or ".join(_type(part) for part in kind.types if not _is_none(part))
    if isinstance(kind, inspect.ListType):
        return f"list of {_inner(kind.item_type)}{_span(kind.min_length, kind.max_length)}"
    if isinstance(kind, inspect.DictType):
        spans = _span(kind.min_length, kind.max_length)
        return f"object of {_type(kind.key_type)} to {_inner(kind.value_type)}{spans}"
    if isinstance(kind, inspect.LiteralType):
        return " / ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, inspect.BoolType):
        return "boolean"
    if isinstance(kind, inspect.FloatType):
        return "number" + _range(kind)
    if isinstance(kind, inspect.IntType):
        return _integer(kind)
    if isinstance(kind, inspect.StrType):
        return _text(kind)
    if isinstance(kind, inspect.EnumType):
        return " / ".join(f"`{member.value}`" for member in kind.cls)
    simple = {inspect.DateTimeType: "time", inspect.BytesType: "base64", inspect.AnyType: "any"}
    if type(kind) in simple:
        return simple[type(kind)]
    raise TypeError(kind)


def _integer(kind: inspect.IntType) -> str:
    if (kind.ge, kind.le) == (0, _TIME_MAX):
        return "NumericDate"
    if (kind.ge, kind.le) == (0, _COUNT_MAX):
        return "count"
    return "integer" + _range(kind)


def _text(kind: inspect.StrType) -> str:
    if (kind.min_length, kind.max_length) == (43, 43):
        return "43 characters base64url"
    shown = (kind.pattern or "").replace("|", "\\|")
    pattern = f" like `{shown}`" if shown else ""
    return f"text{_span(kind.min_length, kind.max_length)}{pattern}"


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    low = f"above {kind.gt}" if kind.gt is not None else kind.ge
    if kind.le is None:
        return "" if low is None else f", from {low}"
    return "" if kind.ge is None and kind.gt is None else f", {low} to {kind.le}"


def _span(low: int | None, high: int | None) -> str:
    if low is None and high is None:
        return ""
    return f" ({low or 0} to {high})"


def _is_none(kind: Any) -> bool:
    return isinstance(kind, inspect.NoneType)


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
