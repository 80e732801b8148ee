"""How many processors this process may use."""

from __future__ import annotations

import os


def count() -> int:
    """At least 1; an affinity (``taskset``, a container's cpuset) counts."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
