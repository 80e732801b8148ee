"""`python -m face_fusion.bench`: medians of load and frame times, as one JSON object."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from face_fusion import files, samples
from face_fusion.errors import FaceFusionError
from face_fusion.models import Models, find_models_dir
from face_fusion.pipeline import FaceFusion


def measured(work: Callable[[], object], rounds: int) -> dict[str, float]:
    """Medians of seconds on the clock and of this process's CPU, after one round to warm up."""
    work()
    wall, cpu = [], []
    for _ in range(rounds):
        start, start_cpu = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    return {
        "wall_seconds": round(statistics.median(wall), 4),
        "cpu_seconds": round(statistics.median(cpu), 4),
    }


def bench(options: argparse.Namespace) -> dict[str, Any]:
    """Load, swap per frame (source face found once, as in a video), restoration of 128 px."""
    folder = find_models_dir(options.models)

    def fusion() -> FaceFusion:
        return FaceFusion(Models(folder, protected=options.protected, threads=options.threads))

    ready = fusion()
    source = files.read_picture(options.source or samples.astronaut())
    target = files.read_picture(options.target or samples.grace_hopper())
    face = ready.find_face(source, "the source picture")
    tile = target[100:228, 180:308]
    report: dict[str, Any] = {
        "frame_pixels": [target.shape[1], target.shape[0]],
        "rounds": options.rounds,
        "load": measured(lambda: fusion().open_models("fast"), options.rounds),
        "swap_frame": measured(lambda: ready.swap(face, target), options.rounds),
        "swap_steps_seconds": _steps(ready, face, target, options.rounds),
        "restore_fast_128px": measured(lambda: ready.restore(tile, "fast"), options.rounds),
    }
    if options.best:
        report["restore_best_128px"] = measured(lambda: ready.restore(tile, "best"), 1)
    return report


def _steps(fusion: FaceFusion, face: Any, target: Any, rounds: int) -> dict[str, float]:
    seen = [fusion.swap(face, target).timings for _ in range(rounds)]
    return {step: round(statistics.median(one[step] for one in seen), 4) for step in seen[0]}


def main(arguments: list[str] | None = None) -> int:
    """Prints the report on stdout."""
    parser = argparse.ArgumentParser(prog="python -m face_fusion.bench", description=__doc__)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--target", type=Path)
    parser.add_argument("--models", type=Path, metavar="DIR")
    parser.add_argument("--protected", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--best", action="store_true", help="measure the best model too (slow)")
    try:
        print(json.dumps(bench(parser.parse_args(arguments)), indent=2))
    except FaceFusionError as error:
        print(f"face-fusion: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
