"""What to seal: files, folders and ``seal.toml``, gathered into bundles of one sealed model each.

A file is one model, a folder is one model with all its files, several inputs are several models
unless a model id joins them. ``seal.toml`` says it file by file; files of one model id are one
sealed model, with a section for every distinct demand.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelseal import container
from modelseal.desk import sealfile
from modelseal.errors import InputMissing, Misuse, SourceNotSealable
from modelseal.keys import files
from modelseal.types import EntitlementExpression, Level, MemoryProtection

SEAL_TOML = "seal.toml"
ONNX_ENDING = ".onnx"
LEFT_OUT = frozenset({".git", ".DS_Store", "Thumbs.db", "desktop.ini"})
MAX_FILES = 100_000
MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Demand:
    """What a license must grant, and under which protection: equal demands share a section."""

    entitlement: EntitlementExpression
    min_level: Level = Level.L0
    memory: MemoryProtection = MemoryProtection.LOCKED
    together_with: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a model under its name in the sealed model.

    With ``optimise``, which only ONNX models have, its optimised form is sealed beside it.
    """

    path: Path
    name: str
    demand: Demand
    optimise: bool = False


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files of one sealed model; ``name`` is what ``pull`` calls it."""

    model: str
    model_version: str
    items: tuple[Item, ...] = field(default=())

    @property
    def name(self) -> str:
        """The file's own name when there is one, else the model id with ``.sealed``."""
        if len(self.items) == 1 and "/" not in self.items[0].name:
            return self.items[0].name
        return f"{self.model}.sealed"


def gather(
    inputs: Sequence[Path],
    demand: Demand | None,
    *,
    model: str | None,
    model_version: str,
    optimise: bool = False,
) -> list[Bundle]:
    """The bundles of ``inputs``; ``demand`` is for everything that no ``seal.toml`` describes.

    With ``optimise`` every ONNX model is optimised, too. Raises ``Misuse`` without inputs, without
    a demand, or when two bundles have one model id; ``InputMissing`` and ``SourceNotSealable`` for
    what cannot be read as regular files.
    """
    if not inputs:
        raise Misuse("name at least one file or folder to seal")
    bundles: list[Bundle] = []
    for path in inputs:
        if path.name == SEAL_TOML:
            bundles += _from_toml(path, demand, model_version)
        else:
            bundles.append(_from_path(path, demand, model, model_version))
    if optimise:
        bundles = [_optimised(bundle) for bundle in bundles]
    if model is not None:
        return [_joined(bundles, model)]
    ids = [bundle.model for bundle in bundles]
    for double in sorted({one for one in ids if ids.count(one) > 1}):
        raise Misuse(f"two inputs would be the model {double}: name one with --model, or join them")
    return bundles


def _from_path(path: Path, demand: Demand | None, model: str | None, model_version: str) -> Bundle:
    if demand is None:
        raise Misuse("name at least one entitlement")
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - a link keeps its own name
    if _kind(path) == "folder":
        if (path / SEAL_TOML).exists():
            raise Misuse(f"the folder has a {SEAL_TOML}: name that file instead of the folder")
        items = tuple(Item(p, name, demand) for p, name in _walk(path))
        return Bundle(model or absolute.name, model_version, items)
    return Bundle(model or absolute.stem, model_version, (Item(path, absolute.name, demand),))


def _from_toml(path: Path, demand: Demand | None, model_version: str) -> list[Bundle]:
    grouped: dict[str, Bundle] = {}
    for entry in sealfile.read(path):
        own = Demand(
            entitlement=_expression(entry.entitlement, demand),
            min_level=entry.min_level,
            memory=entry.memory,
            together_with=tuple(path.parent / other for other in entry.together_with),
        )
        where = path.parent / entry.path
        found = _from_path(where, own, entry.model, entry.model_version or model_version)
        if entry.model is not None:
            found = _renamed(found, entry.path, _kind(where) == "folder")
        if entry.optimise:
            found = _optimised(found)
        before = grouped.get(found.model)
        if before is not None:
            version = before.model_version or found.model_version
            found = replace(found, model_version=version, items=before.items + found.items)
        grouped[found.model] = found
    return [_single(bundle) for bundle in grouped.values()]


