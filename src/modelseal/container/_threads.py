"""Runs of chunks side by side: hash, cipher and read all let go of the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from threading import Event

Run = Callable[[range, Event], None]


def spread(run: Run, indexes: range, threads: int) -> None:
    """``run(part, stop)`` has been called for contiguous parts that make up ``indexes``.

    With one thread, and when the system gives no more, that happens in the caller's. After the
    first error ``stop`` is set, which every run looks at between chunks; the error is raised once
    all runs have ended.
    """
    stop = Event()
    workers = max(1, min(threads, len(indexes)))
    if workers == 1:
        run(indexes, stop)
        return
    bounds = [len(indexes) * worker // workers for worker in range(workers + 1)]
    parts = [indexes[low:high] for low, high in pairwise(bounds)]
    with ThreadPoolExecutor(workers - 1, thread_name_prefix="modelseal-open") as pool:
        try:
            others = [_start(pool, run, part, stop) for part in parts[1:]]
            run(parts[0], stop)
            for other in others:
                other.result()
        except BaseException:
            stop.set()
            raise


def _start(pool: ThreadPoolExecutor, run: Run, part: range, stop: Event) -> Future[None]:
    def guarded() -> None:
        try:
            run(part, stop)
        except BaseException:
            stop.set()
            raise

    try:
        return pool.submit(guarded)
    except RuntimeError:  # no more threads
        guarded()
        done: Future[None] = Future()
        done.set_result(None)
        return done
