"""Seats: taken, moved and given back by one conditional write each, never count-then-insert.

A seat is a number in its device's row, and no two rows of a license have the same. The numbers of
a license begin at 1 and leave none out, for whoever takes a free one takes it from the row that
had it: so the next seat that nobody ever had is the one after the highest. Seats that are reserved
for relays are not given here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Update,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    or_,
    select,
    true,
    update,
)

from modelseal.server.store import tables as t
from modelseal.server.store.rows import SeatRow, many, one
from modelseal.server.store.types import Second

_c, _l = t.devices.c, t.licenses.c
SEATS = _l.seats - _l.reserved
"""How many seats a license has to give."""
_NOW = bindparam("now", type_=Second())
_OF = _c.license_id == bindparam("of")
_DEVICE = _c.device_id == bindparam("device")
_NUMBER = bindparam("number", type_=Integer)
_ALL = select(*(_c[field.name] for field in fields(SeatRow)))
_HELD = and_(_c.seat_no.is_not(None), or_(_c.free_at.is_(None), _c.free_at > _NOW))
_USED = select(func.count()).where(_OF, _HELD)
_OVERLAPS = _USED.where(_c.prior_until > _NOW)
_WAITS = select(func.min(_c.free_at)).where(_OF, _c.free_at > _NOW, _c.seat_no.is_not(None))
_OF_DEVICE = _ALL.where(_OF, _DEVICE, _c.seat_no.is_not(None))
_OF_LICENSE = _ALL.where(_OF, _c.seat_no.is_not(None)).order_by(_c.seat_no)


def _crowded() -> ColumnElement[bool]:
    """True when as many seats are held as a license has to give, though a number of it is free.

    That is so only where seats above its number are held since it had more; then all are counted.
    """
    d = t.devices.alias()
    taken = or_(d.c.free_at.is_(None), d.c.free_at > _NOW)
    mine = d.c.license_id == _l.license_id
    above = (  # ordered, so that the index of numbers is read and nothing else
        select(d.c.seat_no)
        .where(mine, d.c.seat_no.is_not(None), d.c.seat_no > SEATS, taken)
        .order_by(d.c.seat_no)
        .limit(1)
        .correlate(t.licenses)
        .scalar_subquery()
    )
    count = select(func.count()).select_from(d).where(mine, d.c.seat_no.is_not(None), taken)
    return case((above.is_not(None), count.scalar_subquery() >= SEATS), else_=false())


def room(of: ColumnElement[Any], number: ColumnElement[int]) -> tuple[ColumnElement[bool], ...]:
    """Under which conditions on a row of ``licenses`` a device may have the free seat ``number``.

    Parameter: ``now``.
    """
    return (
        _l.license_id == of,
        _l.state == "active",
        number <= SEATS,
        case((_crowded(), false()), else_=true()),
    )


FREE = (
    select(_c.seat_no)
    .where(
        _c.license_id == _l.license_id,
        _c.free_at.is_not(None),
        _c.free_at <= _NOW,
        _c.seat_no <= SEATS,
    )
    .order_by(_c.free_at)
    .limit(1)
    .correlate(t.licenses)
    .scalar_subquery()
)
"""A free seat that was somebody's, of the license of the statement round it. Parameter: ``now``."""
TOP = (
    select(_c.seat_no)
    .where(_c.license_id == _l.license_id, _c.seat_no.is_not(None))
    .order_by(_c.seat_no.desc())
    .limit(1)
    .correlate(t.licenses)
    .scalar_subquery()
)
"""The highest number of a seat that was ever taken."""
_NEXT = select(
    FREE,
    TOP,
    SEATS.label("seats"),
    _crowded().label("crowded"),
).where(_l.license_id == bindparam("of"), _l.state == "active")
_ANY = select(FREE, TOP).where(_l.license_id == bindparam("of"))
_OF_NUMBER = _ALL.where(_OF, _c.seat_no == _NUMBER)
_NONE: dict[str, None] = {"seat_no": None, "free_at": None, "prior_until": None}
_PUT = (
    update(t.devices)
    .where(_OF, _DEVICE)
    .values(
        {
            name: bindparam(f"new_{name}", type_=t.devices.c[name].type)
            for name in ("seat_no", "free_at", "prior_until")
        }
    )
)
_TAKE = _PUT.where(exists().where(*room(bindparam("of"), bindparam("number", type_=Integer))))
_LET_GO = (
    update(t.devices)
    .where(_OF, _DEVICE, _c.seat_no == _NUMBER, _c.free_at.is_not(None), _c.free_at <= _NOW)
    .values(_NONE)
)


