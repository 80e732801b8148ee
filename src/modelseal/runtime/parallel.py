"""How many threads open one file: hash, cipher and read let go of the interpreter's lock."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from modelseal import processors

BYTES_PER_THREAD = 4 << 20
"""Below this a thread costs more than it saves: it waits its turn for the interpreter."""
MAX_THREADS = 8

_lock = threading.Lock()
_loads = 0


def threads_for(size_bytes: int) -> int:
    """At most one per processor this process may use and load that goes on, 1 for small sizes."""
    mine = processors.count() // max(1, _loads)
    return max(1, min(MAX_THREADS, mine, size_bytes // BYTES_PER_THREAD))


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """One more load goes on: a pool of loads has the processors busy by itself."""
    global _loads  # noqa: PLW0603
    with _lock:
        _loads += 1
    try:
        yield
    finally:
        with _lock:
            _loads -= 1


def _forget_parent() -> None:
    """In a forked child no load goes on: its threads stayed with its parent."""
    global _lock, _loads
    _lock, _loads = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
