"""``python -m bench.law JOB``: what the license law costs a client, and what its import costs.

The device key is never unlocked here: license and lease are verified and a load is decided from
the files as they lie there, nothing kept from one turn to the next. A process each for imports.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HEAVY = ("ssl", "sqlite3", "torch", "onnxruntime")
_IMPORT = (
    "import sys, time, json; t = time.perf_counter(); import modelseal; "
    "t = time.perf_counter() - t; "
    f"print(json.dumps([t, [n for n in {HEAVY!r} if n in sys.modules]]))"
)


def imports(rounds: int) -> dict[str, Any]:
    """``import modelseal`` in fresh processes, and which of the heavy modules came with it."""
    told = []
    for _ in range(rounds):
        words = [sys.executable, "-c", _IMPORT]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        told.append(json.loads(done.stdout))
    return {
        "seconds": statistics.median(took for took, _ in told),
        "heavy_modules": sorted({name for _, names in told for name in names}),
    }


def decisions(folder: Path, rounds: int) -> dict[str, Any]:
    """Medians of ``rounds`` turns; ``client`` reads trust and folder anew each time as well."""
    from bench.customer import customer
    from modelseal.client import standing
    from modelseal.client.core import Held
    from modelseal.license import tokens
    from modelseal.license.claims import LicenseClaims

    with customer(folder) as client:
        core = client._core
        trust, place = core.trust, core.store.path
        now = core.ports.now()
        held = core.held()

    def law() -> bool:
        license_ = tokens.read((place / "license.jwt").read_bytes(), LicenseClaims, trust)
        lease = tokens.read_held((place / "lease.jwt").read_bytes(), trust)
        fresh = Held(license_, lease, None, held.record, held.lease_token)
        return standing.take(core, now, fresh).decide().allowed

    def whole() -> bool:
        with customer(folder) as fresh:
            return standing.take(fresh._core, now).decide().allowed

    return {
        "verify and decide": _timed(law, rounds),
        "with trust and folder": _timed(whole, rounds),
    }


def _timed(work: Any, rounds: int) -> dict[str, float]:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        if not work():
            raise SystemExit("the bench's customer was refused")
        times.append(time.perf_counter() - began)
    return {"seconds": statistics.median(times), "first_seconds": times[0]}


def main() -> int:
    """Does the job on the command line and prints what it took."""
    job = json.loads(sys.argv[1])
    found = decisions(Path(job["folder"]), job["rounds"])
    sys.stdout.write(json.dumps(found | {"import modelseal": imports(max(job["rounds"] // 10, 5))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
