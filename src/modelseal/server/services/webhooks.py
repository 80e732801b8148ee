"""Webhooks as the publisher keeps them: made, changed, removed, their secrets, their messages.

A secret is wrapped by the key-encryption key and shown once. After a rotation the old one signs
beside the new one for a day, so that a receiver changes it when it likes (Standard Webhooks).
"""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection

from modelseal.admin import (
    IssuedWebhook,
    MessageRecord,
    MessageState,
    NewWebhook,
    Page,
    ReplayedMessages,
    WebhookChange,
    WebhookRecord,
)
from modelseal.audit import EventKind
from modelseal.errors import Conflict, Misuse, NotFound
from modelseal.server.services import addresses, outbox, recorder
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.addresses import Network, networks
from modelseal.server.services.context import Context
from modelseal.server.services.idempotency import once
from modelseal.server.services.paging import page_of
from modelseal.server.store import webhooks as store
from modelseal.server.store.rows import MessageRow, WebhookRow, WebhookSecretRow

PREFIX = "whsec_"
OVERLAP = timedelta(days=1)
MOST = 16
_SECRET_BYTES = 32
_NAME = re.compile(r"(?=.{1,254}$)[^.]{1,63}(\.[^.]{1,63})*\.?")
"""A host whose name a resolver would look at."""


