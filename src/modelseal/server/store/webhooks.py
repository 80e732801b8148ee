"""Webhooks, their wrapped secrets, and the outbox: one row for each event and webhook.

A row is claimed by moving its ``due_at``: a conditional write of one statement, so that any number
of processes share the outbox, and what a killed one had claimed falls due again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from modelseal.audit import Event
from modelseal.server.store import tables as t
from modelseal.server.store.bulk import Bulk
from modelseal.server.store.dialect import insert
from modelseal.server.store.ready import Ready
from modelseal.server.store.rows import MessageRow, WebhookRow, WebhookSecretRow, many, one

LONGEST = timedelta(days=2)
"""No message is put off for longer."""
_m = t.webhook_messages.c
_TOLD = Ready(
    lambda _tx: select(t.webhook_kinds.c.webhook_id).where(
        t.webhook_kinds.c.kind == bindparam("kind", type_=String)
    )
)
_PUT = Bulk(
    lambda _tx: t.webhook_messages.insert(),
    ["webhook_id", "event_id", "kind", "at", "attempts", "due_at"],
)


def put(tx: Connection, events: Sequence[Event]) -> None:
    """The events wait for every enabled webhook that is told of their kinds."""
    kinds = dict.fromkeys(event.kind.value for event in events)
    told = {kind: [row[0] for row in _TOLD.rows(tx, {"kind": kind})] for kind in kinds}
    rows = [
        {
            "webhook_id": webhook_id, "event_id": event.id, "kind": event.kind.value,
            "at": event.at, "attempts": 0, "due_at": event.at,
        }
        for event in events
        for webhook_id in told[event.kind.value]
    ]  # fmt: skip
    if rows:
        _PUT.execute(tx, rows)


def put_for(tx: Connection, webhook_id: str, event_id: str, kind: str, at: datetime) -> None:
    """The event waits for one webhook, whatever it is told of."""
    statement = insert(tx, t.webhook_messages).values(
        webhook_id=webhook_id, event_id=event_id, kind=kind, at=at, attempts=0, due_at=at
    )
    tx.execute(statement.on_conflict_do_nothing(index_elements=["webhook_id", "event_id"]))


def add(tx: Connection, row: WebhookRow) -> None:
    """A new webhook."""
    tx.execute(t.webhooks.insert().values(
        webhook_id=row.webhook_id, url=row.url, label=row.label, kinds=row.kinds,
        enabled=row.enabled, created_at=row.created_at, changed_at=row.changed_at,
        event_id=row.event_id,
    ))  # fmt: skip
    _subscribe(tx, row)


def replace(tx: Connection, row: WebhookRow) -> None:
    """The webhook is as ``row`` says."""
    tx.execute(
        update(t.webhooks)
        .where(t.webhooks.c.webhook_id == row.webhook_id)
        .values(
            url=row.url, label=row.label, kinds=row.kinds, enabled=row.enabled,
            changed_at=row.changed_at, event_id=row.event_id,
        )
    )  # fmt: skip
    tx.execute(delete(t.webhook_kinds).where(t.webhook_kinds.c.webhook_id == row.webhook_id))
    _subscribe(tx, row)


def _subscribe(tx: Connection, row: WebhookRow) -> None:
    if row.enabled and row.kinds:
        rows = [{"kind": kind, "webhook_id": row.webhook_id} for kind in row.kinds]
        tx.execute(t.webhook_kinds.insert(), rows)


def remove(tx: Connection, webhook_id: str) -> bool:
    """The webhook, its secrets and what waited for it are gone; False when there was none."""
    for table in (t.webhook_kinds, t.webhook_secrets, t.webhook_messages):
        tx.execute(delete(table).where(table.c.webhook_id == webhook_id))
    done = tx.execute(delete(t.webhooks).where(t.webhooks.c.webhook_id == webhook_id))
    return done.rowcount == 1


def get(tx: Connection, webhook_id: str) -> WebhookRow | None:
    """The webhook with this id."""
    query = select(t.webhooks).where(t.webhooks.c.webhook_id == webhook_id)
    return one(WebhookRow, tx.execute(query).first())


def count(tx: Connection) -> int:
    """How many webhooks there are."""
    return int(tx.scalar(select(func.count()).select_from(t.webhooks)) or 0)


def page(tx: Connection, after: str, limit: int) -> list[WebhookRow]:
    """Webhooks in the order of their ids, after one id."""
    c = t.webhooks.c
    query = select(t.webhooks).where(c.webhook_id > after).order_by(c.webhook_id).limit(limit)
    return many(WebhookRow, tx.execute(query))


def add_secret(tx: Connection, row: WebhookSecretRow) -> None:
    """A new secret of a webhook."""
    tx.execute(
        t.webhook_secrets.insert().values(
            webhook_id=row.webhook_id, number=row.number, wrapped=row.wrapped, ends_at=row.ends_at
        )
    )


def secrets(tx: Connection, webhook_id: str) -> list[WebhookSecretRow]:
    """The secrets of a webhook, newest first."""
    c = t.webhook_secrets.c
    query = select(t.webhook_secrets).where(c.webhook_id == webhook_id).order_by(c.number.desc())
    return many(WebhookSecretRow, tx.execute(query))


def end_secrets(tx: Connection, webhook_id: str, at: datetime, now: datetime) -> None:
    """Secrets without an end end at ``at``; those that are over are gone."""
    c = t.webhook_secrets.c
    mine = c.webhook_id == webhook_id
    tx.execute(delete(t.webhook_secrets).where(mine, c.ends_at <= now))
    tx.execute(update(t.webhook_secrets).where(mine, c.ends_at.is_(None)).values(ends_at=at))


def _due(now: datetime) -> ColumnElement[bool]:
    """A message is due; so is one that was put off by a clock that was ahead."""
    return or_(_m.due_at <= now, _m.due_at > now + LONGEST)


def with_due(tx: Connection, now: datetime) -> list[str]:
    """Enabled webhooks for which a message is due."""
    w = t.webhooks.c
    waits = exists().where(_m.webhook_id == w.webhook_id, _due(now))
    return list(tx.scalars(select(w.webhook_id).where(w.enabled, waits)))


def next_due(tx: Connection, webhook_id: str, now: datetime) -> MessageRow | None:
    """The message of a webhook that is due longest."""
    query = (
        select(t.webhook_messages)
        .where(_m.webhook_id == webhook_id, _due(now))
        .order_by(_m.due_at, _m.event_id)
        .limit(1)
    )
    return one(MessageRow, tx.execute(query).first())


def claim(tx: Connection, row: MessageRow, now: datetime, until: datetime) -> bool:
    """The message is the caller's until ``until``; False when somebody else has it."""
    done = tx.execute(
        update(t.webhook_messages)
        .where(
            _m.webhook_id == row.webhook_id, _m.event_id == row.event_id,
            _m.due_at == row.due_at, _m.attempts == row.attempts,
        )
        .values(due_at=until, attempts=row.attempts + 1, tried_at=now)
    )  # fmt: skip
    return done.rowcount == 1


