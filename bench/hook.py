"""``python -m bench.hook JOB``: programs under the hook, plain and sealed in turns.

The hook is in the process as ``modelseal run`` puts it there, so plain files pass it, too.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench import once, readers, turns

THREADS, MODELS = 8, 12


def start_up(rounds: int) -> dict[str, Any]:
    """A Python that does nothing, without and with the hook: medians of a process each."""
    from modelseal.runtime.run import environment

    plain = {k: v for k, v in os.environ.items() if not k.startswith("MODELSEAL_")}
    contenders = {"plain": plain, "hook": environment(plain)}

    def starter(env: Mapping[str, str]) -> turns.Work:
        def work() -> turns.Took:
            before, wall = _children(), time.perf_counter()
            subprocess.run([sys.executable, "-c", "pass"], env=env, check=True)
            took, cpu = time.perf_counter() - wall, _children() - before
            return {"seconds": took, "cpu_seconds": cpu}

        return work

    found = turns.take({n: starter(env) for n, env in contenders.items()}, "plain", rounds, warm=2)
    return {"turns": found, **{
        f"added_{what}": found["hook"][what] - found["plain"][what]
        for what in ("seconds", "cpu_seconds")
    }}  # fmt: skip


def _children() -> float:
    """CPU seconds of the processes that were waited for; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_a_pool(
    folder: str, plain: str, sealed: list[str], optimised: list[str], rounds: int
) -> dict[str, Any]:
    """Twelve models in a pool of eight threads: the same plain file twelve times, and its sealed
    ones, so that none is decrypted for another; as they are, and sealed with ``--optimise``."""
    load = _ready(folder, sealed[0])

    def pool(paths: list[str]) -> turns.Work:
        def work() -> turns.Took:
            wall, cpu = time.perf_counter(), time.process_time()
            with ThreadPoolExecutor(THREADS) as threads:
                kept = list(threads.map(load, paths))
            took = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
            del kept
            return took

        return work

    contenders = {
        "plain": pool([plain] * MODELS), "sealed": pool(sealed), "optimised": pool(optimised),
    }  # fmt: skip
    return turns.take(contenders, "plain", rounds, warm=1)


def more_sessions(folder: str, plain: str, sealed: str, rounds: int) -> dict[str, Any]:
    """One more session of a model that has one: what the sealed one costs beyond the plain one."""
    load = _ready(folder, sealed)
    kept = [load(plain), load(sealed)]

    def session(path: str) -> turns.Work:
        def work() -> turns.Took:
            wall, cpu = time.perf_counter(), time.process_time()
            made = load(path)
            took = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
            del made
            return took

        return work

    found = turns.take(
        {"plain": session(plain), "sealed": session(sealed)}, "plain", rounds, warm=3
    )
    del kept
    return {"turns": found, **{
        f"added_{what}": found["sealed"][what] - found["plain"][what]
        for what in ("seconds", "cpu_seconds")
    }}  # fmt: skip


def one_large(folder: str, path: str, is_sealed: bool) -> dict[str, float]:
    """One load in this process: time, peak and what stays, in bytes beyond the imports."""
    load = _ready(folder, path) if is_sealed else _ready(None, path)
    gc.collect()
    before, kept = once._resident("VmRSS"), []
    took = once.measure(lambda: kept.append(load(path)))
    gc.collect()
    return took | {"steady_bytes": once._resident("VmRSS") - before}


def _ready(folder: str | None, path: str) -> Callable[[str], Any]:
    import modelseal

    modelseal.install()
    import onnxruntime

    if folder is not None:
        once.ready(folder, path)

    def load(given: str) -> Any:
        chosen = onnxruntime.SessionOptions()
        chosen.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(given, chosen, providers=readers.CPU)

    return load


def measure(place: Any, small: list[Path], large: Path, rounds: int) -> dict[str, Any]:
    """Every number of the hook, from the shop that ``bench.cases.Place`` knows."""
    from bench.cases import _child

    def child(**job: object) -> dict[str, Any]:
        return _child("bench.hook", {"folder": str(place.folder), "rounds": rounds, **job})

    names = [str(place.sealed[path.name]) for path in small]
    optimised = [str(place.sealed[f"{path.name}.optimised"]) for path in small]
    contenders: dict[str, turns.Work] = {
        "plain": lambda: child(what="large", path=str(large), sealed=False),
        "sealed": lambda: child(what="large", path=str(place.sealed[large.name]), sealed=True),
    }
    contenders["sealed"]()  # the full verification that the record needs
    size = f"{large.stat().st_size / (1 << 20):.0f} MiB"
    return {
        "start": start_up(4 * rounds),
        "pool": child(what="pool", plain=str(small[0]), sealed=names, optimised=optimised),
        "more": {
            f"{small[0].stat().st_size / 1e6:.1f} MB": child(
                what="more", plain=str(small[0]), sealed=names[0], rounds=20 * rounds
            ),
        },
        "large": {size: turns.take(contenders, "plain", rounds, warm=1)},
    }


def main() -> int:
    """Does the job on the command line and prints what it took."""
    job = json.loads(sys.argv[1])
    folder, rounds = job["folder"], job["rounds"]
    if job["what"] == "pool":
        found = in_a_pool(folder, job["plain"], job["sealed"], job["optimised"], rounds)
    elif job["what"] == "more":
        found = more_sessions(folder, job["plain"], job["sealed"], rounds)
    else:
        found = one_large(folder, job["path"], job["sealed"])
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
