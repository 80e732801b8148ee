"""What relays may give by themselves: one row a relay, written by conditional updates."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from modelseal.server.store import tables as t
from modelseal.server.store.rows import DelegationRow, many, one, values

_c = t.delegations.c
_ALL = select(t.delegations)
_MANY = 1000


def get(tx: Connection, relay: str) -> DelegationRow | None:
    """What this relay may give."""
    return one(DelegationRow, tx.execute(_ALL.where(_c.relay == relay)).first())


def of_license(tx: Connection, license_id: str) -> list[DelegationRow]:
    """What every relay of a license may give."""
    query = _ALL.where(_c.license_id == license_id).order_by(_c.relay)
    return many(DelegationRow, tx.execute(query))


def page(tx: Connection, after: str, limit: int) -> list[DelegationRow]:
    """In the order of the relays' ids, after one id."""
    query = _ALL.where(_c.relay > after).order_by(_c.relay).limit(limit)
    return many(DelegationRow, tx.execute(query))


def add(tx: Connection, row: DelegationRow) -> None:
    """The relay's first one; the license's reserved seats follow. Under the license's lock."""
    tx.execute(t.delegations.insert(), values(row))
    _reserve(tx, row.license_id, row.reserved)


def change(tx: Connection, row: DelegationRow, **changes: Any) -> DelegationRow:
    """``changes`` written over ``row``; the license's reserved seats follow. Under its lock."""
    after = replace(row, **changes)
    mine = (_c.license_id == row.license_id) & (_c.relay == row.relay)
    tx.execute(update(t.delegations).where(mine).values(**changes))
    _reserve(tx, row.license_id, after.reserved - row.reserved)
    return after


def ended(tx: Connection, now: datetime) -> list[DelegationRow]:
    """Those that are over and for which seats are still reserved; some of very many."""
    over = _ALL.where(_c.reserved > 0, _c.ends_at <= now)
    query = over.order_by(_c.license_id, _c.relay).limit(_MANY)  # locks are taken in one order
    return many(DelegationRow, tx.execute(query))


def _reserve(tx: Connection, license_id: str, more: int) -> None:
    if more:
        c = t.licenses.c
        mine = update(t.licenses).where(c.license_id == license_id)
        tx.execute(mine.values(reserved=c.reserved + more))
