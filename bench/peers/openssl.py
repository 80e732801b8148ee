"""``openssl enc``: AES-256-CTR, for it refuses AEAD ciphers; read from a pipe."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bench.peers import Cannot, Open, key_beside, tensors

TITLE = "openssl enc"
REMARK = "not authenticated: altered bytes are not noticed (enc refuses GCM)"
_ENC = ["openssl", "enc", "-aes-256-ctr", "-pbkdf2"]


def released_as() -> str:
    """What is measured."""
    if shutil.which("openssl") is None:
        raise Cannot("openssl is not installed: apt-get install openssl")
    done = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split()[:2])


def protect(plain: Path, target: Path) -> None:
    """A password in a file."""
    key_beside(target).write_text(os.urandom(32).hex())
    given = ["-pass", f"file:{key_beside(target)}"]
    subprocess.run([*_ENC, *given, "-in", plain, "-out", target], check=True)


def opener(target: Path) -> Open:
    """``openssl enc -d`` into memory."""
    command = [*_ENC, "-d", "-pass", f"file:{key_beside(target)}", "-in", str(target)]
    return lambda: tensors(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
