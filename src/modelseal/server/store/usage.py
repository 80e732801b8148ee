"""Usage: per device and meter the total it last told, and what of it fell into a period."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from modelseal.server.store import tables as t
from modelseal.server.store.dialect import insert


def tell(
    tx: Connection, license_id: str, device_id: str, meter: str, total: int, since: datetime
) -> None:
    """The device has counted ``total`` in all; what is new counts in the period from ``since`` on.

    A total that was told before, or a smaller one, adds nothing. The caller holds the license's
    lock.
    """
    c = t.usage.c
    mine = select(c.total, c.used, c.since).where(
        c.license_id == license_id, c.device_id == device_id, c.meter == meter
    )
    row = tx.execute(mine).first()
    before, used, of = (0, 0, since) if row is None else row
    values = {
        "total": max(total, before),
        "used": (used if of == since else 0) + max(0, total - before),
        "since": since,
    }
    where = {"license_id": license_id, "device_id": device_id, "meter": meter}
    tx.execute(
        insert(tx, t.usage)
        .values(**where, **values)
        .on_conflict_do_update(index_elements=list(where), set_=values)
    )


def used(tx: Connection, license_id: str, meter: str, since: datetime) -> int:
    """What all devices of a license have counted in the period from ``since`` on."""
    c = t.usage.c
    query = select(func.coalesce(func.sum(c.used), 0)).where(
        c.license_id == license_id, c.meter == meter, c.since == since
    )
    return int(tx.execute(query).scalar_one())
