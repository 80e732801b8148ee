"""Which relay holds the codes of leases made ahead, and what was said of each since."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from modelseal.server.store import tables as t
from modelseal.server.store.rows import RelayedRow, many

_c = t.relayed_leases.c


def of_device(
    tx: Connection, license_id: str, device_id: str, base: str | None = None
) -> list[RelayedRow]:
    """Every row of a device, or those of one answer: of each relay that holds its leases ahead."""
    query = select(t.relayed_leases).where(_c.license_id == license_id, _c.device_id == device_id)
    if base is not None:
        query = query.where(_c.base == base)
    return many(RelayedRow, tx.execute(query.order_by(_c.base, _c.relay)))


def add(tx: Connection, row: RelayedRow) -> None:
    """The row stands. The caller holds the license's lock."""
    tx.execute(t.relayed_leases.insert(), [asdict(row)])


def change(tx: Connection, row: RelayedRow, **values: Any) -> None:
    """The row has ``values``. The caller holds the license's lock."""
    tx.execute(
        update(t.relayed_leases)
        .where(
            _c.license_id == row.license_id,
            _c.device_id == row.device_id,
            _c.base == row.base,
            _c.relay == row.relay,
        )
        .values(**values)
    )


def unsettled(tx: Connection, relay: str, before: datetime, limit: int) -> list[RelayedRow]:
    """Rows of a relay that its report has to settle: told before, or shown and not reported.

    What happened at the very moment ``before`` may have happened after it.
    """
    told = (_c.told_at < before) & _c.closed_at.is_(None)
    untold = _c.settled_at.is_(None) | (_c.settled_at <= _c.shown_at)
    silent = (_c.shown > _c.released) & (_c.shown_at < before) & untold
    query = select(t.relayed_leases).where(_c.relay == relay, told | silent)
    return many(RelayedRow, tx.execute(query.order_by(_c.license_id, _c.base).limit(limit)))


def count(tx: Connection, relay: str) -> int:
    """Of how many answers a relay holds leases ahead, or held them not long ago."""
    query = select(func.count()).select_from(t.relayed_leases).where(_c.relay == relay)
    return int(tx.execute(query).scalar_one())


def count_found(tx: Connection, relay: str) -> int:
    """About how many answers of a relay something was found."""
    query = select(func.count()).select_from(t.relayed_leases)
    return int(tx.execute(query.where(_c.relay == relay, _c.found.is_not(None))).scalar_one())


def forget(tx: Connection, relay: str, ended_before: datetime) -> None:
    """Rows of leases that ended before that and about which nothing was found are gone."""
    tx.execute(
        delete(t.relayed_leases).where(
            _c.relay == relay, _c.ends_at < ended_before, _c.found.is_(None)
        )
    )
