"""What happened on this device, for support: one JSON object per line, bounded, no secrets.

Two files, ``journal`` and its predecessor ``journal.1``, each at most ``MAX_BYTES`` long. Values
are short texts, numbers and times; whoever writes an entry names its fields, so that nothing
slips in by accident. An entry that matters is on the disk before ``write`` returns.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from modelseal.client.folder import Folder
from modelseal.errors import ModelsealError, StateDamaged

FILE_NAME = "journal"
OLD_NAME = "journal.1"
MAX_BYTES = 256 * 1024
_MAX_TEXT = 300
_MAX_ITEMS = 32


class Journal:
    """The device's own record. Writing never fails its caller: a full disk loses an entry only."""

    def __init__(self, folder: Folder, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now

    def write(self, kind: str, *, durable: bool = False, **fields: object) -> None:
        """One more entry ``{at, kind, ...fields}``; flushed to the disk when ``durable``."""
        entry: dict[str, object] = {"at": self._now().isoformat(timespec="seconds"), "kind": kind}
        entry.update({name: _plain(v) for name, v in fields.items() if v is not None})
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        with contextlib.suppress(ModelsealError):
            if self._folder.size(FILE_NAME) + len(line) > MAX_BYTES:
                self._turn()
            try:
                self._folder.append(FILE_NAME, line, durable=durable)
            except StateDamaged:
                self._folder.remove(FILE_NAME)
                self._folder.append(FILE_NAME, line, durable=durable)

    def read(self, limit: int = 1000) -> list[dict[str, Any]]:
        """The newest ``limit`` entries, oldest first; a line torn by a crash is left out."""
        entries: list[dict[str, Any]] = []
        for name in (OLD_NAME, FILE_NAME):
            with contextlib.suppress(StateDamaged):
                entries.extend(_entries(self._folder.read(name, 2 * MAX_BYTES) or b""))
        return entries[-limit:]

    def _turn(self) -> None:
        data = self._folder.read(FILE_NAME, 2 * MAX_BYTES) or b""
        self._folder.write(OLD_NAME, data)
        self._folder.remove(FILE_NAME)


def _entries(data: bytes) -> list[dict[str, Any]]:
    found = []
    for line in data.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                found.append(entry)
    return found


def _plain(value: object) -> object:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in list(value)[:_MAX_ITEMS]]
    if isinstance(value, dict):
        return {str(k)[:64]: _plain(v) for k, v in list(value.items())[:_MAX_ITEMS]}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(value)} bytes"
    return str(value)[:_MAX_TEXT]
