"""One writer at a time in a desk: releases, records and catalog versions are never given twice."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from modelseal.keys import files

NAME = ".lock"


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """No other process is in such a block for ``folder`` while this one is; it waits its turn."""
    path = folder / NAME
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise files.not_written(error, path) from None
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # not Unix: one desk, one person
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
