"""Devices and their leases: one row per device, written by conditional updates.

A column is empty where others say what it would: ``presented`` is ``traits``, ``last_jti`` is
``lease_id``, ``lease_seq`` is ``seq``, ``asked_seq`` the number before it, ``last_contact_at`` is
``lease_iat`` and ``drift`` zero, as they are after every ordinary renewal. An ``asked_seq`` of -1
is none.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Update,
    bindparam,
    case,
    func,
    select,
    type_coerce,
    union_all,
    update,
)

from modelseal.errors import Misuse
from modelseal.server.store import packing, seats
from modelseal.server.store import tables as t
from modelseal.server.store.dialect import built_once, held, insert, writes_alone
from modelseal.server.store.rows import DeviceRow, many, one
from modelseal.server.store.types import KeyJwk, KeyThumbprint

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

PLACE = ("license_id", "device_id", "seq", "state", "status_value", "held")
"""Whoever decides about a device moves one of these on."""
ACTIVE = "active"
ENDED = "revoked"
HELD = 3
_NEVER = -1
_MOST_LOOKED_AT = 1000
_c = t.devices.c
_LEASE_SEQ = func.coalesce(_c.lease_seq, case((_c.lease_id.is_not(None), _c.seq)))
_LAST_CONTACT = func.coalesce(_c.last_contact_at, _c.lease_iat)
_READ: dict[str, ColumnElement[Any]] = {
    "jkt": type_coerce(_c.key, KeyThumbprint()),
    "jwk": type_coerce(_c.key, KeyJwk()),
    "presented": func.coalesce(_c.presented, _c.traits),
    "last_jti": func.coalesce(_c.last_jti, _c.lease_id),
    "lease_seq": _LEASE_SEQ,
    "asked_seq": func.nullif(func.coalesce(_c.asked_seq, _LEASE_SEQ - 1), _NEVER),
    "last_contact_at": _LAST_CONTACT,
    "drift": func.coalesce(_c.drift, 0),
}
_NAMES = [f.name for f in fields(DeviceRow)]
READ = [(_READ[name] if name in _READ else _c[name]).label(name) for name in _NAMES]
"""What a ``DeviceRow`` is read from, in the order of its fields."""
_TOGETHER = (
    frozenset({"jkt", "jwk"}),
    frozenset({"traits", "presented"}),
    frozenset({"seq", "last_jti", "lease_id", "lease_seq", "asked_seq"}),
    frozenset({"lease_iat", "last_contact_at"}),
)
# Built once: building a statement takes longer than carrying it out.
_ALL = select(*READ)
_GET = _ALL.where(_c.device_id == bindparam("device_id"))
_GET_OF = _GET.where(_c.license_id == bindparam("license_id"))
_BY_KEY = _ALL.where(_c.license_id == bindparam("license_id"), _c.key_mark == bindparam("mark"))
_d = t.delegations.c
_TAKEN = union_all(
    *(
        select(c.status_idx).where(
            c.status_list == bindparam("number"),
            c.status_idx.in_(bindparam("places", expanding=True)),
        )
        for c in (_c, _d)
    )
)
_NEW = {
    str(column.name): bindparam(f"new_{column.name}", type_=column.type) for column in t.devices.c
}
_FROM_HERE = update(t.devices).where(*(_c[name] == bindparam(f"old_{name}") for name in PLACE))


def columns(row: DeviceRow) -> dict[str, Any]:
    """What stands in the columns for ``row``."""
    return _columns(row, frozenset(_NAMES))


def _columns(row: DeviceRow, names: frozenset[str]) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in names - {"jkt", "jwk"}}
    if "jkt" in names:
        values["key_mark"] = packing.mark(row.jkt)
        values["key"] = packing.pack_key(row.jkt, row.jwk)
    if "presented" in names and row.presented == row.traits:
        values["presented"] = None
    if "last_jti" in names and row.last_jti == row.lease_id:
        values["last_jti"] = None
    if "lease_seq" in names and row.lease_id is not None and row.lease_seq == row.seq:
        values["lease_seq"] = None
    if "asked_seq" in names:
        before = None if row.lease_seq is None else row.lease_seq - 1
        asked = _NEVER if row.asked_seq is None else row.asked_seq
        values["asked_seq"] = None if asked == before else asked
    if "last_contact_at" in names and row.last_contact_at.replace(microsecond=0) == row.lease_iat:
        values["last_contact_at"] = None
    if "drift" in names:
        values["drift"] = row.drift or None
    return values


def _changes(row: DeviceRow, values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that ``values`` change in ``row``.

    An event that is not the newest lease's leaves that one to be answered again.
    """
    if "event_id" in values and "asked_seq" not in values and row.asked_seq is not None:
        answer = values.get("answer", row.answer) or {}
        values = {**values, "answer": {"event_id": row.event_id, **answer}}
    names = frozenset(values)
    for group in _TOGETHER:
        if group & names:
            names |= group
    return _columns(replace(row, **values), names)


def add(tx: Connection, row: DeviceRow, now: datetime) -> bool:
    """A new device, and its seat where it has one.

    False when the status index it drew is taken, or its license has no such seat at ``now``: it is
    not active, or has no more seats than are held.
    """
    values = {f"new_{name}": value for name, value in columns(row).items()}
    if row.seat_no is None:
        return tx.execute(_add(tx), values).rowcount == 1
    return tx.execute(add_seated(tx), values | {"now": now}).rowcount == 1


