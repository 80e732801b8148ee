"""``Store``: transactions over one engine, with retries where a database asks for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from modelseal.errors import StorageFailed
from modelseal.server.store import dialect, tables

P = ParamSpec("P")
T = TypeVar("T")
_ATTEMPTS = 8


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

    def __init__(self, url: str, base: Path) -> None:
        self.engine = dialect.open_engine(url, base)
        # One writer at a time in this process keeps SQLite's busy polling out of the way.
        self._turn = threading.Lock() if self.engine.dialect.name == "sqlite" else None

    def write(
        self, act: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What ``act`` returns, after its changes are durable; all or nothing."""
        for attempt in range(_ATTEMPTS):
            try:
                return self._write_once(act, *args, **kwargs)
            except Again:
                continue
            except DBAPIError as error:
                if not dialect.is_serialization_failure(error) or attempt == _ATTEMPTS - 1:
                    raise dialect.translate(error) from None
            except SQLAlchemyError as error:
                raise StorageFailed(f"the database failed: {type(error).__name__}") from None
        raise StorageFailed("the database found no order for this write")

    def _write_once(
        self, act: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self._turn is None:
            with self.engine.connect() as connection, dialect.writing(connection).begin():
                return act(connection, *args, **kwargs)
        with (
            self._turn,
            self.engine.connect() as connection,
            dialect.writing(connection).begin(),
        ):
            return act(connection, *args, **kwargs)

    def read(
        self, look: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What ``look`` returns, seen in one transaction that changes nothing."""
        try:
            with self.engine.connect() as connection, connection.begin():
                return look(connection, *args, **kwargs)
        except DBAPIError as error:
            raise dialect.translate(error) from None
        except SQLAlchemyError as error:
            raise StorageFailed(f"the database failed: {type(error).__name__}") from None

    def ping(self) -> None:
        """Returns when the database answers; ``StorageFailed`` otherwise."""
        self.read(lambda tx: tx.execute(select(tables.counters.c.name).limit(1)).first())

    def close(self) -> None:
        """Gives every connection back."""
        self.engine.dispose()
