"""Requests that come while others are under way share what the next of them cost."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Outcome = TypeVar("Outcome")

ENOUGH = 16
"""So many begin beside those that are under way; fewer wait for their end."""
AT_ONCE = 2
"""So many batches are under way."""


class Gathering(ABC, Generic[Asked, Outcome]):
    """Gathers what is asked into batches of ``most``; lives in one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: list[tuple[Asked, asyncio.Future[Outcome]]] = []
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def gathered(self, asked: Asked) -> Outcome:
        """What ``_carry_out`` gives for it; raises what that raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append((asked, future))
        if not self._running or (self._running < AT_ONCE and len(self._waiting) >= ENOUGH):
            self._running += 1
            task = loop.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    @abstractmethod
    async def _carry_out(self, asked: list[Asked]) -> Sequence[Outcome]:
        """The outcomes of a batch, in order."""

    async def _pause(self) -> None:
        """Returns when the next batch may begin."""

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._pause()
                batch = self._waiting[: self._most]
                self._waiting = self._waiting[self._most :]
                if batch:  # another one may have taken all in the meantime
                    await self._answer(batch)
        finally:
            self._running -= 1

    async def _answer(self, batch: list[tuple[Asked, asyncio.Future[Outcome]]]) -> None:
        try:
            outcomes = await self._carry_out([item for item, _future in batch])
        except BaseException as error:
            for _item, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_item, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():  # whoever asked may be gone
                future.set_result(outcome)