@dataclass(frozen=True, slots=True)
class Offer:
    """A seat that is nobody's any more, for a device that has none.

    Until ``prior_until`` a lease of an earlier holder may still be alive. ``of`` is that holder.
    """

    seat_no: int
    prior_until: datetime | None = None
    of: str | None = None


def offer(tx: Connection, license_id: str, now: datetime) -> Offer | None:
    """A free seat of an active license; None when there is none.

    It is looked up, but the write alone decides: ``devices.add`` of a new device, or ``take``.
    """
    found = tx.execute(_NEXT, {"of": license_id, "now": now}).first()
    if found is None or found.crowded:
        return None
    free, top, seats, _ = found
    if free is None:
        number = int(top or 0) + 1
        return Offer(number) if number <= seats else None
    seat = one(SeatRow, tx.execute(_OF_NUMBER, {"of": license_id, "number": free}).first())
    if seat is None or not _let_go(tx, seat, now):
        return None
    return Offer(seat.seat_no, seat.prior_until, seat.device_id)


def take(tx: Connection, license_id: str, device_id: str, now: datetime) -> int | None:
    """A free seat is the device's, which the license knows: its number, None when there is none.

    Its own where that is free. The write takes it only when the license is active and has more
    seats than are held, and its number is nobody else's.
    """
    mine = of_device(tx, license_id, device_id)
    if mine is not None and _put(tx, mine, device_id, mine.prior_until, now):
        return mine.seat_no
    free = offer(tx, license_id, now)
    if free is None:
        return None
    wanted = SeatRow(license_id, free.seat_no, device_id, None, free.prior_until)
    if mine is not None and free.of is not None:
        _swap(tx, mine, free.of)
    return free.seat_no if _put(tx, wanted, device_id, free.prior_until, now) else None


def give(tx: Connection, license_id: str, device_id: str, now: datetime) -> int:
    """A seat that was promised is the device's, which the license knows: its number.

    Whatever the state of the license is by now, and above its number where that was lowered since.
    """
    mine = of_device(tx, license_id, device_id)
    number, prior = (None, None) if mine is None else (mine.seat_no, mine.prior_until)
    if number is None:
        free, top = tx.execute(_ANY, {"of": license_id, "now": now}).one()
        number, asked = int(top or 0) + 1, {"of": license_id, "number": free}
        seat = None if free is None else one(SeatRow, tx.execute(_OF_NUMBER, asked).first())
        if seat is not None and _let_go(tx, seat, now):
            number, prior = seat.seat_no, seat.prior_until
    here = {"of": license_id, "device": device_id, "new_seat_no": number}
    tx.execute(_PUT, here | {"new_free_at": None, "new_prior_until": prior})
    return number


def _let_go(tx: Connection, seat: SeatRow, now: datetime) -> bool:
    mine = {"of": seat.license_id, "device": seat.device_id, "number": seat.seat_no, "now": now}
    return tx.execute(_LET_GO, mine).rowcount == 1


