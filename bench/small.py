"""``python -m bench.small JOB``: many models in one process, as a program loads them.

Load of each model in turns, then inference in pairs; outputs of both kinds must be the same bits.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

import modelseal.onnx
from bench import once, readers, turns

TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
}


def feeds(session: Any) -> dict[str, Any]:
    """Inputs that fit: random numbers, unknown sizes as 1 (32 for height and width)."""
    rng = np.random.default_rng(0)
    found = {}
    for node in session.get_inputs():
        free = iter([1, 3, 32, 32] if len(node.shape) == 4 else [1] * 8)
        shape = [given if isinstance(given, int) else size for given, size in
                 zip(node.shape, free, strict=False)]  # fmt: skip
        found[node.name] = np.asarray(rng.random(shape), dtype=TYPES[node.type])
    return found


def measure(models: Mapping[str, Mapping[str, str]], rounds: int, pairs: int) -> dict[str, Any]:
    """``models``: name -> path of each kind. What loads and inferences took."""
    kinds = {"plain": onnxruntime.InferenceSession, "sealed": modelseal.onnx.InferenceSession,
             "optimised": modelseal.onnx.InferenceSession}  # fmt: skip

    def load(kind: str, name: str) -> Any:
        mine = onnxruntime.SessionOptions()
        mine.intra_op_num_threads = 1
        return kinds[kind](models[name][kind], mine, providers=readers.CPU)

    def loader(kind: str, names: list[str]) -> turns.Work:
        def work() -> turns.Took:
            took, cpu = 0.0, time.process_time()
            for name in names:
                began = time.perf_counter()
                session = load(kind, name)
                took += time.perf_counter() - began
                del session
            return {"seconds": took, "cpu_seconds": time.process_time() - cpu}

        return work

    def runner(session: Any) -> turns.Work:
        given = feeds(session)

        def work() -> turns.Took:
            wall, cpu = time.perf_counter(), time.process_time()
            session.run(None, given)
            return {"seconds": time.perf_counter() - wall,
                    "cpu_seconds": time.process_time() - cpu}  # fmt: skip

        return work

    found: dict[str, Any] = {"load": {}, "inference": {}}
    groups = {name: [name] for name in models} | {"all models": list(models)}
    for title, names in groups.items():
        contenders = {kind: loader(kind, names) for kind in kinds}
        found["load"][title] = turns.take(contenders, "plain", rounds)
    for name in models:
        plain = load("plain", name)
        for kind in ("sealed", "optimised"):
            sealed = load(kind, name)
            outputs = [session.run(None, feeds(session)) for session in (plain, sealed)]
            same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*outputs, strict=True))
            ratios = turns.pairs(runner(plain), runner(sealed), pairs)
            found["inference"].setdefault(kind, {})[name] = ratios | {"identical": same}
    return found


def main() -> int:
    """Does the job on the command line and prints what it took."""
    job = json.loads(sys.argv[1])
    first = next(iter(job["models"].values()))
    told = once.ready(job["folder"], first["sealed"])
    found = measure(job["models"], job["rounds"], job["pairs"])
    sys.stdout.write(json.dumps({"once_per_process": told} | found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
