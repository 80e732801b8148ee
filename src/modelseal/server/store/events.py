"""Audit events: only ever added; the row of what is personal beside them can be erased."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, bindparam, delete, select, true, update

from modelseal.audit import Event, Personal, encode
from modelseal.server.store import tables as t
from modelseal.server.store.bulk import Bulk
from modelseal.server.store.rows import EventRow, many, one
from modelseal.strict_json import b64u

_ADD = Bulk(lambda _tx: t.events.insert(), t.events.c.keys())
_PLACE = Bulk(lambda _tx: t.log_entries.insert(), ["idx", "event_id"])
_PENDING = (
    select(t.events.c.event_id, t.events.c.body)
    .join(t.events_pending, t.events_pending.c.event_id == t.events.c.event_id)
    .order_by(t.events.c.event_id)
    .limit(bindparam("most"))
)
_WAIT = Bulk(lambda _tx: t.events_pending.insert(), ["event_id"])


class Entry(Struct, frozen=True):
    """An event on its way into the store. ``decision``: its facts can be judged again."""

    event: Event
    personal: Personal | None = None
    decision: bool = False


def add(tx: Connection, entries: Sequence[Entry]) -> None:
    """The events stand in the store and wait for their places in the log."""
    _ADD.execute(tx, [_row(entry) for entry in entries])
    _WAIT.execute(tx, [{"event_id": entry.event.id} for entry in entries])


def _row(entry: Entry) -> dict[str, Any]:
    event, personal = entry.event, entry.personal
    kept = None
    if personal is not None:
        kept = {"fields": dict(personal.fields), "salt": b64u(personal.salt)}
    return {
        "event_id": event.id,
        "at": event.at,
        "kind": event.kind.value,
        "license_id": event.subjects.get("license"),
        # A relay is found as a device is: an event is about one or the other.
        "device_id": event.subjects.get("device") or event.subjects.get("relay"),
        "customer_id": event.subjects.get("customer"),
        "reference": event.reference,
        "decision": entry.decision,
        "body": encode(event),
        "personal": kept,
    }


def _all() -> Select[Any]:
    e = t.events.c
    return select(
        e.event_id, e.at, e.kind, e.reference, e.decision, e.body, e.personal, t.log_entries.c.idx
    ).join(t.log_entries, t.log_entries.c.event_id == e.event_id, isouter=True)


def get(tx: Connection, event_id: str) -> EventRow | None:
    """The event with this id."""
    return one(EventRow, tx.execute(_all().where(t.events.c.event_id == event_id)).first())


def decision_by_reference(tx: Connection, reference: str) -> EventRow | None:
    """The newest decision with this reference."""
    e = t.events.c
    query = _all().where(e.reference == reference, e.decision).order_by(e.event_id.desc())
    return one(EventRow, tx.execute(query.limit(1)).first())


def newest_decision(
    tx: Connection, *, license_id: str | None = None, device_id: str | None = None
) -> EventRow | None:
    """The newest decision about a license or a device."""
    e = t.events.c
    query = _all().where(e.decision)
    if license_id is not None:
        query = query.where(e.license_id == license_id)
    if device_id is not None:
        query = query.where(e.device_id == device_id)
    return one(EventRow, tx.execute(query.order_by(e.event_id.desc()).limit(1)).first())


def newest_of(tx: Connection, subject: str, kind: str) -> EventRow | None:
    """The newest event of one kind about a device or a relay."""
    e = t.events.c
    query = _all().where(e.device_id == subject, e.kind == kind).order_by(e.event_id.desc())
    return one(EventRow, tx.execute(query.limit(1)).first())


def relays(tx: Connection, after: str, limit: int) -> list[str]:
    """Relays that reported, in the order of their ids, after one id.

    Each is found by one look into the index: a relay has as many events as it ever synchronised.
    """
    e, found = t.events.c, list[str]()
    while len(found) < limit:
        # Bounds of hexadecimal digits hold under every collation.
        bounds = (e.device_id > max(after, "rly_0"), e.device_id < "rly_g")
        row = tx.execute(select(e.device_id).where(*bounds).order_by(e.device_id).limit(1)).first()
        if row is None:
            break
        after = str(row[0])
        found.append(after)
    return found


def page(tx: Connection, after: str, limit: int, subject: str | None = None) -> list[EventRow]:
    """Events after one id, in the order of the log; those without a place yet last, by id.

    Of one subject where asked. Ids alone would not do: two processes make them in one millisecond.
    """
    e, idx = t.events.c, t.log_entries.c.idx
    about: ColumnElement[bool] = true()
    if subject is not None:
        about = (e.license_id == subject) | (e.device_id == subject) | (e.customer_id == subject)
    place = tx.execute(select(idx).where(t.log_entries.c.event_id == after)).scalar()
    rows: list[EventRow] = []
    if not after or place is not None:
        query = _all().where(idx > (-1 if place is None else place), about).order_by(idx)
        rows, after = many(EventRow, tx.execute(query.limit(limit))), ""
    if len(rows) < limit:
        query = _all().join(t.events_pending, t.events_pending.c.event_id == e.event_id)
        query = query.where(e.event_id > after, about).order_by(e.event_id)
        rows += many(EventRow, tx.execute(query.limit(limit - len(rows))))
    return rows


def of_customer(tx: Connection, customer_id: str, licenses: Sequence[str]) -> list[EventRow]:
    """Every event about the customer or one of the customer's licenses, in the log's order."""
    e = t.events.c
    found: dict[str, EventRow] = {}
    for about in (e.customer_id == customer_id, *(e.license_id == name for name in licenses)):
        found |= {row.event_id: row for row in many(EventRow, tx.execute(_all().where(about)))}
    return sorted(found.values(), key=lambda row: (row.idx is None, row.idx or 0, row.event_id))


def erase_personal(tx: Connection, customer_id: str, licenses: list[str]) -> None:
    """What was personal beside the events of a customer is gone; the events stay."""
    e = t.events.c
    tx.execute(update(t.events).where(e.customer_id == customer_id).values(personal=None))
    for license_id in licenses:
        tx.execute(update(t.events).where(e.license_id == license_id).values(personal=None))


def pending(tx: Connection, limit: int) -> list[tuple[str, bytes]]:
    """Ids and canonical bytes of events without a place yet, oldest first."""
    rows = tx.execute(_PENDING, {"most": limit})
    return [(event_id, bytes(body)) for event_id, body in rows]


def place(tx: Connection, first: int, event_ids: list[str]) -> None:
    """The events have the places from ``first`` on."""
    if not event_ids:
        return
    rows = [{"idx": first + at, "event_id": e} for at, e in enumerate(event_ids)]
    _PLACE.execute(tx, rows)
    pending_id = t.events_pending.c.event_id
    for start in range(0, len(event_ids), 500):
        part = event_ids[start : start + 500]
        tx.execute(delete(t.events_pending).where(pending_id.in_(part)))


def placed(tx: Connection, first: int, limit: int) -> list[EventRow]:
    """The events with places from ``first`` on, in the order of the log."""
    idx = t.log_entries.c.idx
    query = _all().where(idx >= first, idx < first + limit).order_by(idx)
    return many(EventRow, tx.execute(query))


def waiting(tx: Connection) -> int:
    """How many events have no place yet, counted up to 100,000."""
    query = select(t.events_pending.c.event_id).limit(100_000)
    return len(tx.execute(query).all())
