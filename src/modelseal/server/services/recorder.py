"""Audit events: every act writes its own in the same transaction. Whoever acts names no secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection

from modelseal import ids
from modelseal.audit import Event, EventKind, Personal, commit
from modelseal.server.services import outbox
from modelseal.server.services.context import Context
from modelseal.server.store import events as store
from modelseal.server.store.events import Entry


class Recorded(Struct, frozen=True):
    """Id and reference of an event that was written."""

    event_id: str
    reference: str


def fresh(context: Context, now: datetime) -> Recorded:
    """An event id to be: what is written with the event may name it first."""
    event_id = context.event_id(now)
    return Recorded(event_id, ids.reference(event_id))


def record(
    tx: Connection,
    known: Recorded,
    kind: EventKind,
    *,
    at: datetime,
    actor: str,
    subjects: Mapping[str, str | None],
    params: Mapping[str, Any],
    personal: Personal | None = None,
    decision: bool = False,
) -> Recorded:
    """The event stands in the store and waits for its place in the log.

    ``subjects`` are opaque ids under ``license``, ``device``, ``customer`` and other nouns; no
    name, address, key or trait value may stand in ``params``, for events are never erased. What
    people wrote stands in ``personal``, of which the event holds only a commitment.
    """
    entry = entry_of(
        known, kind, at=at, actor=actor, subjects=subjects, params=params, personal=personal,
        decision=decision,
    )  # fmt: skip
    write(tx, [entry])
    return known


def entry_of(
    known: Recorded,
    kind: EventKind,
    *,
    at: datetime,
    actor: str,
    subjects: Mapping[str, str | None],
    params: Mapping[str, Any],
    personal: Personal | None = None,
    decision: bool = False,
) -> Entry:
    """The event that ``record`` writes, ready to be written with others."""
    named = {noun: value for noun, value in subjects.items() if value is not None}
    event = Event(
        id=known.event_id,
        at=at,
        kind=kind,
        actor=actor,
        subjects=named,
        reference=known.reference,
        params={name: value for name, value in params.items() if value is not None},
        personal=None if personal is None else personal.commitment,
    )
    return Entry(event, personal, decision)


def write(tx: Connection, entries: Sequence[Entry]) -> None:
    """The events stand in the store and wait for their places; every event passes here."""
    store.add(tx, entries)
    outbox.put(tx, [entry.event for entry in entries])


def personal(context: Context, **fields: str | None) -> Personal | None:
    """What people wrote, ready to stand beside an event; None when nothing was written."""
    written = {name: value for name, value in fields.items() if value}
    return commit(written, context.random) if written else None
