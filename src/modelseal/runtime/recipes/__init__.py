"""App recipes: data that tells the hook how one known program reads its models.

Normative: ``docs/spec/app-recipe.md``. ``decode`` and ``encode`` undo each other. A recipe is the
app's own file, so it can hand out little: see ``docs/threat-model.md``.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from modelseal.errors import RecipeInvalid
from modelseal.runtime.hook import RECIPE_FILE as FILE_NAME

__all__ = [
    "FILE_NAME", "MAX_BYTES", "Cache", "Check", "File", "Reader", "Recipe", "Verified",
    "decode", "encode", "is_of", "matches", "names",
]  # fmt: skip

TYP, VERSION = "modelseal-app-recipe", 1
MAX_BYTES = 256 * 1024
MAX_ENTRIES = 1000
MAX_INITIALIZERS = 16
MAX_NODE_NAMES = 64

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Said = Annotated[str, Meta(max_length=500)]
Pattern = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]
Module = Annotated[str, Meta(pattern=r"^[A-Za-z_*][A-Za-z0-9_.*<>-]{0,199}$")]
Patterns = Annotated[list[Pattern], Meta(min_length=1, max_length=MAX_ENTRIES)]
Entitlement = Annotated[str, Meta(max_length=200)]
Place = Annotated[int, Meta(ge=-(1 << 20), lt=1 << 20)]
Initializer = Annotated[str, Meta(min_length=1, max_length=500)] | Place


class Verified(Struct, forbid_unknown_fields=True, frozen=True):
    """A run that proved the recipe: plain and sealed gave the same."""

    program: Said
    at: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    how: Said = ""


class File(Struct, forbid_unknown_fields=True, frozen=True):
    """Model files, the right they are sealed under, and how: ``plain`` stays as it is."""

    files: Patterns
    entitlement: Entitlement = ""
    seal: Literal["sealed", "in-place", "plain"] = "sealed"
    readers: Annotated[list[Said], Meta(max_length=MAX_ENTRIES)] = []


class Reader(Struct, forbid_unknown_fields=True, frozen=True):
    """Code that reads a model a second time, and the parts of it that it gets; with ``session`` one
    of which it makes the model's session, with other shapes at its ends."""

    module: Module
    files: Patterns
    function: Module | None = None
    initializers: Annotated[list[Initializer], Meta(max_length=MAX_INITIALIZERS)] = []
    node_names: Annotated[int, Meta(ge=0, le=MAX_NODE_NAMES)] = 0
    session: bool = False


class Check(Struct, forbid_unknown_fields=True, frozen=True):
    """Code that compares files, or reads them itself (``content``): it finds the ``sealed`` one, or
    is answered by the ``plain``."""

    module: Module
    kind: Literal["crc32", "md5", "sha1", "sha256", "size", "digest", "content"]
    files: Patterns
    function: Module | None = None
    answer: Literal["sealed", "plain"] = "sealed"


class Cache(Struct, forbid_unknown_fields=True, frozen=True):
    """What the program would write of a model, and what becomes of it."""

    what: Said
    place: Said = ""
    answer: Literal["refused", "off", "encrypted"] = "refused"


class Recipe(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """One program. ``keep``: code of ``modules`` may not delete or overwrite the sealed ones
    among its files."""

    typ: Literal["modelseal-app-recipe"]
    version: Literal[1]
    name: Name
    title: Said
    source: Said = ""
    notes: Said = ""
    keep: bool = True
    modules: Annotated[list[Module], Meta(min_length=1, max_length=MAX_ENTRIES)] = msgspec.field(
        default_factory=lambda: ["*"]
    )
    verified: Annotated[list[Verified], Meta(max_length=MAX_ENTRIES)] = []
    file: Annotated[list[File], Meta(max_length=MAX_ENTRIES)] = []
    reader: Annotated[list[Reader], Meta(max_length=MAX_ENTRIES)] = []
    check: Annotated[list[Check], Meta(max_length=MAX_ENTRIES)] = []
    cache: Annotated[list[Cache], Meta(max_length=MAX_ENTRIES)] = []

    def named(self) -> Iterator[str]:
        """The patterns of the files that the recipe is about."""
        for patterns in (*(f.files for f in self.file), *(c.files for c in self.check)):
            yield from patterns


def decode(data: bytes, path: str | None = None) -> Recipe:
    """The recipe that ``data`` (TOML) holds; ``RecipeInvalid`` says what is wrong with it."""
    where = {} if path is None else {"path": path}
    if len(data) > MAX_BYTES:
        raise RecipeInvalid(f"longer than {MAX_BYTES} bytes", **where)
    try:
        return msgspec.convert(tomllib.loads(data.decode("utf-8")), Recipe, strict=True)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeInvalid(f"not TOML: {error}"[:200], **where) from None
    except msgspec.ValidationError as error:
        raise RecipeInvalid(str(error)[:200], **where) from None


def encode(recipe: Recipe) -> bytes:
    """``recipe`` as TOML."""
    told = msgspec.to_builtins(recipe)
    plain = [f"{key} = {_value(value)}" for key, value in told.items() if not _is_tables(value)]
    parts = ["\n".join(plain)]
    for key, value in told.items():
        for entry in value if _is_tables(value) else ():
            lines = [f"{k} = {_value(v)}" for k, v in entry.items() if v is not None]
            parts.append("\n".join([f"[[{key}]]", *lines]))
    return ("\n\n".join(parts) + "\n").encode()


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_value(each) for each in value)}]"
    if isinstance(value, str):  # a JSON text is a TOML one, but for this character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def matches(patterns: Sequence[str], path: str) -> bool:
    """Whether ``path`` (with ``/``) ends as one of ``patterns`` says; ``*`` stays in a folder."""
    return any(_compiled(pattern).fullmatch(path) for pattern in patterns)


def is_of(entry: Reader | Check, module: str, function: str) -> bool:
    """Whether ``function`` of ``module`` is the code that the entry means."""
    return names(entry.module, module) and (
        entry.function is None or names(entry.function, function)
    )


def names(pattern: str, dotted: str) -> bool:
    """Whether ``pattern`` means the module or function ``dotted``; ``*`` stands for anything."""
    return bool(_names(pattern).fullmatch(dotted))


_patterns: dict[str, re.Pattern[str]] = {}


def _compiled(pattern: str) -> re.Pattern[str]:
    found = _patterns.get(pattern)
    if found is None:
        from modelseal.runtime.policy import compiled

        found = _patterns[pattern] = compiled(f"**/{pattern.lstrip('/')}")
    return found


def _names(pattern: str) -> re.Pattern[str]:
    found = _patterns.get(f"\0{pattern}")
    if found is None:
        text = ".*".join(re.escape(part) for part in pattern.split("*"))
        found = _patterns[f"\0{pattern}"] = re.compile(text)
    return found