class Webhooks:
    """See ``admin.AdminApi``. Whoever may change webhooks may read what is told: owners only."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.named = networks(context.config.webhook_networks, "webhook_networks")

    def create(
        self, actor: Actor, wish: NewWebhook, idempotency_key: str | None = None
    ) -> IssuedWebhook:
        """A new webhook, enabled."""
        actor.need(Right.WEBHOOKS)
        check_url(wish.url, self.named)
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)
        row = WebhookRow(
            webhook_id=context.new_id("whk", now), url=wish.url, label=wish.label,
            kinds=_kinds(wish.events), enabled=True, created_at=now, changed_at=now,
            event_id=known.event_id,
        )  # fmt: skip
        secret = context.random(_SECRET_BYTES)

        def act(tx: Connection) -> IssuedWebhook:
            if store.count(tx) >= MOST:
                raise Misuse(f"a server has at most {MOST} webhooks", limit=MOST)
            store.add(tx, row)
            store.add_secret(tx, self._wrapped(tx, row.webhook_id, 1, secret))
            self._record(tx, known, actor, row.webhook_id, "created", now)
            return IssuedWebhook(webhook=_shown(row), secret=_text(secret))

        question = ["webhook_create", wish]
        return once(context, actor.name, idempotency_key, question, act, IssuedWebhook)

    def list(self, actor: Actor, cursor: str | None) -> Page[WebhookRecord]:
        """Every webhook without its secret."""
        actor.need(Right.WEBHOOKS)
        rows = page_of(self._context, cursor, store.page, lambda row: row.webhook_id)
        return Page(items=[_shown(row) for row in rows.items], next_cursor=rows.next_cursor)

    def show(self, actor: Actor, webhook_id: str) -> WebhookRecord:
        """One webhook."""
        actor.need(Right.WEBHOOKS)
        return _shown(self._context.store.read(_found, webhook_id))

    def change(
        self, actor: Actor, webhook_id: str, change: WebhookChange, tag: str | None = None
    ) -> WebhookRecord:
        """The webhook after the change; ``tag`` as in ``tag_of``."""
        actor.need(Right.WEBHOOKS)
        if change.url is not None:
            check_url(change.url, self.named)
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)
        kinds = None if change.events is None else _kinds(change.events)

        def act(tx: Connection) -> WebhookRow:
            row = _matched(_found(tx, webhook_id), tag)
            wanted: dict[str, Any] = {
                "url": change.url, "kinds": kinds, "label": change.label, "enabled": change.enabled,
            }  # fmt: skip
            values = {name: value for name, value in wanted.items() if value is not None}
            row = replace(row, changed_at=now, event_id=known.event_id, **values)
            store.replace(tx, row)
            self._record(tx, known, actor, webhook_id, "changed", now)
            return row

        return _shown(context.store.write(act))

    def remove(self, actor: Actor, webhook_id: str, tag: str | None = None) -> WebhookRecord:
        """The webhook, its secrets and everything that waited for it are gone."""
        actor.need(Right.WEBHOOKS)
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> WebhookRow:
            row = _matched(_found(tx, webhook_id), tag)
            store.remove(tx, webhook_id)
            self._record(tx, known, actor, webhook_id, "removed", now)
            return replace(row, enabled=False, changed_at=now, event_id=known.event_id)

        return _shown(context.store.write(act))

    def rotate(
        self, actor: Actor, webhook_id: str, idempotency_key: str | None = None
    ) -> IssuedWebhook:
        """A new secret; the one before signs beside it for a day more."""
        actor.need(Right.WEBHOOKS)
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)
        secret = context.random(_SECRET_BYTES)

        def act(tx: Connection) -> IssuedWebhook:
            row = _found(tx, webhook_id)
            number = max((each.number for each in store.secrets(tx, webhook_id)), default=0) + 1
            store.end_secrets(tx, webhook_id, now + OVERLAP, now)
            store.add_secret(tx, self._wrapped(tx, webhook_id, number, secret))
            self._record(tx, known, actor, webhook_id, "rotated", now)
            return IssuedWebhook(
                webhook=_shown(row), secret=_text(secret), previous_ends_at=now + OVERLAP
            )

        question = ["webhook_rotate", webhook_id]
        return once(context, actor.name, idempotency_key, question, act, IssuedWebhook)

    def test(
        self, actor: Actor, webhook_id: str, idempotency_key: str | None = None
    ) -> ReplayedMessages:
        """One message, about this very act, whatever the webhook is told of otherwise."""
        actor.need(Right.WEBHOOKS)
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> ReplayedMessages:
            if not _found(tx, webhook_id).enabled:
                raise Misuse("the webhook is disabled; enable it first")
            self._record(tx, known, actor, webhook_id, "tested", now)
            kind = EventKind.WEBHOOK_CHANGED.value
            store.put_for(tx, webhook_id, known.event_id, kind, now)
            return ReplayedMessages(messages=1, event_id=known.event_id)

        question = ["webhook_test", webhook_id]
        return once(context, actor.name, idempotency_key, question, act, ReplayedMessages)

    def messages(
        self, actor: Actor, webhook_id: str, state: MessageState | None, cursor: str | None
    ) -> Page[MessageRecord]:
        """What became of each event, oldest first."""
        actor.need(Right.WEBHOOKS)
        self._context.store.read(_found, webhook_id)
        rows = page_of(
            self._context, cursor, store.messages, lambda row: row.event_id,
            webhook_id, None if state is None else state.value,
        )  # fmt: skip
        return Page(items=[_message(row) for row in rows.items], next_cursor=rows.next_cursor)

    def replay(
        self,
        actor: Actor,
        webhook_id: str,
        event_ids: Sequence[str] | None,
        idempotency_key: str | None = None,
    ) -> ReplayedMessages:
        """The named messages, or all that were given up, are due again as if never tried."""
        actor.need(Right.WEBHOOKS)
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> ReplayedMessages:
            _found(tx, webhook_id)
            again = store.again(tx, webhook_id, event_ids, now)
            if event_ids is not None and again != len(set(event_ids)):
                raise NotFound("no such message of this webhook", id=", ".join(event_ids)[:200])
            self._record(tx, known, actor, webhook_id, "replayed", now, count=again)
            return ReplayedMessages(messages=again, event_id=known.event_id)

        question = ["webhook_replay", webhook_id, event_ids]
        return once(context, actor.name, idempotency_key, question, act, ReplayedMessages)

    def gone(self, webhook_id: str) -> None:
        """The receiver said 410: it wants no more, so the webhook is disabled."""
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> None:
            row = store.get(tx, webhook_id)
            if row is not None and row.enabled:
                values: dict[str, Any] = {
                    "enabled": False,
                    "changed_at": now,
                    "event_id": known.event_id,
                }
                store.replace(tx, replace(row, **values))
                self._record(tx, known, None, webhook_id, "gone", now)

        context.store.write(act)

    def open_secrets(self, rows: Sequence[WebhookSecretRow], now: datetime) -> Sequence[bytes]:
        """The secrets that sign at ``now``, newest first."""
        return [
            self._context.provider.unwrap(row.wrapped, self._bound(row.webhook_id, row.number))
            for row in rows
            if row.ends_at is None or now < row.ends_at
        ]

    def _wrapped(
        self, tx: Connection, webhook_id: str, number: int, secret: bytes
    ) -> WebhookSecretRow:
        wrapped = self._context.wrap(tx, secret, self._bound(webhook_id, number))
        return WebhookSecretRow(webhook_id, number, wrapped, None)

    def _bound(self, webhook_id: str, number: int) -> dict[str, str | int | bytes]:
        return self._context.wrap_context("webhook", webhook_id=webhook_id, number=number)

    def _record(
        self, tx: Connection, known: recorder.Recorded, actor: Actor | None, webhook_id: str,
        change: str, now: datetime, count: int | None = None,
    ) -> None:  # fmt: skip
        recorder.record(
            tx, known, EventKind.WEBHOOK_CHANGED, at=now, actor=actor.name if actor else "system",
            subjects={"webhook": webhook_id}, params={"change": change, "count": count},
        )  # fmt: skip


def check_url(url: str, named: Sequence[Network]) -> None:
    """Returns for an address that may be called, as far as it can be told before it is resolved.

    ``Misuse`` says what is wrong. Addresses are judged again at every delivery.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Misuse("the webhook's address is no URL") from None
    host = parts.hostname or ""
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not url.startswith(("https://", "http://")) or not _NAME.fullmatch(host) or port == 0:
        plain = False
    if not plain:
        raise Misuse("a webhook's address is like https://example.com/path")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise Misuse("a webhook's address has no user, password or fragment")
    if parts.scheme == "http" and not named:
        raise Misuse("webhooks go to https:// addresses")
    if f".{host.rstrip('.')}".endswith(".localhost"):  # RFC 6761: this computer, always
        host = "127.0.0.1"
    address = addresses.parse(host) or _numeric(host)
    if address is not None and not addresses.is_allowed(address, named):
        raise Misuse("webhooks do not go to private addresses")


