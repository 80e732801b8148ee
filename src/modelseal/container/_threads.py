"""Runs of chunks side by side: hash, cipher and read all let go of the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from queue import SimpleQueue
from threading import Event, Thread
from typing import Generic, TypeVar

Run = Callable[[range, Event], None]
T = TypeVar("T")
_NEVER = Event()


def spread(run: Run, indexes: range, threads: int) -> None:
    """``run(part, stop)`` has been called for contiguous parts that make up ``indexes``.

    With one thread, and when the system gives no more, that happens in the caller's. After the
    first error ``stop`` is set, which every run looks at between chunks; the error is raised once
    all runs have ended.
    """
    workers = max(1, min(threads, len(indexes)))
    if workers == 1:
        run(indexes, _NEVER)
        return
    stop = Event()
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


class Ahead(Generic[T]):
    """Work that other threads do ahead, its results in the order in which it was started.

    Without other threads, and when the system gives none, each piece is done at once. No piece is
    ever done twice: a pool that fails to start a thread keeps what it was given.
    """

    def __init__(self, others: int) -> None:
        self._todo: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._started: deque[Callable[[], T]] = deque()
        self._workers: list[Thread] = []
        for number in range(others):
            worker = Thread(target=self._work, name=f"modelseal-seal-{number}", daemon=True)
            try:
                worker.start()
            except RuntimeError:  # no more threads
                break
            self._workers.append(worker)

    def start(self, work: Callable[[], T]) -> None:
        """``work()`` is done, or will be by the time of its ``result``."""
        if not self._workers:
            done = work()
            self._started.append(lambda: done)
            return
        future: Future[T] = Future()

        def do() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised where the result is taken
                future.set_exception(error)

        self._started.append(future.result)
        self._todo.put(do)

    def result(self) -> T:
        """What the oldest piece whose result was not taken yet gave, or raised."""
        return self._started.popleft()()

    def close(self) -> None:
        """What was started is done and no thread works any more."""
        for _ in self._workers:
            self._todo.put(None)
        for worker in self._workers:
            worker.join()

    def _work(self) -> None:
        while (do := self._todo.get()) is not None:
            do()


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
