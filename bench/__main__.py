"""``python -m bench``: measures, writes ``bench-out/bench.json`` and the table of
``docs/performance.md``.

``--quick`` ends in two minutes and leaves the page alone; ``--large`` adds files of 2 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import cases, make, shop, table

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "bench-out"
PAGE = ROOT / "docs" / "performance.md"
EXAMPLE = ROOT / ".cache" / "face-fusion" / "models"


def main() -> int:
    """Measures what the options ask for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small files, few rounds")
    parser.add_argument("--large", action="store_true", help="also files of 2 GB")
    parser.add_argument("--rounds", type=int, default=0, help="rounds that count (default 7)")
    options = parser.parse_args()
    began = time.monotonic()
    OUT.mkdir(exist_ok=True)
    found: dict[str, Any] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="modelseal-bench-") as scratch:
            measure(Path(scratch), options, found)
    finally:  # what was measured before an interruption is not lost
        found["took_seconds"] = round(time.monotonic() - began, 1)
        name = "quick.json" if options.quick else "bench.json"
        (OUT / name).write_text(json.dumps(found, indent=1) + "\n")
    text = table.text(found)
    sys.stdout.write(text)
    if not options.quick:
        table.write(PAGE, text)
    return 0


def measure(folder: Path, options: argparse.Namespace, found: dict[str, Any]) -> None:
    """Every case on models made in ``folder``, into ``found``."""
    quick, rounds = options.quick, options.rounds or (3 if options.quick else 7)
    files = [64] if quick else [512, 2048] if options.large else [512]
    models = [32] if quick else [60, 500]
    tensors = [make.safetensors(folder / f"tensors-{mb}.safetensors", mb) for mb in files]
    graphs = [make.products(folder / f"matmul-{mb}.onnx", mb) for mb in models]
    graphs += [make.convolutions(folder / f"conv-{mb}.onnx", mb) for mb in models]
    small = _small(folder)
    place = cases.Place(folder, shop.protect(folder, [*tensors, *graphs, *small]))
    time.sleep(2)  # younger files are not recorded as verified, which depth tag needs
    found |= {"machine": _machine(), "rounds": rounds, "loads": {}}
    found["small"] = place.small(small, 5 if quick else 2 * rounds + 1, 6 if quick else 30)
    found["law"] = place.law(50 if quick else 300)
    found["sealing"] = cases.sealing(tensors[0], rounds)
    for path in tensors:
        done = cases.safetensors(place, path, rounds, cold=not quick)
        found["loads"][f"safetensors to numpy, {_size(path)}"] = done
    for path in graphs:
        kind = path.name.partition("-")[0]
        done = cases.onnx(place, path, rounds)
        found["loads"][f"ONNX Runtime, {kind}, {_size(path)}"] = done


def _small(folder: Path) -> list[Path]:
    """The example's models where they are prepared, else some of the same sizes."""
    if EXAMPLE.is_dir() and any(EXAMPLE.glob("*.onnx")):
        return sorted(EXAMPLE.glob("*.onnx"))
    sizes = (0.6, 2.4, 2.5, 64.0)
    return [make.convolutions(folder / f"small-{mb}.onnx", mb, 32 if mb < 1 else 64)
            for mb in sizes]  # fmt: skip


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"


def _machine() -> dict[str, Any]:
    """What the numbers were measured on; nothing that names the computer."""
    from importlib.metadata import version

    packages = ("cryptography", "blake3", "onnxruntime", "safetensors", "numpy")
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "packages": {name: version(name) for name in packages},
    }


if __name__ == "__main__":
    sys.exit(main())
