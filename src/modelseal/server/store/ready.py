"""A statement of values known by name, compiled once for each database, with the rows it answers.

The values and rows pass the processors of their columns and nothing else: SQLAlchemy looks for all
of them anew each time, which costs as much as a small statement itself. ``Bulk`` is the same for
one that writes many rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Select
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.dml import ReturningUpdate

from modelseal.server.store.binds import Binds, Processor

Statement = Select[Any] | CompoundSelect[Any] | ReturningUpdate[Any]


class Ready:
    """What ``build`` makes, of which every parameter is given a value or has one."""

    def __init__(self, build: Callable[[Connection], Statement]) -> None:
        self._build = build
        self._known: dict[str, _Compiled] = {}

    def rows(self, tx: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Every row that it answers, in the order of its columns."""
        kind = tx.dialect.name
        compiled = self._known.get(kind)
        if compiled is None:
            compiled = self._known[kind] = _Compiled(self._build(tx), tx.dialect)
        found = tx.exec_driver_sql(compiled.text, compiled.bound(values)).all()
        return [compiled.read(row) for row in found]

    def first(self, tx: Connection, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first of them."""
        found = self.rows(tx, values)
        return found[0] if found else None


class _Compiled:
    def __init__(self, statement: Statement, dialect: Dialect) -> None:
        binds = Binds(statement.compile(dialect=dialect), dialect)
        self.text, self.bound = binds.text, binds.of
        self._columns: list[Processor] = [
            column.type.dialect_impl(dialect).result_processor(dialect, None)
            for column in statement.exported_columns
        ]

    def read(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """What the columns say."""
        return tuple(
            [p(value) if p else value for p, value in zip(self._columns, row, strict=True)]
        )