@built_once
def _add(tx: Connection) -> Insert:
    return _unless_drawn(insert(tx, t.devices).values(_NEW))


@built_once
def add_seated(tx: Connection) -> Insert:
    """What ``add`` does for a device that has a seat. Parameters: ``new_`` columns, ``now``."""
    room = seats.room(_NEW["license_id"], _NEW["seat_no"])
    allowed = select(*_NEW.values()).where(*room)
    return _unless_drawn(insert(tx, t.devices).from_select(list(_NEW), allowed))


def _unless_drawn(statement: sqlite.Insert | postgresql.Insert) -> Insert:
    return statement.on_conflict_do_nothing(index_elements=["status_list", "status_idx"])


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
    """The device of this license with this signing key.

    Raises ``Misuse`` for a key that was made to have the mark of another one.
    """
    known = {"license_id": license_id, "mark": packing.mark(jkt)}
    found = one(DeviceRow, tx.execute(_BY_KEY, known).first())
    if found is not None and found.jkt != jkt:
        raise Misuse("a key that looks like another device's")
    return found


def last_lease_end(tx: Connection) -> datetime | None:
    """When the last lease ends that was given out; None when none was."""
    found: datetime | None = tx.execute(select(func.max(t.devices.c.lease_exp))).scalar()
    return found


def change(tx: Connection, row: DeviceRow, **values: Any) -> bool:
    """``values`` written over ``row``; False when an act in between moved it on.

    Every act that decides about a device changes its ``seq``, ``state`` or ``status_value``, so
    this one statement is where a renewal and a revocation meet.
    """
    changes = _changes(row, values)
    old = {f"old_{name}": getattr(row, name) for name in PLACE}
    new = {f"new_{name}": value for name, value in changes.items()}
    return tx.execute(_change(frozenset(changes)), old | new).rowcount == 1


@functools.cache
def _change(names: frozenset[str]) -> Update:
    return _FROM_HERE.values({name: bindparam(f"new_{name}") for name in sorted(names)})


def of_license(tx: Connection, license_id: str, limit: int = 100_000) -> list[DeviceRow]:
    """Every device of a license, tombstones too, oldest first."""
    c = t.devices.c
    query = _ALL.where(c.license_id == license_id).order_by(c.device_id)
    return many(DeviceRow, tx.execute(query.limit(limit)))


def holders(tx: Connection, license_id: str, limit: int = 64) -> list[DeviceRow]:
    """Devices that hold a seat now, whose last contact is longest ago first.

    Of a license of very many seats they are of those that were given out first.
    """
    c = t.devices.c
    first = (
        select(c.device_id)
        .where(c.license_id == license_id, c.seat_no.is_not(None))
        .order_by(c.seat_no)
        .limit(_MOST_LOOKED_AT)
    )
    query = _ALL.where(c.license_id == license_id, c.device_id.in_(first), c.state == ACTIVE)
    return many(DeviceRow, tx.execute(query.order_by(_LAST_CONTACT).limit(limit)))


def page(tx: Connection, after: str, limit: int, license_id: str | None) -> list[DeviceRow]:
    """Devices in the order of their ids, after one id."""
    c = t.devices.c
    query = _ALL.where(c.device_id > after)
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

    Also for what relays gave of the license, unless their delegations were revoked. A held device
    that becomes valid again is still held.
    """
    c = t.devices.c
    mine = (c.license_id == license_id) & (c.state == of)
    lists = [*tx.execute(select(c.status_list).where(mine).distinct()).scalars()]
    given = (_d.license_id == license_id) & (_d.state != ENDED)
    lists += tx.execute(select(_d.status_list).where(given).distinct()).scalars()
    tx.execute(update(t.delegations).where(given).values(status_value=value))
    kept = case((c.held, HELD), else_=value) if value == 0 else value
    tx.execute(update(t.devices).where(mine).values(status_value=kept))
    return [int(number) for number in lists]


def statuses(tx: Connection, status_list: int) -> list[tuple[int, int]]:
    """Index and value of every entry of a list that is not zero."""
    entries = (
        select(c.status_idx, c.status_value).where(
            c.status_list == status_list, c.status_value != 0
        )
        for c in (_c, _d)
    )
    rows = tx.execute(union_all(*entries))
    return [(int(idx), int(value)) for idx, value in rows]


def taken(tx: Connection, status_list: int, places: Sequence[int]) -> set[int]:
    """Those of these places in a list that are a device's or a delegation's."""
    return set(tx.execute(_TAKEN, {"number": status_list, "places": places}).scalars())


def erase(tx: Connection, license_id: str, at: datetime) -> int:
    """Labels, traits, TPMs and reasons of a license's devices are gone; ids and keys stay."""
    done = tx.execute(
        update(t.devices)
        .where(t.devices.c.license_id == license_id)
        .values(label=None, traits=b"", presented=None, tpm=None, reason=None, ended_at=at)
    )
    return int(done.rowcount)


def forget_traits_of_trials(tx: Connection, license_id: str) -> None:
    """No trial of this license is recognised any more."""
    tx.execute(t.trial_traits.delete().where(t.trial_traits.c.license_id == license_id))
