"""The only place that knows which database it is. Everything else is common SQL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from modelseal.errors import ConfigInvalid, DiskFull, StorageFailed

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

BUSY_TIMEOUT_MS = 15_000
_WRITE = "modelseal_write"
# How many rows a conditional INSERT wrote is what decides; SQLAlchemy keeps it only when told.
_COUNTED = {"preserve_rowcount": True}


def open_engine(url: str, base: Path) -> Engine:
    """An engine for ``sqlite:///file`` (relative to ``base``) or ``postgresql+driver://``."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigInvalid("the database is no URL", setting="database") from None
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, base)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(
            parsed,
            pool_pre_ping=True,
            pool_size=16,
            max_overflow=32,
            hide_parameters=True,
            execution_options=_COUNTED,
        )
    raise ConfigInvalid("the database is sqlite or postgresql", setting="database")


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


def is_serialization_failure(error: DBAPIError) -> bool:
    """True when the whole transaction should be tried again."""
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return state in ("40001", "40P01")


def translate(error: DBAPIError) -> StorageFailed | DiskFull:
    """Our error for a database that did not do as told; names no value of any row."""
    text = str(error.orig)
    if "disk is full" in text or "No space left" in text:
        return DiskFull("the database has no room left")
    kind = re.sub(r"[^A-Za-z]", "", type(error.orig).__name__)
    return StorageFailed(f"the database failed: {kind}")
