"""``seal.toml``: file by file, what a license must grant.

[[file]]
path = "encoder.onnx"             # a file or a folder, relative to seal.toml
entitlement = "face.swap"         # a+b both; a list = either
model = "face"                    # default: the file's stem; same id = one sealed model
model_version = "2.1"             # optional, for people
min_level = "L2"                  # optional
memory = "locked"                 # optional: none, locked, secret
together_with = ["safety.sealed"] # optional: opens only where these do, too
optimise = true                   # optional: ONNX models also optimised for machines like this one
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from modelseal.errors import ConfigInvalid
from modelseal.keys import files
from modelseal.types import Level, MemoryProtection

MAX_BYTES = 1024 * 1024


class Entry(msgspec.Struct, frozen=True):
    """One ``[[file]]``."""

    path: str
    entitlement: tuple[str, ...] = ()
    model: str | None = None
    model_version: str = ""
    min_level: Level = Level.L0
    memory: MemoryProtection = MemoryProtection.LOCKED
    together_with: tuple[str, ...] = ()
    optimise: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str
    entitlement: str | list[str] = []
    model: str | None = None
    model_version: str = ""
    min_level: str = "L0"
    memory: str = "locked"
    together_with: str | list[str] = []
    optimise: bool = False


class _Seal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    file: list[_File]


def read(path: Path) -> list[Entry]:
    """The entries of the ``seal.toml`` at ``path``; ``ConfigInvalid`` when it is odd or empty."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise files.translated(error, path) from None
    if len(data) > MAX_BYTES:
        raise ConfigInvalid("longer than 1 MiB", path=str(path))
    try:
        found = msgspec.convert(tomllib.loads(data.decode("utf-8")), _Seal, strict=True)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigInvalid(str(error)[:200], path=str(path)) from None
    if not found.file:
        raise ConfigInvalid("no [[file]] in it", path=str(path))
    return [_entry(item, path) for item in found.file]


def _entry(item: _File, path: Path) -> Entry:
    if item.min_level not in Level.__members__:
        raise ConfigInvalid("min_level is L0 to L5", path=str(path))
    if item.memory not in set(MemoryProtection):
        raise ConfigInvalid("memory is none, locked or secret", path=str(path))
    if not item.path or "\x00" in item.path:
        raise ConfigInvalid("path is empty", path=str(path))
    return Entry(
        path=item.path,
        entitlement=_texts(item.entitlement),
        model=item.model,
        model_version=item.model_version,
        min_level=Level[item.min_level],
        memory=MemoryProtection(item.memory),
        together_with=_texts(item.together_with),
        optimise=item.optimise,
    )


def _texts(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
