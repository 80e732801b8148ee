"""Acts that come at once are written as one durable transaction: group commit.

Whoever comes first carries out what waits, the others wait for their outcomes; nobody waits for
company. An act that fails takes nobody along: all of its group are then carried out alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection

from modelseal.errors import StorageFailed, Unavailable

T = TypeVar("T")
MOST = 32
"""Acts of one transaction."""


class Write(Protocol):
    """``Store.write``."""

    def __call__(self, act: Callable[[Connection], T], /) -> T:
        """What ``act`` returns, after its changes are durable."""
        ...


class _Waiting(Generic[T]):
    """An act, and what came of it once ``woken`` is set; or its thread is to lead."""

    def __init__(self, of: bytes, act: Callable[[Connection], T]) -> None:
        self.of, self.act = of, act
        self.woken = threading.Event()
        self.leads = False
        self.outcome: T | None = None
        self.error: Exception | None = Unavailable("the server ended in between")

    def take(self, outcome: T) -> None:
        self.outcome, self.error = outcome, None


class Together:
    """Carries out acts over ``write``, those that wait at the same time in one transaction."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._guard = threading.Lock()
        self._waiting: list[_Waiting[Any]] = []
        self._is_led = False

    def run(self, of: bytes, act: Callable[[Connection], T]) -> T:
        """What ``act`` returns, after its changes are durable; all or nothing of each act.

        Those of one transaction come in the order of ``of``, so that two processes which lock the
        same rows do not wait for each other.
        """
        mine = _Waiting(of, act)
        with self._guard:
            self._waiting.append(mine)
            mine.leads = not self._is_led
            self._is_led = True
        if not mine.leads:
            mine.woken.wait()
        if mine.leads:
            self._lead(mine)
        if mine.error is not None:
            raise mine.error
        return mine.outcome  # type: ignore[return-value]

    def _lead(self, mine: _Waiting[Any]) -> None:
        """One group is carried out, ``mine`` in it; one of those who came since leads the next."""
        with self._guard:
            others = [one for one in self._waiting if one is not mine]
            group, self._waiting = [mine, *others[: MOST - 1]], others[MOST - 1 :]
        try:
            self._carry_out(sorted(group, key=lambda one: one.of))
        finally:
            with self._guard:
                heir = self._waiting[0] if self._waiting else None
                self._is_led = heir is not None
                if heir is not None:
                    heir.leads = True
            for one in group:
                one.woken.set()
            if heir is not None:
                heir.woken.set()

    def _carry_out(self, group: list[_Waiting[Any]]) -> None:
        if len(group) == 1 or not self._at_once(group):
            for one in group:
                try:
                    one.take(self._write(one.act))
                except Exception as error:  # noqa: BLE001 - it is raised where the act came from
                    one.error = error

    def _at_once(self, group: list[_Waiting[Any]]) -> bool:
        """False when one of the acts failed, and with it all of them."""
        try:
            outcomes = self._write(lambda tx: [one.act(tx) for one in group])
        except StorageFailed as error:
            for one in group:
                one.error = error
        except Exception:  # noqa: BLE001 - whose it is shows when each is carried out alone
            return False
        else:
            for one, outcome in zip(group, outcomes, strict=True):
                one.take(outcome)
        return True
