"""Licenses, what was spent of their allowances, and trials."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, or_, select, update

from modelseal.server.store import tables as t
from modelseal.server.store.dialect import insert
from modelseal.server.store.ready import Ready
from modelseal.server.store.rows import LicenseRow, many, one
from modelseal.server.store.rows import values as values_of

_ADD = t.licenses.insert()
_GET = select(t.licenses).where(t.licenses.c.license_id == bindparam("license_id"))
_BY_KEY_HASH = select(t.licenses).where(t.licenses.c.key_hash == bindparam("key_hash"))
_LOCK = (
    update(t.licenses)
    .where(t.licenses.c.license_id == bindparam("of"))
    .values(state=t.licenses.c.state)
)
_LOCK_BY_KEY_HASH = Ready(
    lambda _tx: (
        update(t.licenses)
        .where(t.licenses.c.key_hash == bindparam("of"))
        .values(state=t.licenses.c.state)
        .returning(*(t.licenses.c[field.name] for field in fields(LicenseRow)))
    )
)
_SPENT = select(func.count()).where(
    t.spends.c.license_id == bindparam("license_id"),
    t.spends.c.kind == bindparam("kind"),
    t.spends.c.at > bindparam("since"),
)


def add(tx: Connection, row: LicenseRow) -> None:
    """A new license."""
    tx.execute(_ADD, values_of(row))


def get(tx: Connection, license_id: str) -> LicenseRow | None:
    """The license with this id."""
    return one(LicenseRow, tx.execute(_GET, {"license_id": license_id}).first())


def by_key_hash(tx: Connection, key_hash: bytes) -> LicenseRow | None:
    """The license whose license key has this keyed hash."""
    return one(LicenseRow, tx.execute(_BY_KEY_HASH, {"key_hash": key_hash}).first())


def lock_by_key_hash(tx: Connection, key_hash: bytes) -> LicenseRow | None:
    """The same, for the license whose license key has this keyed hash, as it is from here on."""
    row = _LOCK_BY_KEY_HASH.first(tx, {"of": key_hash})
    return None if row is None else LicenseRow(*row)


def lock(tx: Connection, license_id: str) -> None:
    """From here to the end of the transaction nobody else spends from this license.

    A write that changes nothing takes the row's lock on every database.
    """
    tx.execute(_LOCK, {"of": license_id})


def change(tx: Connection, row: LicenseRow, **values: Any) -> bool:
    """``values`` written over ``row``; False when the row changed since it was read."""
    c = t.licenses.c
    done = tx.execute(
        update(t.licenses)
        .where(c.license_id == row.license_id, c.version == row.version)
        .values(version=row.version + 1, **values)
    )
    return done.rowcount == 1


def page(
    tx: Connection,
    after: str,
    limit: int,
    *,
    customer_id: str | None = None,
    state: str | None = None,
    now: datetime,
) -> list[LicenseRow]:
    """Licenses in the order of their ids, after one id."""
    c = t.licenses.c
    query = select(t.licenses).where(c.license_id > after)
    if customer_id is not None:
        query = query.where(c.customer_id == customer_id)
    ended = and_(c.ends_at.is_not(None), c.ends_at <= now)
    if state == "expired":
        query = query.where(ended, c.state != "revoked")
    elif state == "active":
        query = query.where(c.state == "active", or_(c.ends_at.is_(None), c.ends_at > now))
    elif state is not None:
        query = query.where(c.state == state)
    return many(LicenseRow, tx.execute(query.order_by(c.license_id).limit(limit)))


def count_by_state(tx: Connection) -> dict[str, int]:
    """How many licenses there are in each state."""
    c = t.licenses.c
    rows = tx.execute(select(c.state, func.count()).group_by(c.state))
    return {state: int(number) for state, number in rows}


def spend(
    tx: Connection, license_id: str, kind: str, device_id: str, at: datetime, event_id: str
) -> None:
    """One of an allowance is used. The caller holds the license's lock and looked first."""
    tx.execute(
        t.spends.insert().values(
            license_id=license_id, kind=kind, device_id=device_id, at=at, event_id=event_id
        )
    )


def spent(tx: Connection, license_id: str, kind: str, since: datetime) -> int:
    """How many of an allowance were used after ``since``."""
    asked = {"license_id": license_id, "kind": kind, "since": since}
    return int(tx.execute(_SPENT, asked).scalar_one())


def spent_by(tx: Connection, license_id: str, kind: str, since: datetime) -> int:
    """How many devices used some of an allowance after ``since``."""
    c = t.spends.c
    query = select(func.count(c.device_id.distinct())).where(
        c.license_id == license_id, c.kind == kind, c.at > since
    )
    return int(tx.execute(query).scalar_one())


def spent_of(tx: Connection, license_id: str, kind: str, device_id: str, since: datetime) -> int:
    """How many of an allowance this one used after ``since``."""
    c = t.spends.c
    query = select(func.count()).where(
        c.license_id == license_id, c.kind == kind, c.at > since, c.device_id == device_id
    )
    return int(tx.execute(query).scalar_one())


def kinds_spent(tx: Connection, license_id: str, since: datetime) -> list[str]:
    """Of what something was used after ``since``."""
    c = t.spends.c
    query = select(c.kind).where(c.license_id == license_id, c.at > since).distinct()
    return list(tx.execute(query).scalars())


def remember_trial(
    tx: Connection,
    plan_id: str,
    license_id: str,
    device_id: str,
    traits: list[tuple[str, int]],
) -> None:
    """A trial of this plan was given to a device with these trait digests."""
    for kind, digest in traits:
        tx.execute(
            insert(tx, t.trial_traits)
            .values(
                plan_id=plan_id,
                kind=kind,
                digest=digest,
                license_id=license_id,
                device_id=device_id,
            )
            .on_conflict_do_nothing()
        )


def trials_like(
    tx: Connection, plan_id: str, traits: list[tuple[str, int]]
) -> dict[str, list[tuple[str, int]]]:
    """Trials of this plan that share a trait digest: device id to all its digests."""
    if not traits:
        return {}
    c = t.trial_traits.c
    shared = or_(*(and_(c.kind == kind, c.digest == digest) for kind, digest in traits))
    near = select(c.device_id).where(c.plan_id == plan_id, shared).distinct().limit(64)
    rows = tx.execute(
        select(c.device_id, c.kind, c.digest).where(c.plan_id == plan_id, c.device_id.in_(near))
    )
    found: dict[str, list[tuple[str, int]]] = {}
    for device_id, kind, digest in rows:
        found.setdefault(device_id, []).append((kind, digest))
    return found
