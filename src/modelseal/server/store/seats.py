"""Seats: taken, moved and given back by one conditional write each, never count-then-insert."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Select, and_, exists, func, literal, or_, select, update

from modelseal.server.store import tables as t
from modelseal.server.store.dialect import insert
from modelseal.server.store.rows import SeatRow, many, one

_TRIES = 64


def take(tx: Connection, license_id: str, device_id: str, now: datetime) -> SeatRow | None:
    """A free seat of an active license is now the device's; None when there is none.

    The number is looked up, but the write alone decides: it takes the seat only when the license
    is active and has more seats than are held, and the seat was never taken or is free at ``now``.
    """
    for _ in range(_TRIES):
        number = _lowest_free(tx, license_id, now)
        if _take_number(tx, license_id, number, device_id, now):
            return by_number(tx, license_id, number)
        if not _has_seat(tx, license_id, number, now):
            return None
    return None


def _lowest_free(tx: Connection, license_id: str, now: datetime) -> int:
    c = t.seats.c
    free = and_(c.free_at.is_not(None), c.free_at <= now)
    again = tx.execute(
        select(func.min(c.seat_no)).where(c.license_id == license_id, free)
    ).scalar_one()
    if again is not None:
        return int(again)
    top = tx.execute(select(func.max(c.seat_no)).where(c.license_id == license_id)).scalar_one()
    return 1 if top is None else int(top) + 1


def _has_seat(tx: Connection, license_id: str, number: int, now: datetime) -> bool:
    c = t.licenses.c
    query = select(c.seats).where(c.license_id == license_id, c.state == "active")
    allowed = tx.execute(query).scalar()
    return allowed is not None and max(number, used(tx, license_id, now) + 1) <= int(allowed)


def _take_number(
    tx: Connection, license_id: str, number: int, device_id: str, now: datetime
) -> bool:
    allowed = select(t.licenses.c.license_id, literal(number), literal(device_id)).where(
        t.licenses.c.license_id == license_id,
        t.licenses.c.state == "active",
        t.licenses.c.seats >= number,
        t.licenses.c.seats > _held(license_id, now).scalar_subquery(),
    )
    statement = insert(tx, t.seats).from_select(["license_id", "seat_no", "device_id"], allowed)
    seat = t.seats.c
    done = tx.execute(
        statement.on_conflict_do_update(
            index_elements=["license_id", "seat_no"],
            set_={"device_id": device_id, "free_at": None},
            where=and_(seat.free_at.is_not(None), seat.free_at <= now),
        )
    )
    return done.rowcount == 1


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
    c = t.seats.c
    query = (
        select(t.seats)
        .where(c.license_id == license_id, c.device_id == device_id)
        .order_by(c.free_at.is_not(None), c.free_at.desc())
        .limit(1)
    )
    return one(SeatRow, tx.execute(query).first())


def by_number(tx: Connection, license_id: str, number: int) -> SeatRow | None:
    """One seat of a license."""
    c = t.seats.c
    query = select(t.seats).where(c.license_id == license_id, c.seat_no == number)
    return one(SeatRow, tx.execute(query).first())


def of_license(tx: Connection, license_id: str) -> list[SeatRow]:
    """The seats of a license that were ever taken."""
    c = t.seats.c
    query = select(t.seats).where(c.license_id == license_id).order_by(c.seat_no)
    return many(SeatRow, tx.execute(query))


def used(tx: Connection, license_id: str, now: datetime) -> int:
    """How many seats are taken at ``now``."""
    return int(tx.execute(_held(license_id, now)).scalar_one())


def overlaps(tx: Connection, license_id: str, now: datetime) -> int:
    """How many taken seats carry a lease of an earlier holder that may still be alive."""
    query = _held(license_id, now).where(t.seats.c.prior_until > now)
    return int(tx.execute(query).scalar_one())


def _held(license_id: str, now: datetime) -> Select[int]:
    c = t.seats.c
    held = or_(c.free_at.is_(None), c.free_at > now)
    return select(func.count()).select_from(t.seats).where(c.license_id == license_id, held)
