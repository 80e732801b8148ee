"""``Store``: transactions over one engine, with retries where a database asks for them."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from modelseal.errors import StorageFailed
from modelseal.server.store import dialect, postgres, tables
from modelseal.server.store.together import Act, First, Together, Wanted

P = ParamSpec("P")
T = TypeVar("T")
_LONGEST_SECONDS = postgres.TIMEOUT_SECONDS
_MOVED_ON = 8
_STEP_SECONDS, _MAX_STEP_SECONDS = 0.001, 0.05


def _delay(attempt: int) -> float:
    """Seconds before the next attempt: drawn, so that those who met once do not meet again."""
    longest = min(_STEP_SECONDS * (1 << min(attempt, 10)), _MAX_STEP_SECONDS)
    return longest * random.random()  # noqa: S311 - an order, no secret


class Again(Exception):
    """An act found that another one was faster; it wants to be run anew from the start."""


def settle(written: bool) -> None:
    """Returns when a conditional write took effect; ``Again`` when its row had moved on."""
    if not written:
        raise Again


class Store:
    """Runs functions of a connection inside one durable transaction each.

    A function given to ``write`` may run more than once (serialization failures, ``Again``), so it
    must touch nothing but its connection until it returned.
    """

    def __init__(
        self, url: str | URL, base: Path, *, pause: Callable[[float], object] = time.sleep
    ) -> None:
        parsed = dialect.parse(url) if isinstance(url, str) else url
        self.engine = dialect.open_engine(parsed, base)
        self._pause = pause
        # One writer at a time in this process keeps SQLite's busy polling out of the way.
        single = self.engine.dialect.name == "sqlite"
        self._turn: AbstractContextManager[object] = threading.Lock() if single else nullcontext()
        self._together = Together(self.write)

    def write(
        self, act: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What ``act`` returns, after its changes are durable; all or nothing.

        Raises ``StorageFailed`` for a commit whose outcome is not known: whoever asks again with
        the same nonce or idempotency key gets the answer that stands.
        """
        began, failed = time.monotonic(), Counter[str]()
        while True:
            acted = False
            try:
                with self._turn, self.engine.connect() as connection:
                    with dialect.writing(connection).begin():
                        answer = act(connection, *args, **kwargs)
                        acted = True
                    return answer
            except Again:
                why = ""
                if failed[why] >= _MOVED_ON:
                    raise StorageFailed("the database found no order for this write") from None
            except DBAPIError as error:
                why = dialect.why_again(error, acted=acted)
                if failed[why] >= dialect.AGAIN.get(why, 0):
                    raise dialect.translate(error) from None
            except SQLAlchemyError as error:
                raise StorageFailed(f"the database failed: {type(error).__name__}") from None
            if time.monotonic() - began > _LONGEST_SECONDS:
                raise StorageFailed("the database found no order for this write")
            self._pause(_delay(failed.total()))
            failed[why] += 1

    def together(self, of: bytes, act: Act[T], first: First | None = None) -> T:
        """As ``write``, in one transaction with the acts that this process was given meanwhile.

        Acts about one row (``of`` names it) that came at once would end each other's snapshots and
        start over and over. What other processes do meets in the database as ever. ``first`` looks
        for all of them before any begins.
        """
        [outcome] = self._together.run([Wanted(of, act, first)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def all_together(self, wanted: Sequence[Wanted[T]]) -> list[T | Exception]:
        """What ``together`` returns or raises for each of them, in one transaction where they fit.

        No act may return an exception.
        """
        return self._together.run(wanted)

    def read(
        self, look: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What ``look`` returns, seen in one transaction that changes nothing."""
        try:
            try:
                return self._look(look, *args, **kwargs)
            except DBAPIError as error:
                if not dialect.is_broken_connection(error):
                    raise
                return self._look(look, *args, **kwargs)
        except DBAPIError as error:
            raise dialect.translate(error) from None
        except SQLAlchemyError as error:
            raise StorageFailed(f"the database failed: {type(error).__name__}") from None

    def snapshot(self, look: Callable[[Connection], T]) -> T:
        """What ``look`` returns, which runs once, for as long as it takes, over one state."""
        try:
            return self._look(look)
        except DBAPIError as error:
            raise dialect.translate(error) from None
        except SQLAlchemyError as error:
            raise StorageFailed(f"the database failed: {type(error).__name__}") from None

    def _look(
        self, look: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with self.engine.connect() as connection, connection.begin():
            return look(connection, *args, **kwargs)

    def ping(self) -> None:
        """Returns when the database answers; ``StorageFailed`` otherwise."""
        self.read(lambda tx: tx.execute(select(tables.counters.c.name).limit(1)).first())

    def close(self) -> None:
        """Gives every connection back."""
        self.engine.dispose()
