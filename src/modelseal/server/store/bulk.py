"""One statement for many rows: compiled once for each database, so that a row costs its values.

The values pass the same processors of their columns as everywhere; what is left out is that
SQLAlchemy looks for all of them anew in every row. PostgreSQL reads the rows of a plain INSERT by
COPY, in the same transaction: one statement for it too, where it would plan each row anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, Update
from sqlalchemy.engine import Dialect

from modelseal.server.store import postgres
from modelseal.server.store.binds import Binds

Row = Mapping[str, Any]
_COPIED_FROM = 4
"""So many rows are worth the two messages more that a COPY takes."""


class Bulk:
    """A statement of which every row gives the same ``names``."""

    def __init__(
        self, build: Callable[[Connection], Insert | Update], names: Sequence[str]
    ) -> None:
        self._build = build
        self._names = list(names)
        self._known: dict[str, _Compiled] = {}

    def execute(self, tx: Connection, rows: Sequence[Row]) -> int:
        """How many rows of the table it touched in all."""
        kind = tx.dialect.name
        compiled = self._known.get(kind)
        if compiled is None:
            compiled = _Compiled(self._build(tx), self._names, tx.dialect)
            self._known[kind] = compiled
        if compiled.copy is not None and len(rows) >= _COPIED_FROM:
            return tx.exec_driver_sql(compiled.copy, compiled.lines(rows)).rowcount
        return tx.exec_driver_sql(compiled.text, compiled.bound(rows)).rowcount


class _Compiled:
    def __init__(self, statement: Insert | Update, names: list[str], dialect: Dialect) -> None:
        binds = self._binds = Binds(statement.compile(dialect=dialect, column_keys=names), dialect)
        self.text = binds.text
        plain = type(statement) is Insert and not binds.fixed and binds.named.keys() == set(names)
        self.copy = _copy(statement.table, names, dialect) if plain else None
        self._columns = [(name, binds.named[name]) for name in names] if plain else []

    def lines(self, rows: Sequence[Row]) -> list[Any]:
        """What a COPY is given."""
        return [tuple([p(row[n]) if p else row[n] for n, p in self._columns]) for row in rows]

    def bound(self, rows: Sequence[Row]) -> list[Any]:
        """What the driver is given: by place or by name, as it wants."""
        of = self._binds.of
        return [of(row) for row in rows]


def _copy(table: Any, names: list[str], dialect: Dialect) -> str | None:
    """The COPY into these columns on PostgreSQL; None elsewhere."""
    if dialect.name != "postgresql":
        return None
    kinds = [table.c[name].type.compile(dialect=dialect) for name in names]
    return postgres.copy_into(table.name, names, kinds)
