"""The only place that knows which database it is. Everything else is common SQL."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Engine,
    Table,
    any_,
    bindparam,
    create_engine,
    event,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from modelseal.errors import ConfigInvalid, DiskFull, Misuse, StorageFailed
from modelseal.server.store import postgres

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.dialects import postgresql

T = TypeVar("T")
BUSY_TIMEOUT_MS = 15_000
_WRITE = "modelseal_write"
# How many rows a conditional INSERT wrote is what decides; SQLAlchemy keeps it only when told.
_COUNTED = {"preserve_rowcount": True}
_MANY = 1 << 30
AGAIN = {"40001": _MANY, "40P01": _MANY, "23505": 4, "broken": 1}
"""How often a transaction is run anew, by what ended it: an order that did not serialize, a
deadlock, a row that somebody wrote first, a connection that was gone before the commit.
"""
_FULL = frozenset({"53100"})
_UNFIT = "22"
"""SQLSTATE class "data exception": a value of the caller's that no column takes."""


def parse(url: str) -> URL:
    """The database that ``url`` names; ``ConfigInvalid`` never repeats it, for it may hold a
    password.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise ConfigInvalid("the database is no URL", setting="database") from None
    if backend not in ("sqlite", "postgresql"):
        raise ConfigInvalid("the database is sqlite or postgresql", setting="database")
    return parsed


def open_engine(url: URL, base: Path) -> Engine:
    """An engine for ``sqlite:///file`` (relative to ``base``) or ``postgresql://``."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, base)
    return postgres.open_engine(url, _COUNTED)


def _sqlite(url: URL, base: Path) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigInvalid("the database needs a file", setting="database")
    path = base / url.database
    engine = create_engine(
        url.set(database=str(path)),
        pool_size=16,
        max_overflow=32,
        hide_parameters=True,
        execution_options=_COUNTED,
    )

    @event.listens_for(engine, "do_connect")
    def _private(*_asked: Any) -> None:
        # O_EXCL: closing a file that SQLite has open here would end its locks (POSIX), and
        # with them the database. SQLite says itself what is wrong with the place.
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",
            "trusted_schema=OFF",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get(_WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def writing(connection: Connection) -> Connection:
    """``connection`` with its next transaction taking the write lock at once where there is one."""
    return connection.execution_options(**{_WRITE: True})


def insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT, in the words of this database."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # three drivers' worth of modules

    return postgresql.insert(table)


def built_once(build: Callable[[Connection], T]) -> Callable[[Connection], T]:
    """``build`` that is carried out once for each kind of database.

    Building a statement takes several times as long as executing it.
    """
    known: dict[str, T] = {}

    @functools.wraps(build)
    def statement(connection: Connection) -> T:
        kind = connection.dialect.name
        if kind not in known:
            known[kind] = build(connection)
        return known[kind]

    return statement


def unhurried(connection: Connection) -> None:
    """No statement of this transaction is ended for taking long: tables are made anew in it."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


def writes_alone(connection: Connection) -> bool:
    """True when no other transaction writes before this one is over."""
    return connection.dialect.name == "sqlite"


def held(connection: Connection, query: Select[Any]) -> Select[Any]:
    """``query`` whose rows nobody changes before this transaction is over.

    Rows changed since the transaction began make it run anew.
    """
    return query if writes_alone(connection) else query.with_for_update(read=True)


def among(
    connection: Connection, column: ColumnElement[Any], name: str, amount: int
) -> ColumnElement[bool]:
    """True where ``column`` is one of the values ``name``, of which ``amounts`` told how many."""
    if connection.dialect.name == "postgresql":
        return column == any_(bindparam(name, type_=ARRAY(column.type)))
    values = [bindparam(f"{name}_{place}", type_=column.type) for place in range(amount)]
    return column.in_(values)


def amounts(
    connection: Connection, lists: Mapping[str, Sequence[Any]]
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """How many values ``among`` is to have for each of ``lists``, none of them empty, and these.

    An array is one value however long. Elsewhere it is a power of two, so that there are few
    texts; the first value stands in the places left over.
    """
    if connection.dialect.name == "postgresql":
        return (1,) * len(lists), dict(lists)
    sizes, values = list[int](), dict[str, Any]()
    for name, told in lists.items():
        sizes.append(1 << (len(told) - 1).bit_length())
        filled = [*told, *[told[0]] * (sizes[-1] - len(told))]
        values |= {f"{name}_{place}": value for place, value in enumerate(filled)}
    return tuple(sizes), values


def is_broken_connection(error: DBAPIError) -> bool:
    """True when the connection ended, as all of a server's do when it restarts or fails over."""
    return error.connection_invalidated


def why_again(error: DBAPIError, *, acted: bool) -> str:
    """The key of ``AGAIN`` that ``error`` falls under. ``acted``: the commit was begun."""
    if is_broken_connection(error):
        return "unknown" if acted else "broken"
    return _state(error)


def translate(error: DBAPIError) -> StorageFailed | DiskFull | Misuse:
    """Our error for a database that did not do as told; names no value of any row."""
    text, state = str(error.orig), _state(error)
    if "disk is full" in text or "No space left" in text or state in _FULL:
        return DiskFull("the database has no room left")
    kind = re.sub(r"[^A-Za-z]", "", type(error.orig).__name__)
    # psycopg itself refuses NUL in a text, before the server could give a state.
    if state.startswith(_UNFIT) or (not state and kind == "DataError"):
        return Misuse("a value is too long or of a form that is stored nowhere")
    return StorageFailed(f"the database failed: {kind}")


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")
