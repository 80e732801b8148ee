"""``python -m bench.peer JOB``: one peer loads, or protects, one file in a fresh process.

Imports and reading of keys come before the clock starts, as for ours. Processor time is that of
this process and of those it started.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import once, peers


def main() -> int:
    """Does the job on the command line and prints what it took."""
    job = json.loads(sys.argv[1])
    peer = peers.load(job["peer"])
    if job["protect"]:
        took = _protect(peer, Path(job["protect"]), Path(job["path"]))
    else:
        took = _load(peer, job["path"], cold=job["cold"])
    sys.stdout.write(json.dumps(took))
    return 0


def _load(peer: Any, path: str, *, cold: bool) -> dict[str, float]:
    run = peer.opener(Path(path))
    if cold:
        once._drop_from_cache(path)
    before = _children()
    took = once.measure(run)
    took["cpu_seconds"] += _children() - before
    return took


def _protect(peer: Any, plain: Path, target: Path) -> dict[str, float]:
    """A few bytes first, so that nothing is imported while the clock runs."""
    import numpy as np
    import safetensors.numpy

    with tempfile.TemporaryDirectory() as scratch:
        few = Path(scratch) / "few.safetensors"
        safetensors.numpy.save_file({"few": np.zeros(4, np.float32)}, few)
        peer.protect(few, few.with_suffix(".protected"))
    cpu, wall = time.process_time() + _children(), time.perf_counter()
    peer.protect(plain, target)
    took = time.process_time() + _children() - cpu
    return {"seconds": time.perf_counter() - wall, "cpu_seconds": took,
            "bytes": target.stat().st_size}  # fmt: skip


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