def drop(tx: Connection, row: MessageRow) -> None:
    """The message is gone."""
    same = (_m.webhook_id == row.webhook_id) & (_m.event_id == row.event_id)
    tx.execute(delete(t.webhook_messages).where(same))


def settled(
    tx: Connection,
    row: MessageRow,
    *,
    due_at: datetime | None,
    status: int | None,
    failure: str | None,
    delivered_at: datetime | None = None,
    given_up_at: datetime | None = None,
) -> bool:
    """What came of the attempt that ``row`` was claimed for; False when it was claimed anew."""
    done = tx.execute(
        update(t.webhook_messages)
        .where(
            _m.webhook_id == row.webhook_id, _m.event_id == row.event_id,
            _m.attempts == row.attempts + 1, _m.due_at.is_not(None),
        )
        .values(
            due_at=due_at, status=status, failure=failure, delivered_at=delivered_at,
            given_up_at=given_up_at,
        )
    )  # fmt: skip
    return done.rowcount == 1


def messages(
    tx: Connection, after: str, limit: int, webhook_id: str, state: str | None
) -> list[MessageRow]:
    """Messages of a webhook in the order of their events, after one event."""
    query = select(t.webhook_messages).where(_m.webhook_id == webhook_id, _m.event_id > after)
    if state is not None:
        query = query.where(_STATES[state])
    return many(MessageRow, tx.execute(query.order_by(_m.event_id).limit(limit)))


_STATES = {
    "waiting": _m.due_at.is_not(None),
    "delivered": _m.delivered_at.is_not(None) & _m.due_at.is_(None),
    "given_up": _m.given_up_at.is_not(None) & _m.due_at.is_(None),
}


def again(tx: Connection, webhook_id: str, event_ids: Sequence[str] | None, now: datetime) -> int:
    """Messages are due again, as if never tried: the named ones, or all that were given up."""
    which = _STATES["given_up"] if event_ids is None else _m.event_id.in_(event_ids)
    done = tx.execute(
        update(t.webhook_messages)
        .where(_m.webhook_id == webhook_id, which)
        .values(
            due_at=now, attempts=0, status=None, failure=None, delivered_at=None, given_up_at=None
        )
    )
    return done.rowcount


def forget(tx: Connection, delivered_before: datetime, given_up_before: datetime) -> None:
    """What was delivered or given up before those times is gone."""
    over = _m.due_at.is_(None) & (
        (_m.delivered_at < delivered_before) | (_m.given_up_at < given_up_before)
    )
    tx.execute(delete(t.webhook_messages).where(over))


def counts(tx: Connection) -> dict[str, int]:
    """How many messages wait, were delivered, were given up."""
    query = select(*(func.count().filter(clause).label(name) for name, clause in _STATES.items()))
    row = tx.execute(query.select_from(t.webhook_messages)).one()
    return {name: int(getattr(row, name)) for name in _STATES}