def _numeric(host: str) -> addresses.Address | None:
    """The address in a decimal, octal or shortened form, which resolvers take as well."""
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _kinds(events: Sequence[str]) -> list[str]:
    known = {kind.value for kind in outbox.TOLD}
    for name in events:
        if name not in known:
            raise Misuse(f"webhooks are not told of {name!r}", known=", ".join(sorted(known)))
    if not events:
        raise Misuse("a webhook is told of at least one kind of event")
    return sorted(set(events))


def _text(secret: bytes) -> str:
    return PREFIX + base64.b64encode(secret).decode()


def _found(tx: Connection, webhook_id: str) -> WebhookRow:
    row = store.get(tx, webhook_id)
    if row is None:
        raise NotFound("no such webhook", id=webhook_id)
    return row


def tag_of(record: WebhookRecord | WebhookRow) -> str:
    """What names this state of a webhook: another after each change."""
    return record.event_id


def _matched(row: WebhookRow, tag: str | None) -> WebhookRow:
    """``row`` where ``tag`` is its own or None; ``Conflict`` otherwise."""
    if tag is not None and tag != tag_of(row):
        raise Conflict("the webhook was changed since it was read")
    return row


def _shown(row: WebhookRow) -> WebhookRecord:
    return WebhookRecord(
        webhook_id=row.webhook_id, url=row.url, events=row.kinds, label=row.label,
        enabled=row.enabled, created_at=row.created_at, changed_at=row.changed_at,
        event_id=row.event_id,
    )  # fmt: skip


def _message(row: MessageRow) -> MessageRecord:
    if row.due_at is not None:
        state = MessageState.WAITING
    else:
        state = MessageState.DELIVERED if row.delivered_at else MessageState.GIVEN_UP
    return MessageRecord(
        event_id=row.event_id, kind=row.kind, at=row.at, state=state, attempts=row.attempts,
        tried_at=row.tried_at, due_at=row.due_at, status=row.status, failure=row.failure,
    )  # fmt: skip
