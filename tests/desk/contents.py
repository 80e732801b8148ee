"""Sealing in one line, and what is in a sealed model."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from modelseal.desk import opening
from modelseal.desk.sealing import SealedFile, seal_paths
from modelseal.desk.workspace import Workspace

SWAP = ["face.swap"]


def seal(shop: Workspace, paths: Any, output: Any = None, **more: Any) -> SealedFile:
    more = {"entitlements": SWAP, **more}
    (made,) = seal_paths(shop, [paths] if isinstance(paths, Path) else paths, output, **more)
    return made


def contents(shop: Workspace, sealed: Path | str, now: datetime) -> dict[str, bytes]:
    """What is in a sealed model, opened with the desk's own keys."""
    with opening.opened(shop, Path(sealed)) as model:
        keys = opening.data_keys(shop, model, now)
        together = {
            record.model: shop.models.keys_of(record).together for record in shop.models.all()
        }
        secrets = {name: secret for name, secret in together.items() if secret is not None}
        found = {}
        for entry in model.open_index(keys.keys[0]):
            target = bytearray(entry.size_bytes)
            model.read_entry(entry, keys.keys, memoryview(target), together=secrets)
            found[entry.name] = bytes(target)
    return found


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_toml(folder: Path, text: str) -> Path:
    path = folder / "seal.toml"
    path.write_text(text)
    return path
