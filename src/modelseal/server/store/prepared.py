"""Leases prepared for devices without a network: made with one answer, given out one by one."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from modelseal.server.store import tables as t
from modelseal.server.store.rows import PreparedRow, many


def replace(tx: Connection, license_id: str, device_id: str, rows: list[PreparedRow]) -> None:
    """The device's prepared leases are exactly ``rows``; their codes too."""
    c = t.prepared_leases.c
    tx.execute(
        delete(t.prepared_leases).where(c.license_id == license_id, c.device_id == device_id)
    )
    if rows:
        tx.execute(t.prepared_leases.insert(), [asdict(row) for row in rows])


def of_device(tx: Connection, license_id: str, device_id: str) -> list[PreparedRow]:
    """Every prepared lease of a device, in the order of the chain."""
    c = t.prepared_leases.c
    query = select(t.prepared_leases).where(c.license_id == license_id, c.device_id == device_id)
    return many(PreparedRow, tx.execute(query.order_by(c.seq)))


def lease(tx: Connection, license_id: str, device_id: str, lease_id: str) -> str | None:
    """``lease_id`` when it was prepared for this device."""
    c = t.prepared_leases.c
    mine = (c.license_id == license_id) & (c.device_id == device_id) & (c.lease_id == lease_id)
    found: str | None = tx.execute(select(c.lease_id).where(mine)).scalar()
    return found


def give(tx: Connection, row: PreparedRow, at: datetime) -> bool:
    """The code of ``row`` was told at ``at``; False when it had been told before."""
    c = t.prepared_leases.c
    done = tx.execute(
        update(t.prepared_leases)
        .where(
            c.license_id == row.license_id,
            c.device_id == row.device_id,
            c.seq == row.seq,
            c.lease_id == row.lease_id,
            c.given_at.is_(None),
        )
        .values(given_at=at)
    )
    return done.rowcount == 1


def last_end(tx: Connection) -> datetime | None:
    """When the last lease that was ever prepared and is still kept ends."""
    found: datetime | None = tx.execute(select(func.max(t.prepared_leases.c.ends_at))).scalar()
    return found
