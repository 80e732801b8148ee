"""``python -m bench.once JOB``: one load in a fresh process; what it took, as one JSON object.

Imports, the client and the unlocking of the device key come before the clock starts: they happen
once per process and are reported apart.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.customer import customer
from bench.readers import reader

_WINDOW_SECONDS = 0.02


def measure(work: Callable[[], object]) -> dict[str, float]:
    """Wall and CPU seconds of ``work`` and how far the resident memory rose, in bytes."""
    settle()
    _forget_peak()
    before = _resident("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    kept = work()
    took = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    took["peak_bytes"] = max(_resident("VmHWM") - before, 0)
    del kept
    return took


def settle(seconds: float = 3.0) -> None:
    """Returns when no other thread of this process works any more, after ``seconds`` at most.

    The threads of OpenBLAS, which numpy starts when it is imported, spin for a tenth of a second
    before they sleep; that is no part of a load.
    """
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        before = time.process_time() - time.thread_time()
        time.sleep(_WINDOW_SECONDS)
        if time.process_time() - time.thread_time() - before < _WINDOW_SECONDS / 100:
            return


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _resident(field: str) -> float:
    try:
        told = Path("/proc/self/status").read_text()
        return next(float(x.split()[1]) * 1024 for x in told.splitlines() if x.startswith(field))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def ready(folder: str, path: str, depth: str = "auto") -> dict[str, float]:
    """This process uses the customer's license and has unlocked its device key."""
    import modelseal
    from modelseal import container
    from modelseal.runtime.source import FileSource

    file_id = container.parse(FileSource(path)).file_id
    times = [time.perf_counter()]
    client = customer(Path(folder))
    times.append(time.perf_counter())
    client.keys_for(file_id, [0])
    times.append(time.perf_counter())
    client.keys_for(file_id, [0])
    times.append(time.perf_counter())
    modelseal.use(client, depth=depth)
    for name in ("files", "opened", "onnx", "safetensors", "torch"):  # imported at first use
        importlib.import_module(f"modelseal.runtime.{name}")
    made, first, again = (b - a for a, b in itertools.pairwise(times))
    return {
        "client_seconds": made,
        "unlock_seconds": max(first - again, 0.0),
        "keys_again_seconds": again,
    }


def _put_at_hand(size_bytes: int) -> None:
    """The host of this virtual machine has backed so much free memory, by huge pages.

    It takes free memory back within seconds; see ``modelseal.runtime.pages``.
    """
    from modelseal.memory import Arena

    with Arena(size_bytes) as arena:
        arena.populate()


def _drop_from_cache(path: str) -> None:
    with Path(path).open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> int:
    """Does the job on the command line and prints what it took."""
    job = json.loads(sys.argv[1])
    if job["needs"]:
        importlib.import_module(job["needs"])
    read = reader(job["reader"])
    once = ready(job["folder"], job["path"], job["depth"]) if job["depth"] else {}
    if job["threads"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job["threads"]])
    for _ in range(job["before"]):  # what is freed here is used again
        read(job["path"])
    if job["cold"]:
        _drop_from_cache(job["path"])
    if job["at_hand"]:
        _put_at_hand(Path(job["path"]).stat().st_size * 9 // 8)
    sys.stdout.write(json.dumps(measure(lambda: read(job["path"])) | once))
    return 0


if __name__ == "__main__":
    sys.exit(main())
