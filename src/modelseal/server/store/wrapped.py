"""Everything in the store that the key-encryption key wraps, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, and_, select, tuple_, update

from modelseal.server.store import tables as t

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (t.section_keys, t.secrets, t.idempotency, t.prepared_leases, t.webhook_secrets)
}
"""A test holds that no other table has a column ``wrapped``."""


@dataclass(frozen=True, slots=True)
class WrappedRow:
    """One wrapped value: its table, its primary key, its bytes."""

    table: str
    key: Mapping[str, Any]
    wrapped: bytes


def page(
    tx: Connection, name: str, after: Mapping[str, Any] | None, limit: int
) -> list[WrappedRow]:
    """Rows of one table in the order of their keys, after one key."""
    table = TABLES[name]
    columns = list(table.primary_key.columns)
    query = select(*columns, table.c.wrapped).order_by(*columns).limit(limit)
    if after is not None:
        query = query.where(tuple_(*columns) > tuple_(*(after[c.name] for c in columns)))
    return [
        WrappedRow(name, {c.name: row._mapping[c.name] for c in columns}, bytes(row.wrapped))
        for row in tx.execute(query)
    ]


def replace(tx: Connection, row: WrappedRow, wrapped: bytes) -> None:
    """The row holds ``wrapped`` where it still held what ``row`` says."""
    table = TABLES[row.table]
    same = and_(*(table.c[name] == value for name, value in row.key.items()))
    tx.execute(update(table).where(same, table.c.wrapped == row.wrapped).values(wrapped=wrapped))


def every(tx: Connection, step: int) -> Iterator[WrappedRow]:
    """Every row of every table."""
    for name in TABLES:
        after: Mapping[str, Any] | None = None
        while rows := page(tx, name, after, step):
            yield from rows
            after = rows[-1].key