def _put(
    tx: Connection, seat: SeatRow, device_id: str, prior_until: datetime | None, now: datetime
) -> bool:
    wanted = {
        "of": seat.license_id, "device": device_id, "number": seat.seat_no, "now": now,
        "new_seat_no": seat.seat_no, "new_free_at": None, "new_prior_until": prior_until,
    }  # fmt: skip
    return tx.execute(_TAKE, wanted).rowcount == 1


def _swap(tx: Connection, seat: SeatRow, other: str) -> None:
    """The number of ``seat``, which its device leaves for another, is not left out: ``other``'s."""
    here = {"of": seat.license_id, "device": seat.device_id}
    tx.execute(_PUT, here | {f"new_{name}": None for name in _NONE})
    there = {"of": seat.license_id, "device": other, "new_seat_no": seat.seat_no}
    tx.execute(_PUT, there | {"new_free_at": seat.free_at, "new_prior_until": seat.prior_until})


def move(tx: Connection, seat: SeatRow, new: str, old_lease_exp: datetime, now: datetime) -> bool:
    """The seat is nobody's but ``new``'s, unless two leases already live on it.

    Where the license knows ``new`` its row has it, with ``prior_until`` as ``old_lease_exp``.
    """
    mine = of_device(tx, seat.license_id, new)
    done = tx.execute(
        update(t.devices)
        .where(
            _c.license_id == seat.license_id,
            _c.device_id == seat.device_id,
            _c.seat_no == seat.seat_no,
            or_(_c.prior_until.is_(None), _c.prior_until <= now),
            exists().where(_l.license_id == seat.license_id, _l.state == "active"),
        )
        .values(_NONE)
    )
    if done.rowcount != 1:
        return False
    if mine is not None:
        _swap(tx, mine, seat.device_id)
    there = {"of": seat.license_id, "device": new, "new_seat_no": seat.seat_no}
    tx.execute(_PUT, there | {"new_free_at": None, "new_prior_until": old_lease_exp})
    return True


def give_back(
    tx: Connection, seat: SeatRow, free_at: datetime, prior_until: datetime | None
) -> bool:
    """The seat is free from ``free_at`` on; False when it is another device's by now."""
    done = tx.execute(_of(seat).values(free_at=free_at, prior_until=prior_until))
    return done.rowcount == 1


def take_back(tx: Connection, seat: SeatRow) -> bool:
    """A seat that is still waiting for its last holder's lease is held by it again."""
    active = exists().where(_l.license_id == seat.license_id, _l.state == "active")
    done = tx.execute(_of(seat).where(_c.free_at == seat.free_at, active).values(free_at=None))
    return done.rowcount == 1


def _of(seat: SeatRow) -> Update:
    return update(t.devices).where(
        _c.license_id == seat.license_id,
        _c.device_id == seat.device_id,
        _c.seat_no == seat.seat_no,
    )


def of_device(tx: Connection, license_id: str, device_id: str) -> SeatRow | None:
    """The seat that is the device's, or the last that was and is nobody else's yet."""
    asked = {"of": license_id, "device": device_id}
    return one(SeatRow, tx.execute(_OF_DEVICE, asked).first())


def of_license(tx: Connection, license_id: str) -> list[SeatRow]:
    """The seats of a license that were ever taken."""
    return many(SeatRow, tx.execute(_OF_LICENSE, {"of": license_id}))


def next_free_at(tx: Connection, license_id: str, now: datetime) -> datetime | None:
    """When the first of the seats is free that wait for their last holders' leases to end."""
    found: datetime | None = tx.execute(_WAITS, {"of": license_id, "now": now}).scalar()
    return found


def used(tx: Connection, license_id: str, now: datetime) -> int:
    """How many seats are taken at ``now``."""
    return int(tx.execute(_USED, {"of": license_id, "now": now}).scalar_one())


def overlaps(tx: Connection, license_id: str, now: datetime) -> int:
    """How many taken seats carry a lease of an earlier holder that may still be alive."""
    return int(tx.execute(_OVERLAPS, {"of": license_id, "now": now}).scalar_one())
