"""What the second client keeps on its computer, in a form of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import tokens
from .signing import DeviceKey
from .trust import KeyList, Trust

Claims = dict[str, Any]


class Folder:
    """Signing key and state; every change is on the disk before `save` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, exist_ok=True)
        key = path / "device.key"
        if not key.exists():
            self._write("device.key", Ed25519PrivateKey.generate().private_bytes_raw())
        self.key = DeviceKey(Ed25519PrivateKey.from_private_bytes(key.read_bytes()))
        state = path / "state.json"
        self.state: dict[str, Any] = json.loads(state.read_bytes()) if state.exists() else {}

    def _write(self, name: str, data: bytes) -> None:
        new = self.path / f".new-{name}"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / name)

    def trust(self, pinned: Trust) -> Trust:
        """The trust carried forward the last time, else the pinned one."""
        kept = self.path / "trust.json"
        return Trust(kept.read_bytes()) if kept.exists() else pinned

    def keep_trust(self, trust: Trust) -> None:
        """Start from `trust` the next time."""
        self._write("trust.json", trust.canonical())

    def save(self) -> None:
        """Write the state."""
        self._write("state.json", json.dumps(self.state).encode())

    def forget(self, *names: str) -> None:
        """Drop members of the state."""
        for name in names:
            self.state.pop(name, None)

    def held(self, name: str, keys: KeyList) -> Claims | None:
        """The claims of the token held under this name, verified again."""
        token = self.state.get(name)
        return tokens.read(token, f"{name}+jwt", keys, held=True) if token else None
