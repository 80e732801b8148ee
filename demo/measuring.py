"""``python -m demo.measuring``: the same models plain and sealed, side by side in one process.

Loads and frames are taken in turns, and who begins changes with each pair, so that whatever else
the machine does falls on both alike; medians are compared. What happens once per process, the
unlocking of the device key, is measured first and apart.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import face_fusion
from face_fusion import files, models
from face_fusion.geometry import Picture

KINDS = ("plain", "protected")
WARM_ROUNDS = 1
TILE = (slice(100, 196), slice(180, 276))

Work = Callable[[], Mapping[str, float]]


def in_turns(work: Mapping[str, Work], rounds: int) -> dict[str, dict[str, float]]:
    """What ``work`` of both kinds took, by the names it gives: medians and their ratio."""
    seen: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    for number in range(-WARM_ROUNDS, rounds):
        for kind in KINDS if number % 2 else reversed(KINDS):
            gc.collect()
            took = work[kind]()
            if number >= 0:
                for name, seconds in took.items():
                    seen[kind].setdefault(name, []).append(seconds)
    report = {}
    for name in seen["plain"]:
        plain, protected = (statistics.median(seen[kind][name]) for kind in KINDS)
        report[name] = {
            "plain_seconds": round(plain, 5),
            "protected_seconds": round(protected, 5),
            "ratio": round(protected / plain, 3),
            "rounds": rounds,
        }
    return report


def unlocking(sealed: Path) -> dict[str, float]:
    """Seconds of what a fresh process does once: the client, then the first key of one file."""
    import modelseal
    from modelseal import container
    from modelseal.desk.filesource import FileSource

    with FileSource(sealed) as source:
        file_id = bytes.fromhex(container.inspect(source)["file_id"])
    times = [time.perf_counter()]
    client = modelseal.Client(background=False)
    for _ in range(2):
        times.append(time.perf_counter())
        client.keys_for(file_id, [0])
    times.append(time.perf_counter())
    made, first, second = (b - a for a, b in itertools.pairwise(times))
    return {
        "client_seconds": round(made, 5),
        "unlock_seconds": round(first - second, 5),
        "keys_again_seconds": round(second, 5),
    }


def loading(folder: models.Models) -> Work:
    """Every model of the folder is opened once."""

    def work() -> Mapping[str, float]:
        took = {}
        for name in models.ALL:
            began = time.perf_counter()
            session = folder.open(name)
            took[name] = time.perf_counter() - began
            del session
        return {**took, "all models": sum(took.values())}

    return work


def swapping(fusion: face_fusion.FaceFusion, source: Picture, target: Picture) -> Work:
    """One frame, the source's face known, as in a video."""
    face = fusion.find_face(source)

    def work() -> Mapping[str, float]:
        began, began_cpu = time.perf_counter(), time.process_time()
        fusion.swap(face, target)
        return {
            "swap of one frame": time.perf_counter() - began,
            "swap of one frame, CPU": time.process_time() - began_cpu,
        }

    return work


def restoring(fusion: face_fusion.FaceFusion, picture: Picture) -> Work:
    """One tile through the fast restoration model."""

    def work() -> Mapping[str, float]:
        began = time.perf_counter()
        fusion.restore(picture, "fast")
        return {"restoration of 96 px": time.perf_counter() - began}

    return work


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All models' loads, a frame's swap and a tile's restoration, plain against protected."""
    once = unlocking(options.sealed / models.DETECTOR)
    folders = (models.Models(options.plain), models.Models(options.sealed, protected=True))
    fusions = [face_fusion.FaceFusion(folder) for folder in folders]
    source, target = (files.read_picture(path) for path in (options.source, options.target))

    def both(work: Callable[[Any], Work], of: Any) -> dict[str, Work]:
        return {kind: work(one) for kind, one in zip(KINDS, of, strict=True)}

    swaps = both(lambda fusion: swapping(fusion, source, target), fusions)
    tiles = both(lambda fusion: restoring(fusion, target[TILE]), fusions)
    return {
        "once_per_process": once,
        "load": in_turns(both(loading, folders), options.loads),
        "inference": in_turns(swaps, options.frames) | in_turns(tiles, options.tiles),
        "frame_pixels": [target.shape[1], target.shape[0]],
    }


def main(arguments: list[str] | None = None) -> int:
    """Prints the report as one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m demo.measuring", description=__doc__)
    parser.add_argument("--plain", type=Path, required=True, help="folder of the plain models")
    parser.add_argument("--sealed", type=Path, required=True, help="folder of the sealed models")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--app", type=Path, required=True, help="folder of modelseal.toml")
    parser.add_argument("--loads", type=int, default=3)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--tiles", type=int, default=2)
    options = parser.parse_args(arguments)
    os.environ["MODELSEAL_APP"] = str(options.app.absolute())
    json.dump(measure(options), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
