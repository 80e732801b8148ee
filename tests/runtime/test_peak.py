"""What a load needs in memory beyond what it gives: next to nothing."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
import safetensors.numpy
import torch
from tests.runtime.shop import Shop

ROOT = Path(__file__).resolve().parents[2]
SIZE = 64 << 20
PROGRAM = """\
import sys
from pathlib import Path
import numpy, torch, modelseal.openvino, modelseal.safetensors, modelseal.torch
from tests.runtime.shop import use_from_environment
use_from_environment()
small, large, kind = sys.argv[1:]
def load(path):
    if kind == "torch.load":
        return modelseal.torch.load(path)
    if kind == "openvino":
        return modelseal.openvino.Core().read_model(path)
    return modelseal.safetensors.load_file(path, framework=kind)
def resident(field):
    told = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in told if line.startswith(field))
load(small)  # modules, keys, the first arena
Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
before = resident("VmRSS")
kept = load(large)
print(resident("VmHWM") - before)
"""


def arrays(size: int) -> dict[str, np.ndarray]:
    return {f"t{n}": np.ones(size // 16, dtype=np.float32) for n in range(4)}


def saved_by_torch(size: int) -> bytes:
    made = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in arrays(size).items()}, made)
    return made.getvalue()


def saved_by_openvino(size: int, folder: Path) -> dict[str, bytes]:
    rows = openvino.opset13.parameter([1, 64], np.float32)
    weights = np.ones((64, size // 256), dtype=np.float32)
    product = openvino.opset13.matmul(rows, openvino.opset13.constant(weights), False, False)
    made = openvino.Model([product], [rows], "m")
    openvino.serialize(made, str(folder / "m.xml"), str(folder / "m.bin"))
    return {name: (folder / name).read_bytes() for name in ("m.xml", "m.bin")}


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc/self/clear_refs")
@pytest.mark.parametrize("kind", ["numpy", "pt", "torch.load", "openvino"])
def test_a_load_needs_the_plaintext_and_no_more(shop: Shop, tmp_path: Path, kind: str) -> None:
    """At most 1.02 times the plaintext and 8 MiB, above what the process had before."""

    def saved(size: int) -> bytes | dict[str, bytes]:
        if kind == "openvino":
            return saved_by_openvino(size, tmp_path)
        return (
            saved_by_torch(size) if kind == "torch.load" else safetensors.numpy.save(arrays(size))
        )

    ending = {"torch.load": "pt", "openvino": "sealed"}.get(kind, "safetensors")
    small, _ = shop.seal(f"small.{ending}", saved(1 << 20))
    large, _ = shop.seal(f"large.{ending}", saved(SIZE), chunk_bytes=262144)
    env = {**os.environ, "SHOP": str(shop.folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, str(small), str(large), kind]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert SIZE * 0.9 <= int(done.stdout) <= SIZE * 1.02 + (8 << 20)
