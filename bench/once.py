"""``python -m bench.once JOB``: one load in a fresh process; what it took, as one JSON object.

Imports, the client and the unlocking of the device key come before the clock starts: they happen
once per process and are reported apart.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.customer import customer

CPU = ["CPUExecutionProvider"]


def readers() -> dict[str, Callable[[str], object]]:
    """Every way to load, by name; each returns what has to stay alive."""
    import onnxruntime
    import safetensors.numpy

    import modelseal
    import modelseal.onnx
    import modelseal.safetensors

    def touched(path: str) -> object:
        import numpy as np

        mapped = np.memmap(path, dtype=np.uint8, mode="r")
        return mapped, int(mapped[::4096].sum(dtype=np.uint64))

    def options() -> Any:
        chosen = onnxruntime.SessionOptions()
        chosen.intra_op_num_threads = 1
        return chosen

    return {
        "safetensors plain": safetensors.numpy.load_file,
        "safetensors sealed": modelseal.safetensors.load_file,
        "safetensors naive AES-GCM": _naive,
        "one tensor plain": lambda p: _one_tensor(safetensors.safe_open(p, "numpy")),
        "one tensor sealed": lambda p: _one_tensor(modelseal.safetensors.safe_open(p)),
        "bytes into an arena": _into_arena,
        "bytes mapped, every page touched": touched,
        "ONNX plain": lambda p: onnxruntime.InferenceSession(p, options(), providers=CPU),
        "ONNX sealed": lambda p: modelseal.onnx.InferenceSession(p, options(), providers=CPU),
    }


def _into_arena(path: str) -> object:
    """The plain bytes read the fastest way into the memory that a sealed load fills."""
    from modelseal.memory import Arena

    with Path(path).open("rb", buffering=0) as file:
        arena = Arena(os.fstat(file.fileno()).st_size)
        view, done = arena.view, 0
        while done < len(view):
            done += os.preadv(file.fileno(), [view[done : done + (1 << 18)]], done)
    return view


def _one_tensor(opened: Any) -> object:
    with opened as tensors:
        return tensors.get_tensor(next(iter(tensors.keys())))


def _naive(path: str) -> object:
    """The whole file read, decrypted by one call and handed over: the usual first attempt."""
    import safetensors.numpy
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    data = Path(path).read_bytes()
    return safetensors.numpy.load(AESGCM(bytes(32)).decrypt(data[:12], data[12:], None))


def measure(work: Callable[[], object]) -> dict[str, float]:
    """Wall and CPU seconds of ``work`` and how far the resident memory rose, in bytes."""
    _forget_peak()
    before = _resident("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    kept = work()
    took = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    took["peak_bytes"] = max(_resident("VmHWM") - before, 0)
    del kept
    return took


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
    made, first, again = (b - a for a, b in itertools.pairwise(times))
    return {
        "client_seconds": made,
        "unlock_seconds": max(first - again, 0.0),
        "keys_again_seconds": again,
    }


def _drop_from_cache(path: str) -> None:
    with Path(path).open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> int:
    """Does the job on the command line and prints what it took."""
    job = json.loads(sys.argv[1])
    reader = readers()[job["reader"]]
    once = ready(job["folder"], job["path"], job["depth"]) if job["depth"] else {}
    if job["threads"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job["threads"]])
    if job["cold"]:
        _drop_from_cache(job["path"])
    sys.stdout.write(json.dumps(measure(lambda: reader(job["path"])) | once))
    return 0


if __name__ == "__main__":
    sys.exit(main())
