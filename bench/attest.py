"""``python -m bench.attest``: how long one appraisal takes, over the recorded samples.

Prints the median and the fastest of each by wall clock, and the median by the thread's own time,
and writes ``bench-out/attest.json``. Demanded: every appraisal at most 50 ms, SGX and TDX at
most 5 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from modelseal.attest import selftest

OUT = Path(__file__).resolve().parents[1] / "bench-out"
LIMITS_MS = {"sgx": 5.0, "tdx": 5.0}
LIMIT_MS = 50.0


def main() -> int:
    """Measures every case that is genuine; those that are not end sooner."""
    parser = argparse.ArgumentParser(prog="python -m bench.attest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="rounds that count (default 30)")
    rounds = parser.parse_args().rounds
    rows = [measure(case, rounds) for case in selftest.cases() if case.known["genuine"]]
    OUT.mkdir(exist_ok=True)
    (OUT / "attest.json").write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        sys.stdout.write(
            f"{row['kind']:11} {row['median_ms']:7.2f} ms (own {row['own_ms']:.2f}, fastest"
            f" {row['fastest_ms']:.2f}, limit {row['limit_ms']:.0f})  {row['name']}\n"
        )
    return 0


def measure(case: selftest.Case, rounds: int) -> dict[str, Any]:
    """One case, warmed up by three rounds."""
    for _ in range(3):
        case.judge()
    wall, own = [], []
    for _ in range(rounds):
        began, mine = time.perf_counter_ns(), time.thread_time_ns()
        case.judge()
        wall.append((time.perf_counter_ns() - began) / 1e6)
        own.append((time.thread_time_ns() - mine) / 1e6)
    return {
        "name": case.name,
        "kind": case.kind,
        "median_ms": round(statistics.median(wall), 3),
        "own_ms": round(statistics.median(own), 3),
        "fastest_ms": round(min(wall), 3),
        "limit_ms": LIMITS_MS.get(case.kind, LIMIT_MS),
    }


if __name__ == "__main__":
    sys.exit(main())
