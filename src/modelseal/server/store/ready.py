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
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import ReturningUpdate

Statement = Select[Any] | CompoundSelect[Any] | ReturningUpdate[Any]
Processor = Callable[[Any], Any] | None


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
        found = statement.compile(dialect=dialect)
        if not isinstance(found, SQLCompiler):
            raise TypeError("a statement that is no SQL")
        self.text = found.string
        self._by_place = found.positiontup is not None
        self._fixed: dict[str, Any] = {}
        self._binds: list[tuple[str, Processor]] = []
        of_name = {name: bind for bind, name in found.bind_names.items()}
        for name in found.positiontup or of_name:
            bind = of_name[name]
            processor = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if not bind.required:  # a value of the statement itself
                self._fixed[name] = processor(bind.value) if processor else bind.value
                processor = None
            self._binds.append((name, processor))
        self._columns: list[Processor] = [
            column.type.dialect_impl(dialect).result_processor(dialect, None)
            for column in statement.exported_columns
        ]

    def bound(self, values: Mapping[str, Any]) -> Any:
        """What the driver is given: by place or by name, as it wants."""
        told = {**self._fixed, **values} if self._fixed else values
        if self._by_place:
            return tuple([p(told[n]) if p else told[n] for n, p in self._binds])
        return {n: p(told[n]) if p else told[n] for n, p in self._binds}

    def read(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """What the columns say."""
        return tuple(
            [p(value) if p else value for p, value in zip(self._columns, row, strict=True)]
        )
