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


def test_every_row_is_written_with_the_values_that_its_columns_read_again(shop: Shop) -> None:
    add = Bulk(lambda _tx: _HEADS.insert(), _HEADS.c.keys())
    rows = [_row(1), _row(2), _row(3, "o'clock; --")]
    assert shop.server.context.store.write(lambda tx: add.execute(tx, rows)) == 3
    assert shop.server.context.store.read(_read) == rows


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

    def twice(tx: Connection) -> None:
        with pytest.raises(DBAPIError):
            add.execute(tx, [_row(1), _row(1)])
        raise InternalError("taken back")

    with pytest.raises(InternalError):
        store.write(twice)
    assert store.read(_read) == []
