"""``python -m bench``: measures, writes ``bench-out/bench.json`` and the table of
``docs/performance.md``.

``--quick`` ends in two minutes and leaves the page alone; ``--large`` adds files of 2 and 6 GB;
``--only PART`` measures one part and leaves what the page says of the others.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import against, cases, hook, make, shop, table, tpm, yardstick
from bench.tensors import saved_by_torch, to_torch

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "bench-out"
PAGE = ROOT / "docs" / "performance.md"
PARTS = ["safetensors", "lazy", "onnx", "peers", "small", "hook", "law", "sealing", "tpm"]
Made = dict[str, list[Path]]
EXAMPLE = ROOT / ".cache" / "face-fusion" / "models"


def main() -> int:
    """Measures what the options ask for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small files, few rounds")
    parser.add_argument("--large", action="store_true",
                        help="also files of 2 and 6 GB and smaller graphs")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART",
                        help=", ".join(PARTS))  # fmt: skip
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
        name = "quick" if options.quick else "bench"
        some = "" if options.only == PARTS else "-" + "-".join(options.only)
        (OUT / f"{name}{some}.json").write_text(json.dumps(found, indent=1) + "\n")
    texts = table.texts(found)
    sys.stdout.write("\n".join(texts.values()))
    if not options.quick:
        table.write(PAGE, texts)
    return 0


def measure(folder: Path, options: argparse.Namespace, found: dict[str, Any]) -> None:
    """Every case on models made in ``folder``, into ``found``."""
    quick, only = options.quick, options.only
    rounds = options.rounds or (3 if quick else 7)
    made = _make(folder, options)
    every = [*itertools.chain(*(paths for part, paths in made.items() if part != "sealing"))]
    if not every:  # the law is asked about a license of something
        every = [make.safetensors(folder / "one.safetensors", 16)]
    place = cases.Place(folder, shop.protect(folder, every, made.get("hook", [])[-1:]))
    time.sleep(2)  # younger files are not recorded as verified, which depth tag needs
    found |= {"machine": _machine(), "rounds": rounds}
    if "tpm" in only:
        (folder / "tpm").mkdir()
        found["tpm"] = tpm.measure(folder / "tpm", rounds)
    if "small" in only:
        found["small"] = place.small(made["small"], 2 * rounds + 1, 6 if quick else 30)
    if "hook" in only:
        found["hook"] = hook.measure(place, made["hook"][:-1], made["hook"][-1], rounds)
    if "law" in only:
        found["law"] = place.law(50 if quick else 300)
    if "sealing" in only:
        found["sealing"] = cases.sealing(made["sealing"][0], rounds)
    _measure_loads(place, made, options, found)


def _measure_loads(
    place: cases.Place, made: Made, options: argparse.Namespace, found: dict[str, Any]
) -> None:
    rounds = found["rounds"]
    for path in made.get("lazy", []):
        title = f"One tensor of 16 MiB out of {_size(path)}"
        found["lazy"] = {title: cases.lazy(place, path, rounds)}
    if "safetensors" in options.only:
        loads = found.setdefault("safetensors", {})
        for path in made["tensors"]:
            done = cases.safetensors(place, path, rounds, cold=not options.quick)
            loads[f"safetensors to numpy, {_size(path)}"] = done
            loads[f"safetensors to torch, {_size(path)}"] = to_torch(place, path, rounds)
    for path in made.get("onnx", []):
        title = f"ONNX Runtime, {path.name.partition('-')[0]}, {_size(path)}"
        found.setdefault("onnx", {})[title] = cases.onnx(place, path, rounds)
    for path in made.get("peers", []):
        told = against.measure(place, path, 2 if options.quick else rounds, cold=options.large)
        found["peers"] = {_size(path): told}


def _make(folder: Path, options: argparse.Namespace) -> Made:
    """The models of the parts that are measured, plain."""
    quick, large, only = options.quick, options.large, options.only
    made: Made = {}
    if "sealing" in only:
        made["sealing"] = [make.safetensors(folder / "sealing.safetensors", 64 if quick else 256)]
    if "safetensors" in only:
        sizes = [64] if quick else [512, 2048] if large else [512]
        made["tensors"] = [make.safetensors(folder / f"t-{mb}.safetensors", mb) for mb in sizes]
        made["pickled"] = [saved_by_torch(made["tensors"][0])]
    if "lazy" in only:
        path = folder / "lazy.safetensors"
        made["lazy"] = [make.sparse_safetensors(path, 6144 if large else 1024)]
    if "onnx" in only:
        kinds = {"matmul": make.products, "conv": make.convolutions}
        sizes = [32] if quick else [60, 500] if large else [500]
        made["onnx"] = [make_one(folder / f"{kind}-{mb}.onnx", mb)
                        for mb in sizes for kind, make_one in kinds.items()]  # fmt: skip
    if "small" in only:
        made["small"] = _small(folder)
    if "hook" in only:
        made["hook"] = _hooked(folder, quick)
    if "peers" in only:  # some take seconds for little
        made["peers"] = [make.safetensors(folder / "peers.safetensors", 128 if large else 64)]
    return made


def _small(folder: Path) -> list[Path]:
    """The example's models where they are prepared, else some of the same sizes."""
    if EXAMPLE.is_dir() and any(EXAMPLE.glob("*.onnx")):
        return sorted(EXAMPLE.glob("*.onnx"))
    sizes = (0.6, 2.4, 2.5, 64.0)
    return [make.convolutions(folder / f"small-{mb}.onnx", mb, 32 if mb < 1 else 64)
            for mb in sizes]  # fmt: skip


def _hooked(folder: Path, quick: bool) -> list[Path]:
    """Twelve models of one size, and a large one, as ``hook`` needs them."""
    first = make.convolutions(folder / "pool-0.onnx", 2.5, 64)
    same = [folder / f"pool-{n}.onnx" for n in range(1, hook.MODELS)]
    for path in same:
        path.write_bytes(first.read_bytes())
    return [first, *same, make.products(folder / "large.onnx", 32 if quick else 552)]


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
        "speeds": yardstick.speeds(),
    }


if __name__ == "__main__":
    sys.exit(main())
