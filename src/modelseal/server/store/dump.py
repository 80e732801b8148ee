"""Every row of the store as lines of JSON, and back: the content of a backup of any kind of store.

``read`` undoes ``write``. The lines are of one schema version; rows of an older one are put into
tables of that version, which then come forward like every old store. Normative:
``docs/spec/store-backup.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from sqlalchemy import (
    Boolean,
    Connection,
    LargeBinary,
    MetaData,
    Table,
    column,
    insert,
    inspect,
    select,
    table,
    tuple_,
)

from modelseal.errors import BackupInvalid
from modelseal.server.store import tables
from modelseal.strict_json import JsonInvalid, b64u, unb64u

STEP = 500
TABLES = len(tables.metadata.tables)
_KINDS = ("bytes", "flag", "plain")
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz_0123456789")


def write(tx: Connection) -> Iterator[bytes]:
    """One line for each table, followed by one for each of its rows, in the order of their keys."""
    encode = msgspec.json.encode
    for each in tables.metadata.sorted_tables:
        columns = list(each.columns)
        kinds = [_kind(c.type) for c in columns]
        heads = [[str(c.name), kind] for c, kind in zip(columns, kinds, strict=True)]
        yield encode({"table": str(each.name), "columns": heads})
        for row in _rows(tx, each):
            yield encode([_out(value, kind) for value, kind in zip(row, kinds, strict=True)])


def _kind(kind: Any) -> str:
    kind = getattr(kind, "impl_instance", kind)
    if isinstance(kind, LargeBinary):
        return "bytes"
    return "flag" if isinstance(kind, Boolean) else "plain"


def _out(value: Any, kind: str) -> Any:
    if value is None or kind == "plain":
        return value
    return bool(value) if kind == "flag" else b64u(bytes(value))


def _rows(tx: Connection, of: Table) -> Iterator[tuple[Any, ...]]:
    """Every row as the database has it, a page at a time: memory stays the same for any number."""
    bare = table(of.name, *(column(c.name) for c in of.columns))
    keys = [bare.c[c.name] for c in of.primary_key.columns]
    places = [list(of.columns).index(c) for c in of.primary_key.columns]
    after: list[Any] | None = None
    while True:
        query = select(bare).order_by(*keys).limit(STEP)
        if after is not None:
            query = query.where(tuple_(*keys) > tuple_(*after))
        page = tx.execute(query).all()
        yield from (tuple(row) for row in page)
        if len(page) < STEP:
            return
        after = [page[-1][place] for place in places]


def clear(tx: Connection) -> None:
    """The store has no table."""
    found = MetaData()
    found.reflect(tx)
    found.drop_all(tx)


def read(tx: Connection, lines: Iterable[bytes]) -> int:
    """How many rows of ``lines`` stand in the tables now, which are there and empty.

    Raises ``BackupInvalid`` for what ``write`` does not write.
    """
    there = frozenset(inspect(tx).get_table_names())
    count, into, kinds, names = 0, "", list[str](), list[str]()
    waiting: list[dict[str, Any]] = []
    for line in lines:
        value = _decoded(line)
        if isinstance(value, dict):
            _put(tx, into, names, waiting)
            into, names, kinds = _heading(value)
            if into not in there:
                raise BackupInvalid(f"a table that this schema does not have: {into}")
            continue
        if not isinstance(value, list) or not into or len(value) != len(names):
            raise BackupInvalid("a row that is none")
        taken = (_in(item, kind) for item, kind in zip(value, kinds, strict=True))
        waiting.append(dict(zip(names, taken, strict=True)))
        count += 1
        if len(waiting) >= STEP:
            _put(tx, into, names, waiting)
    _put(tx, into, names, waiting)
    return count


def _put(tx: Connection, into: str, names: list[str], rows: list[dict[str, Any]]) -> None:
    if rows:
        tx.execute(insert(table(into, *map(column, names))), rows)
        rows.clear()


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise BackupInvalid("a line that is no JSON") from None


def _heading(value: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    name, columns = value.get("table"), value.get("columns")
    if (
        not isinstance(name, str)
        or not _is_name(name)
        or not isinstance(columns, list)
        or not columns
    ):
        raise BackupInvalid("a table without a name or columns")
    names, kinds = [], []
    for each in columns:
        if not (isinstance(each, list) and len(each) == 2 and _is_name(each[0])):
            raise BackupInvalid("a column without a name")
        if each[1] not in _KINDS:
            raise BackupInvalid("a column of an unknown kind")
        names.append(each[0])
        kinds.append(each[1])
    return name, names, kinds


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 64 and set(value) <= _NAME_CHARACTERS


def _in(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "bytes" and isinstance(value, str):
        try:
            return unb64u(value)
        except JsonInvalid:
            raise BackupInvalid("bytes that are no base64url") from None
    fits = isinstance(value, bool) if kind == "flag" else _is_plain(value)
    if kind == "bytes" or not fits:
        raise BackupInvalid("a value of another kind than its column")
    return value


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)
