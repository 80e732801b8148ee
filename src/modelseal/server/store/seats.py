"""Seats: taken, moved and given back by one conditional write each, never count-then-insert."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    Connection,
    Insert,
    Integer,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)

from modelseal.server.store import tables as t
from modelseal.server.store.dialect import built_once, insert
from modelseal.server.store.rows import SeatRow, many, one
from modelseal.server.store.types import Instant

_TRIES = 64
_c, _NOW = t.seats.c, bindparam("now", type_=Instant)
_FREE = and_(_c.free_at.is_not(None), _c.free_at <= _NOW)
_OF = _c.license_id == bindparam("of")
_TOP = select(func.min(_c.seat_no).filter(_FREE), func.max(_c.seat_no)).where(_OF)
_USED = (
    select(func.count())
    .select_from(t.seats)
    .where(_OF, or_(_c.free_at.is_(None), _c.free_at > _NOW))
)
_OVERLAPS = _USED.where(_c.prior_until > _NOW)
_OF_DEVICE = (
    select(t.seats)
    .where(_OF, _c.device_id == bindparam("device_id"))
    .order_by(_c.free_at.is_not(None), _c.free_at.desc())
    .limit(1)
)
_ALLOWED = select(t.licenses.c.seats).where(
    t.licenses.c.license_id == bindparam("of"), t.licenses.c.state == "active"
)


def take(tx: Connection, license_id: str, device_id: str, now: datetime) -> int | None:
    """A free seat of an active license is now the device's: its number, None when there is none.

    The number is looked up, but the write alone decides: it takes the seat only when the license
    is active and has more seats than are held, and the seat was never taken or is free at ``now``.
    """
    for _ in range(_TRIES):
        number = _lowest_free(tx, license_id, now)
        if _take_number(tx, license_id, number, device_id, now):
            return number
        if not _has_seat(tx, license_id, number, now):
            return None
    return None


def _lowest_free(tx: Connection, license_id: str, now: datetime) -> int:
    free, top = tx.execute(_TOP, {"of": license_id, "now": now}).one()
    return int(free) if free is not None else int(top or 0) + 1


def _has_seat(tx: Connection, license_id: str, number: int, now: datetime) -> bool:
    allowed = tx.execute(_ALLOWED, {"of": license_id}).scalar()
    return allowed is not None and max(number, used(tx, license_id, now) + 1) <= int(allowed)


def _take_number(
    tx: Connection, license_id: str, number: int, device_id: str, now: datetime
) -> bool:
    wanted = {"of": license_id, "number": number, "device_id": device_id, "now": now}
    return tx.execute(_take(tx), wanted).rowcount == 1


@built_once
def _take(tx: Connection) -> Insert:
    number, device = (
        bindparam("number", type_=Integer),
        bindparam("device_id", type_=t.seats.c.device_id.type),
    )
    c = t.licenses.c
    allowed = select(c.license_id, number, device).where(
        c.license_id == bindparam("of"),
        c.state == "active",
        c.seats >= number,
        c.seats > _USED.scalar_subquery(),
    )
    return (
        insert(tx, t.seats)
        .from_select(["license_id", "seat_no", "device_id"], allowed)
        .on_conflict_do_update(
            index_elements=["license_id", "seat_no"],
            set_={"device_id": device, "free_at": None},
            where=_FREE,
        )
    )


def move(tx: Connection, seat: SeatRow, new: str, old_lease_exp: datetime, now: datetime) -> bool:
    """The seat is ``new``'s at once, unless two leases already live on it."""
    c = t.seats.c
    done = tx.execute(
        update(t.seats)
        .where(
            c.license_id == seat.license_id,
            c.seat_no == seat.seat_no,
            c.device_id == seat.device_id,
            or_(c.prior_until.is_(None), c.prior_until <= now),
            exists().where(
                t.licenses.c.license_id == seat.license_id, t.licenses.c.state == "active"
            ),
        )
        .values(device_id=new, free_at=None, prior_until=old_lease_exp)
    )
    return done.rowcount == 1


def give_back(
    tx: Connection, seat: SeatRow, free_at: datetime, prior_until: datetime | None
) -> bool:
    """The seat is free from ``free_at`` on; False when it is another device's by now."""
    c = t.seats.c
    done = tx.execute(
        update(t.seats)
        .where(
            c.license_id == seat.license_id,
            c.seat_no == seat.seat_no,
            c.device_id == seat.device_id,
        )
        .values(free_at=free_at, prior_until=prior_until)
    )
    return done.rowcount == 1


def take_back(tx: Connection, seat: SeatRow) -> bool:
    """A seat that is still waiting for its last holder's lease is held by it again."""
    c = t.seats.c
    done = tx.execute(
        update(t.seats)
        .where(
            c.license_id == seat.license_id,
            c.seat_no == seat.seat_no,
            c.device_id == seat.device_id,
            c.free_at == seat.free_at,
            exists().where(
                t.licenses.c.license_id == seat.license_id, t.licenses.c.state == "active"
            ),
        )
        .values(free_at=None)
    )
    return done.rowcount == 1


def of_device(tx: Connection, license_id: str, device_id: str) -> SeatRow | None:
    """The seat that is the device's, or the last that was and is nobody else's yet."""
    asked = {"of": license_id, "device_id": device_id}
    return one(SeatRow, tx.execute(_OF_DEVICE, asked).first())


def of_license(tx: Connection, license_id: str) -> list[SeatRow]:
    """The seats of a license that were ever taken."""
    c = t.seats.c
    query = select(t.seats).where(c.license_id == license_id).order_by(c.seat_no)
    return many(SeatRow, tx.execute(query))


def used(tx: Connection, license_id: str, now: datetime) -> int:
    """How many seats are taken at ``now``."""
    return int(tx.execute(_USED, {"of": license_id, "now": now}).scalar_one())


def overlaps(tx: Connection, license_id: str, now: datetime) -> int:
    """How many taken seats carry a lease of an earlier holder that may still be alive."""
    return int(tx.execute(_OVERLAPS, {"of": license_id, "now": now}).scalar_one())
