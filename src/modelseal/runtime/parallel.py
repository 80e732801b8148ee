"""Decrypting with several threads: the cipher and the hash let go of the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

PART_BYTES = 32 << 20
"""A multiple of every chunk size, so that no chunk is opened twice."""
MAX_THREADS = 4


def spread(fill: Callable[[int, int], None], size_bytes: int) -> None:
    """``fill(low, high)`` has been called for parts that cover 0 to ``size_bytes``.

    Small sizes stay in this thread. The first error is raised once all threads have ended.
    """
    bounds = range(0, size_bytes, PART_BYTES) or range(1)
    parts = [(low, min(low + PART_BYTES, size_bytes)) for low in bounds]
    threads = min(MAX_THREADS, _processors(), len(parts))
    if threads < 2:
        for low, high in parts:
            fill(low, high)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="modelseal-open") as pool:
        futures = [_start(pool, fill, low, high) for low, high in parts]
        try:
            for future in futures:
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _start(
    pool: ThreadPoolExecutor, fill: Callable[[int, int], None], low: int, high: int
) -> Future[None]:
    """The part in a thread, or here and now when the system gives no more threads."""
    try:
        return pool.submit(fill, low, high)
    except RuntimeError:
        done: Future[None] = Future()
        fill(low, high)
        done.set_result(None)
        return done


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
