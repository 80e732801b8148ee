"""PostgreSQL: the engine, where its password comes from, and what its errors mean.

Transactions are REPEATABLE READ: everything a transaction decides on is one snapshot, and a row
that another one changed since fails with 40001, upon which ``Store`` runs the act anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL

from modelseal.errors import ConfigInvalid, ExtraMissing

DRIVER = "postgresql+psycopg"
TIMEOUT_SECONDS = 15
_POOL, _MORE = 8, 16
_CONNECT_SECONDS = 5
_MAX_PASSWORD_BYTES = 4096
_KINDS: dict[str, list[str]] = {}
"""The kinds of columns of each COPY."""
# A process that lost its network must not hold a row for longer than its clients wait.
_LIMITS = {
    "statement_timeout": TIMEOUT_SECONDS * 1000,
    "lock_timeout": TIMEOUT_SECONDS * 1000,
    "idle_in_transaction_session_timeout": 2 * TIMEOUT_SECONDS * 1000,
}


def open_engine(url: URL, options: Mapping[str, Any]) -> Engine:
    """An engine for ``postgresql://…``; nothing is asked of the server yet."""
    if url.drivername not in ("postgresql", DRIVER):
        raise ConfigInvalid("PostgreSQL is reached as postgresql://", setting="database")
    try:
        import psycopg  # noqa: F401 - said here rather than by the first query
    except ImportError:
        raise ExtraMissing("PostgreSQL needs a driver", extra="postgres") from None
    connect: dict[str, Any] = {
        "application_name": "modelseal",
        "connect_timeout": _CONNECT_SECONDS,
        # Statements prepared by name would be another session's behind a pooler such as PgBouncer.
        "prepare_threshold": None,
    }
    if "options" not in url.query:
        connect["options"] = " ".join(f"-c {name}={value}" for name, value in _LIMITS.items())
    engine = create_engine(
        url.set(drivername=DRIVER),
        connect_args={name: value for name, value in connect.items() if name not in url.query},
        isolation_level="REPEATABLE READ",
        pool_size=_POOL,
        max_overflow=_MORE,
        pool_timeout=TIMEOUT_SECONDS,
        hide_parameters=True,
        execution_options=dict(options),
    )
    event.listen(engine, "do_executemany", _copied)
    return engine


def copy_into(table: str, columns: Sequence[str], kinds: Sequence[str]) -> str:
    """The text of a COPY into columns of these kinds, to be executed with rows in their order."""
    text = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    _KINDS[text] = [kind.partition("(")[0].lower() for kind in kinds]
    return text


def _copied(cursor: Any, statement: str, rows: Any, _context: object) -> bool:
    """True where ``statement`` is a COPY, which was carried out."""
    kinds = _KINDS.get(statement)
    if kinds is None:
        return False
    with cursor.copy(statement) as copy:
        copy.set_types(kinds)
        for row in rows:
            copy.write_row(row)
    return True


def password_in(path: Path) -> str:
    """The first line of the password file at ``path``; ``ConfigInvalid`` when there is none."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_PASSWORD_BYTES + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(
            f"the database's password file cannot be read: {type(error).__name__}", path=str(path)
        ) from None
    line = text.split("\n", 1)[0].rstrip("\r")
    if not line or len(text) > _MAX_PASSWORD_BYTES:
        raise ConfigInvalid("the database's password file holds no password", path=str(path))
    return line
