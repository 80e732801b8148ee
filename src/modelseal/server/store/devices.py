"""Devices and their leases: one row per device, written by conditional updates."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, select, update

from modelseal.server.store import tables as t
from modelseal.server.store.dialect import held, insert, writes_alone
from modelseal.server.store.rows import DeviceRow, many, one

# Built once: building a statement takes longer than carrying it out.
_GET = select(t.devices).where(t.devices.c.device_id == bindparam("device_id"))
_GET_OF = _GET.where(t.devices.c.license_id == bindparam("license_id"))
ACTIVE = "active"
HELD = 3


def add(tx: Connection, row: DeviceRow) -> bool:
    """A new device; False when the status index it drew is taken."""
    done = tx.execute(
        insert(tx, t.devices)
        .values(**asdict(row))
        .on_conflict_do_nothing(index_elements=["status_list", "status_idx"])
    )
    return done.rowcount == 1


def get(tx: Connection, device_id: str, license_id: str | None = None) -> DeviceRow | None:
    """The device with this id."""
    known = {"device_id": device_id, "license_id": license_id}
    return one(DeviceRow, tx.execute(_GET if license_id is None else _GET_OF, known).first())


def hold(tx: Connection, row: DeviceRow) -> None:
    """Nobody changes ``row`` before this transaction is over.

    What is answered without writing the row is so answered before a revocation, or not at all.
    """
    if writes_alone(tx):
        return
    c = t.devices.c
    mine = (c.license_id == row.license_id) & (c.device_id == row.device_id)
    tx.execute(held(tx, select(c.seq).where(mine)))


def by_key(tx: Connection, license_id: str, jkt: str) -> DeviceRow | None:
    """The device of this license with this signing key."""
    c = t.devices.c
    query = select(t.devices).where(c.license_id == license_id, c.jkt == jkt)
    return one(DeviceRow, tx.execute(query).first())


def last_lease_end(tx: Connection) -> datetime | None:
    """When the last lease ends that was given out; None when none was."""
    found: datetime | None = tx.execute(select(func.max(t.devices.c.lease_exp))).scalar()
    return found


def change(tx: Connection, row: DeviceRow, **values: Any) -> bool:
    """``values`` written over ``row``; False when an act in between moved it on.

    Every act that decides about a device changes its ``seq``, ``state`` or ``status_value``, so
    this one statement is where a renewal and a revocation meet.
    """
    c = t.devices.c
    done = tx.execute(
        update(t.devices)
        .where(
            c.license_id == row.license_id,
            c.device_id == row.device_id,
            c.seq == row.seq,
            c.state == row.state,
            c.status_value == row.status_value,
            c.held == row.held,
        )
        .values(**values)
    )
    return done.rowcount == 1


def of_license(tx: Connection, license_id: str, limit: int = 100_000) -> list[DeviceRow]:
    """Every device of a license, tombstones too, oldest first."""
    c = t.devices.c
    query = select(t.devices).where(c.license_id == license_id).order_by(c.device_id)
    return many(DeviceRow, tx.execute(query.limit(limit)))


def holders(tx: Connection, license_id: str, limit: int = 64) -> list[DeviceRow]:
    """The devices that hold a seat now."""
    c = t.devices.c
    query = (
        select(t.devices)
        .join(
            t.seats,
            (t.seats.c.license_id == c.license_id) & (t.seats.c.device_id == c.device_id),
        )
        .where(c.license_id == license_id, c.state == ACTIVE)
        .order_by(c.last_contact_at)
        .limit(limit)
    )
    return many(DeviceRow, tx.execute(query))


def page(tx: Connection, after: str, limit: int, license_id: str | None) -> list[DeviceRow]:
    """Devices in the order of their ids, after one id."""
    c = t.devices.c
    query = select(t.devices).where(c.device_id > after)
    if license_id is not None:
        query = query.where(c.license_id == license_id)
    return many(DeviceRow, tx.execute(query.order_by(c.device_id).limit(limit)))


def count_by_state(tx: Connection) -> dict[str, int]:
    """How many devices there are in each state."""
    c = t.devices.c
    rows = tx.execute(select(c.state, func.count()).group_by(c.state))
    return {state: int(number) for state, number in rows}


def set_status_of_license(
    tx: Connection, license_id: str, value: int, *, of: str = ACTIVE
) -> list[int]:
    """``value`` in the status list for every device in state ``of``; the lists it touched.

    A held device that becomes valid again is still held.
    """
    c = t.devices.c
    mine = (c.license_id == license_id) & (c.state == of)
    lists = tx.execute(select(c.status_list).where(mine).distinct()).scalars().all()
    kept = case((c.held, HELD), else_=value) if value == 0 else value
    tx.execute(update(t.devices).where(mine).values(status_value=kept))
    return [int(number) for number in lists]


def statuses(tx: Connection, status_list: int) -> list[tuple[int, int]]:
    """Index and value of every entry of a list that is not zero."""
    c = t.devices.c
    rows = tx.execute(
        select(c.status_idx, c.status_value).where(
            c.status_list == status_list, c.status_value != 0
        )
    )
    return [(int(idx), int(value)) for idx, value in rows]


def count_in_list(tx: Connection, status_list: int) -> int:
    """How many entries of a list are taken."""
    query = select(func.count()).where(t.devices.c.status_list == status_list)
    return int(tx.execute(query).scalar_one())


def erase(tx: Connection, license_id: str, at: datetime) -> int:
    """Labels, traits and reasons of a license's devices are gone; ids and keys stay."""
    done = tx.execute(
        update(t.devices)
        .where(t.devices.c.license_id == license_id)
        .values(label=None, traits=[], presented=[], reason=None, ended_at=at)
    )
    return int(done.rowcount)


def forget_traits_of_trials(tx: Connection, license_id: str) -> None:
    """No trial of this license is recognised any more."""
    tx.execute(t.trial_traits.delete().where(t.trial_traits.c.license_id == license_id))
