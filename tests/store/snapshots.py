"""The store of a closed workspace, kept as it is and put back later, without any code of ours."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from modelseal.server.services.config import load

_numbers = itertools.count()


def keep(home: Path) -> Callable[[], None]:
    """What puts the store of ``home`` back to what it is now. Nobody may have it open."""
    url = make_url(load(home / "server").database)
    if url.get_backend_name() == "postgresql":
        return _keep_database(url)
    database = home / "server" / str(url.database)
    copy = database.with_name(f"kept-{next(_numbers)}.db")
    shutil.copy(database, copy)

    def put_back() -> None:
        forget(home)
        shutil.copy(copy, database)

    return put_back


def forget(home: Path) -> None:
    """The workspace has an empty store."""
    url = make_url(load(home / "server").database)
    if url.get_backend_name() == "postgresql":
        _recreate(url, "template0")
        return
    database = home / "server" / str(url.database)
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()


def _keep_database(url: URL) -> Callable[[], None]:
    kept = f"{url.database}_kept{next(_numbers)}"
    _do(url, f"CREATE DATABASE {kept} TEMPLATE {url.database}")
    return lambda: _recreate(url, kept)


def _recreate(url: URL, template: str) -> None:
    _do(url, f"DROP DATABASE {url.database} WITH (FORCE)")
    _do(url, f"CREATE DATABASE {url.database} TEMPLATE {template}")


def _do(url: URL, statement: str) -> None:
    beside = url.set(drivername="postgresql+psycopg", database="postgres")
    engine = create_engine(beside, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(statement))
