"""inferlock: the whole file by one call of AES-256-GCM under a password."""

from __future__ import annotations

import os
from pathlib import Path

from bench.peers import Open, key_beside, released, tensors

TITLE = "inferlock"
REMARK = "its key is derived anew at every load (PBKDF2, 600,000 rounds), which is in the time"


def released_as() -> str:
    """What is measured."""
    return released("inferlock")


def protect(plain: Path, target: Path) -> None:
    """Its container with a random password."""
    import inferlock

    key_beside(target).write_text(os.urandom(16).hex())
    sealed = inferlock.encrypt_bytes(plain.read_bytes(), key_beside(target).read_text())
    target.write_bytes(inferlock.pack_file({"original_name": plain.name}, sealed))


def opener(target: Path) -> Open:
    """What its ``load`` does once the license is read."""
    import inferlock

    password = key_beside(target).read_text()

    def run() -> object:
        _, sealed = inferlock.unpack_file(target.read_bytes())
        return tensors(inferlock.decrypt_bytes(sealed, password))

    return run
