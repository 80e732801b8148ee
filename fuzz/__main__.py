"""``python -m fuzz``: every parser for some seconds, each in a process of its own.

What was found interesting is kept below ``bench-out/fuzz/PARSER`` and starts the next run. An
input that breaks a parser is left there as ``finding-*``; ``--again FILE`` repeats it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz import harness

OUT = harness.ROOT / "bench-out" / "fuzz"
MEMORY_MB = 1024
"""Python, the libraries and the inputs together; an input that takes more is a finding."""
INPUT_SECONDS = 10
_RUNS = re.compile(r"^#(\d+)\s+DONE\s+cov: (\d+)", re.MULTILINE)


def main() -> int:
    """Fuzzes what the options name; ends with 1 when something was found."""
    options = _options()
    if options.again is not None:
        (name,) = options.parsers or [options.again.parent.name]
        accepted = harness.load(name).judge(options.again.read_bytes())
        sys.stdout.write(f"{name}: {'accepted' if accepted else 'refused'}, as it should be\n")
        return 0
    chosen = options.parsers or harness.names()
    with ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda name: fuzz(name, options.seconds, options.runs), chosen)
        good = [told for told in map(_tell, results) if told]
    sys.stdout.write(f"{len(good)} of {len(chosen)} parsers held\n")
    return 0 if len(good) == len(chosen) else 1


def fuzz(name: str, seconds: int, runs: int, out: Path = OUT) -> tuple[str, int, str]:
    """Name, exit code and what libFuzzer said of one parser; ``runs`` wins over ``seconds``."""
    folder = out / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    found = harness.load(name)
    for seed in found.seeds():
        part = seed[: found.max_bytes]
        (corpus / hashlib.sha256(part).hexdigest()[:16]).write_bytes(part)
    ends = [f"-runs={runs}"] if runs else [f"-max_total_time={seconds}"]
    # libFuzzer judges the peak the kernel knows, which a process inherits from whoever started it:
    # a shell in between has none. `exit` keeps the shell from becoming the fuzzer itself.
    command = [
        "/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-m", "fuzz.one", name, *ends,
        "-seed=1", f"-rss_limit_mb={MEMORY_MB}", f"-timeout={INPUT_SECONDS}",
        f"-artifact_prefix={folder}/finding-", str(corpus),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=harness.ROOT, capture_output=True, text=True, errors="replace", check=False,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )  # fmt: skip
    (folder / "log").write_text(done.stdout + done.stderr)
    return name, done.returncode, done.stdout + done.stderr


def _tell(result: tuple[str, int, str]) -> bool:
    name, code, said = result
    counted = _RUNS.search(said)
    good = code == 0 and counted is not None
    if good and counted is not None:
        line = f"{name}: {counted[1]} inputs, {counted[2]} places"
    else:
        line = f"{name}: FINDING (exit code {code})\n{said[-3000:]}"
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return good


def _options(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("parsers", nargs="*", metavar="PARSER", help=", ".join(harness.names()))
    parser.add_argument("--seconds", type=int, default=20, help="for each parser (default 20)")
    parser.add_argument("--runs", type=int, default=0, help="inputs in place of seconds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="side by side")
    parser.add_argument("--again", type=Path, metavar="FILE", help="one input, without libFuzzer")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
