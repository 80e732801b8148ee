"""age, the program: ChaCha20-Poly1305 in chunks of 64 KiB to an X25519 key, read from a pipe."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.peers import Cannot, Open, key_beside, tensors

TITLE = "age"
REMARK = "another process; its output is read from a pipe"


def released_as() -> str:
    """What is measured."""
    if shutil.which("age") is None:
        raise Cannot("age is not installed: apt-get install age")
    done = subprocess.run(["age", "--version"], capture_output=True, text=True, check=True)
    return f"age {done.stdout.strip()}"


def protect(plain: Path, target: Path) -> None:
    """One recipient."""
    key = key_beside(target)
    key.unlink(missing_ok=True)
    told = subprocess.run(["age-keygen", "-o", key], capture_output=True, text=True, check=True)
    recipient = told.stderr.split()[-1]
    subprocess.run(["age", "-r", recipient, "-o", target, plain], check=True)


def opener(target: Path) -> Open:
    """``age -d`` into memory."""
    command = ["age", "-d", "-i", str(key_beside(target)), str(target)]
    return lambda: tensors(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
