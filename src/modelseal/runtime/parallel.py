"""How many threads open one file: hash, cipher and read let go of the interpreter's lock."""

from __future__ import annotations

import os

BYTES_PER_THREAD = 1 << 20
"""Below this a thread costs more than it saves."""
MAX_THREADS = 8


def threads_for(size_bytes: int) -> int:
    """At most one per processor this process may use, and 1 for small sizes."""
    return max(1, min(MAX_THREADS, _processors(), size_bytes // BYTES_PER_THREAD))


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
