"""Questions of several callers in one run of a model.

One thread a model takes what waits, as far as it fits together: the same inputs in the same shapes
but for the number of rows. The queue is bounded: what finds it full is refused at once, which tells
callers to slow down while there still is memory. A run that fails is repeated one by one, so that a
question which breaks the model breaks nobody else's.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelseal.errors import InternalError, ModelsealError, RateLimited, Unavailable
from modelseal.inference.models import Model
from modelseal.inference.tensors import Request

if TYPE_CHECKING:
    from modelseal.inference.tensors import Array

Answer = dict[str, "Array"]
RETRY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """How questions share runs: rows in one, how long the first waits for others, queue length."""

    max_rows: int = 16
    wait_seconds: float = 0.002
    queue: int = 64


@dataclass(slots=True, eq=False)
class _Waiting:
    asked: Request
    outputs: tuple[str, ...]
    rows: int
    fits: object
    future: Future[Answer] = field(default_factory=Future)


class Batcher:
    """One model and the thread that runs it. ``ran(rows, questions, seconds)`` is told each run.

    ``coming()`` is how many questions are being read and not queued yet: while there are none,
    nobody waits for them.
    """

    def __init__(
        self,
        model: Model,
        limits: Limits,
        ran: Callable[[int, int, float], None] = lambda _rows, _questions, _seconds: None,
        monotonic: Callable[[], float] = time.monotonic,
        coming: Callable[[], int] = lambda: 1,
    ) -> None:
        self._coming = coming
        self.model = model
        self._limits = limits
        self._ran = ran
        self._monotonic = monotonic
        self._queue: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(
            target=self._work, name=f"modelseal-model-{model.name}", daemon=True
        )
        self._thread.start()

    def ask(self, asked: Request) -> Future[Answer]:
        """The answer to come. Raises ``Misuse`` for what does not fit the model, ``RateLimited``
        when the queue is full, ``Unavailable`` once the service ends."""
        outputs = self.model.check(asked)
        waiting = _Waiting(asked, outputs, *self._kin(asked, outputs))
        with self._changed:
            if self._ending:
                raise Unavailable("the service is being stopped")
            if len(self._queue) >= self._limits.queue:
                raise RateLimited("the queue is full", retry_after_seconds=RETRY_SECONDS)
            self._queue.append(waiting)
            self._changed.notify_all()
        return waiting.future

    @property
    def depth(self) -> int:
        """How many questions wait."""
        return len(self._queue)

    def close(self, seconds: float = 30.0) -> None:
        """What waits is answered, then the thread ends."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def _kin(self, asked: Request, outputs: tuple[str, ...]) -> tuple[int, object]:
        """The rows of a question, and what it shares with those that can run beside it."""
        if not self.model.batches or self._limits.max_rows < 2:
            return 1, object()
        rows = next(iter(asked.inputs.values())).shape[0]
        shapes = [(name, array.shape[1:]) for name, array in sorted(asked.inputs.items())]
        return rows, (tuple(shapes), outputs)

    def _work(self) -> None:
        while batch := self._take():
            self._run(batch)

    def _take(self) -> list[_Waiting]:
        """The next questions that run together; empty once all is done and over."""
        with self._changed:
            while True:
                while not self._queue:
                    if self._ending:
                        return []
                    self._changed.wait()
                until = self._monotonic() + self._limits.wait_seconds
                while self._coming() and self._short() and not self._ending:
                    left = until - self._monotonic()
                    if left <= 0 or not self._changed.wait(left):
                        break
                batch = [one for one in self._cut() if one.future.set_running_or_notify_cancel()]
                if batch:
                    return batch

    def _short(self) -> bool:
        """Whether the first question would have room for others that are not here yet."""
        if not self.model.batches or self._limits.max_rows < 2:
            return False
        first = self._queue[0]
        rows = sum(one.rows for one in self._queue if one.fits == first.fits)
        return rows < self._limits.max_rows

    def _cut(self) -> list[_Waiting]:
        first = self._queue.popleft()
        batch, rows = [first], first.rows
        for one in list(self._queue):
            if one.fits == first.fits and rows + one.rows <= self._limits.max_rows:
                self._queue.remove(one)
                batch.append(one)
                rows += one.rows
        return batch

    def _run(self, batch: list[_Waiting]) -> None:
        started = self._monotonic()
        try:
            answers = self._answers(batch)
        except BaseException as error:  # noqa: BLE001 - whatever a model does is its caller's answer
            if len(batch) > 1:
                for one in batch:
                    self._run([one])
            else:
                batch[0].future.set_exception(_ours(error))
            return
        self._ran(sum(one.rows for one in batch), len(batch), self._monotonic() - started)
        for one, answer in zip(batch, answers, strict=True):
            one.future.set_result(answer)

    def _answers(self, batch: Sequence[_Waiting]) -> list[Answer]:
        outputs = batch[0].outputs
        if len(batch) == 1:
            found = self.model.session.run(list(outputs), dict(batch[0].asked.inputs))
            return [dict(zip(outputs, found, strict=True))]
        import numpy as np

        feeds: dict[str, Any] = {
            name: np.concatenate([one.asked.inputs[name] for one in batch])
            for name in batch[0].asked.inputs
        }
        found = self.model.session.run(list(outputs), feeds)
        total = sum(one.rows for one in batch)
        if any(array.shape[:1] != (total,) for array in found):
            raise InternalError("the model did not answer row by row")
        answers, at = [], 0
        for one in batch:
            part = slice(at, at + one.rows)
            answers.append({n: a[part] for n, a in zip(outputs, found, strict=True)})
            at += one.rows
        return answers


def _ours(error: BaseException) -> ModelsealError:
    """An error of ours; what the runtime says of tensors is not passed on, it may hold them."""
    if isinstance(error, ModelsealError):
        return error
    return InternalError(f"the model failed: {type(error).__name__}")
