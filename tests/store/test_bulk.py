"""A statement for many rows writes what SQLAlchemy itself would write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.exc import DBAPIError
from tests.server.world import Shop

from modelseal.errors import InternalError
from modelseal.server.store import tables as t
from modelseal.server.store.bulk import Bulk
from modelseal.server.store.dialect import insert

_AT = datetime(2026, 5, 4, 3, 2, 1, 654321, tzinfo=UTC)
_HEADS = t.log_heads


def _row(size: int, note: str = "n") -> dict[str, Any]:
    return {"size": 1000 + size, "root_hash": bytes([size] * 32), "at": _AT, "note": note}


def _read(tx: Connection) -> list[dict[str, Any]]:
    found = tx.execute(select(_HEADS).where(_HEADS.c.size >= 1000).order_by(_HEADS.c.size))
    return [dict(row._mapping) for row in found]


@pytest.mark.parametrize("count", [1, 3, 4, 40])
def test_every_row_is_written_with_the_values_that_its_columns_read_again(
    shop: Shop, count: int
) -> None:
    add = Bulk(lambda _tx: _HEADS.insert(), ["note", "at", "size", "root_hash"])
    rows = [_row(size, "o'clock; --\\N\t\n" if size % 2 else "n") for size in range(count)]
    assert shop.server.context.store.write(lambda tx: add.execute(tx, rows)) == count
    assert shop.server.context.store.read(_read) == rows


def test_a_row_of_every_kind_of_column_is_read_again_also_where_it_is_empty(shop: Shop) -> None:
    store, e = shop.server.context.store, t.events
    ids = [shop.server.context.new_id("evt", _AT) for _ in range(5)]
    rows: list[dict[str, Any]] = [
        {
            "event_id": name, "at": _AT, "kind": "lease_renewed", "license_id": None,
            "device_id": "odd", "customer_id": None, "reference": "ABCDEFGH",
            "decision": bool(n % 2), "body": b"\0\xff", "personal": {"a": "\u2028"} if n else None,
        }
        for n, name in enumerate(ids)
    ]  # fmt: skip
    add = Bulk(lambda _tx: e.insert(), e.c.keys())
    assert store.write(lambda tx: add.execute(tx, rows)) == 5
    query = select(e).where(e.c.event_id.in_(ids)).order_by(e.c.event_id)
    found = store.read(lambda tx: [dict(row._mapping) for row in tx.execute(query)])
    assert found == sorted(rows, key=lambda row: row["event_id"])


def test_what_the_statement_itself_says_goes_into_every_row(shop: Shop) -> None:
    store = shop.server.context.store
    add = Bulk(lambda tx: insert(tx, _HEADS).on_conflict_do_nothing(), _HEADS.c.keys())
    change = (
        update(_HEADS)
        .where(_HEADS.c.size == bindparam("of"), _HEADS.c.note == "n")
        .values(note="changed", at=bindparam("new_at"))
    )
    move = Bulk(lambda _tx: change, ["of", "new_at"])
    later = _AT.replace(year=2027)
    store.write(lambda tx: add.execute(tx, [_row(1), _row(2, "other"), _row(3)]))
    asked = [{"of": 1000 + size, "new_at": later} for size in (1, 2, 3)]
    assert store.write(lambda tx: move.execute(tx, asked)) == 2
    changed = {"note": "changed", "at": later}
    assert store.read(_read) == [_row(1) | changed, _row(2, "other"), _row(3) | changed]
    assert store.write(lambda tx: add.execute(tx, [_row(3), _row(4)])) == 1


def test_a_value_that_its_column_does_not_take_is_refused_and_nothing_is_written(
    shop: Shop,
) -> None:
    store = shop.server.context.store
    add = Bulk(lambda _tx: _HEADS.insert(), _HEADS.c.keys())
    with pytest.raises(KeyError):
        store.write(lambda tx: add.execute(tx, [_row(1), {"size": 1002}]))
    word = Bulk(lambda _tx: update(t.devices).values(state=bindparam("new_state")), ["new_state"])
    with pytest.raises(InternalError):
        store.write(lambda tx: word.execute(tx, [{"new_state": "no such state"}]))

    def twice(tx: Connection, others: int) -> None:
        with pytest.raises(DBAPIError):
            add.execute(tx, [_row(1), _row(1), *(_row(2 + n) for n in range(others))])
        raise InternalError("taken back")

    for others in (0, 9):
        with pytest.raises(InternalError):
            store.write(twice, others)
    assert store.read(_read) == []