def _optimised(bundle: Bundle) -> Bundle:
    """The same with every ONNX model in it optimised, too; ``Misuse`` when there is none."""
    items = [replace(i, optimise=i.name.lower().endswith(ONNX_ENDING)) for i in bundle.items]
    if not any(item.optimise for item in items):
        raise Misuse(f"{bundle.model} holds no ONNX model ({ONNX_ENDING}) that could be optimised")
    return replace(bundle, items=tuple(items))


def _renamed(bundle: Bundle, path: str, is_folder: bool) -> Bundle:
    """Files of a model of several inputs keep the path that ``seal.toml`` gives them."""
    base = Path(path).as_posix().removeprefix("./").rstrip("/")
    if base.startswith("/") or ".." in base.split("/"):
        base = Path(path).name
    if base in ("", "."):
        return bundle
    names = [f"{base}/{item.name}" if is_folder else base for item in bundle.items]
    items = tuple(replace(i, name=n) for i, n in zip(bundle.items, names, strict=True))
    return replace(bundle, items=items)


def _single(bundle: Bundle) -> Bundle:
    """A model of one file keeps the file's own name, without folders."""
    if len(bundle.items) != 1:
        return bundle
    item = bundle.items[0]
    return replace(bundle, items=(replace(item, name=item.name.rpartition("/")[2]),))


def _joined(bundles: Iterable[Bundle], model: str) -> Bundle:
    found = list(bundles)
    items = tuple(item for bundle in found for item in bundle.items)
    return Bundle(model, found[0].model_version, items)


def _expression(texts: Sequence[str], demand: Demand | None) -> EntitlementExpression:
    if texts:
        return EntitlementExpression.parse(tuple(texts))
    if demand is None:
        raise Misuse("a file in seal.toml has no entitlement and none was given beside it")
    return demand.entitlement


def _kind(path: Path) -> str:
    try:
        found = path.stat()
    except OSError as error:
        raise files.translated(error, path) from None
    if stat.S_ISDIR(found.st_mode):
        return "folder"
    if not stat.S_ISREG(found.st_mode):
        raise SourceNotSealable("only regular files and folders are sealed", path=str(path))
    return "file"


def _walk(folder: Path) -> list[tuple[Path, str]]:
    """Every regular file below ``folder`` with its name relative to it, in name order."""
    root = Path(os.path.realpath(folder))
    found: list[tuple[Path, str]] = []
    pending = [(folder, "")]
    while pending:
        current, prefix = pending.pop()
        try:
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError as error:
            raise files.translated(error, current) from None
        for entry in entries:
            if entry.name in LEFT_OUT:
                continue
            path, name = Path(entry.path), prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if name.count("/") >= MAX_DEPTH:
                    raise SourceNotSealable("folders are nested too deep", path=str(path))
                pending.append((path, f"{name}/"))
            else:
                _check_inside(path, root)
                found.append((path, name))
        if len(found) > MAX_FILES:
            raise SourceNotSealable("too many files for one sealed model", path=str(folder))
    if not found:
        raise SourceNotSealable("the folder holds no files", path=str(folder))
    return sorted(found, key=lambda pair: pair[1])


def _check_inside(path: Path, root: Path) -> None:
    """A link may name another file of the folder, nothing outside, and no folder."""
    real = Path(os.path.realpath(path))
    if root not in real.parents:
        raise SourceNotSealable("a link leads out of the folder", path=str(path))
    try:
        kind = _kind(real)
    except InputMissing:
        raise SourceNotSealable("a link leads nowhere", path=str(path)) from None
    if kind != "file":
        raise SourceNotSealable("a link to a folder is not followed", path=str(path))


def check_not_sealed(source: container.Source, path: Path) -> None:
    """``SourceNotSealable`` when the source is a sealed model already."""
    start = bytearray(min(source.size_bytes, container.PROLOGUE_BYTES))
    source.read_into(0, memoryview(start))
    if container.is_sealed(bytes(start)):
        raise SourceNotSealable("the file is a sealed model already", path=str(path))
