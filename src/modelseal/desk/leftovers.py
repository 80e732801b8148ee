"""Unfinished files of a process that was killed: the next one that writes there removes them."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

_TOKEN_BYTES = 8
_NAME_LENGTH = 100


def temporary(path: Path) -> Path:
    """A new name beside ``path``, by which ``sweep`` knows whose it is."""
    return path.with_name(f".{path.name[:_NAME_LENGTH]}.{secrets.token_hex(_TOKEN_BYTES)}.tmp")


def claim(descriptor: int) -> None:
    """``sweep`` leaves the open file alone for as long as this process, or a child, holds it."""
    with contextlib.suppress(ImportError, OSError):  # no locks there: nothing is swept either
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep(path: Path) -> None:
    """What unfinished files for ``path`` nobody writes any more are gone; a failure is none."""
    pattern = re.compile(
        rf"\.{re.escape(path.name[:_NAME_LENGTH])}\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.tmp"
    )
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):  # noqa: PTH208 - names, of a folder of any size
            if pattern.fullmatch(name):
                _remove_abandoned(path.with_name(name))


def _remove_abandoned(left: Path) -> None:
    flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        descriptor = os.open(left, flags | getattr(os, "O_NONBLOCK", 0))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()
        finally:
            os.close(descriptor)
