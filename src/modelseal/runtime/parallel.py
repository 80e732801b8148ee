"""How many threads open one file: hash, cipher and read let go of the interpreter's lock."""

from __future__ import annotations

from modelseal import processors

BYTES_PER_THREAD = 1 << 20
"""Below this a thread costs more than it saves."""
MAX_THREADS = 8


def threads_for(size_bytes: int) -> int:
    """At most one per processor this process may use, and 1 for small sizes."""
    return max(1, min(MAX_THREADS, processors.count(), size_bytes // BYTES_PER_THREAD))
