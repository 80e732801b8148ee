"""Telling webhooks: what is due is claimed, signed, sent, and tried again with growing pauses.

Any number of processes share the outbox. A message is sent at least once: its id is the event's,
by which a receiver knows what it has seen.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta

from sqlalchemy import Connection

from modelseal.errors import ModelsealError
from modelseal.server.services import outbox, outgoing
from modelseal.server.services.context import Context
from modelseal.server.services.outgoing import Posted
from modelseal.server.services.webhooks import MOST, Webhooks
from modelseal.server.store import events as event_store
from modelseal.server.store import webhooks as store
from modelseal.server.store.rows import MessageRow, WebhookRow, WebhookSecretRow

PAUSES = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
"""Seconds after each failed attempt, as Standard Webhooks recommends; after the last it is given
up, three and a half days from the first.
"""
_JITTER = 0.2
_CLAIM = timedelta(seconds=90)
_IN_A_ROW = 64
_GONE = 410
DELIVERED_DAYS, GIVEN_UP_DAYS = 30, 90
_SWEEP = timedelta(hours=1)
_log = logging.getLogger("modelseal.webhooks")


class Courier:
    """Delivers in threads of its own, one a webhook, so that a slow receiver delays itself only."""

    def __init__(self, context: Context, webhooks: Webhooks) -> None:
        self._context, self._webhooks = context, webhooks
        self._threads: ThreadPoolExecutor | None = None
        self._busy: dict[str, Future[int]] = {}
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._swept: datetime | None = None

    def start_due(self) -> None:
        """Everything due is under way; returns at once."""
        now = self._context.now()
        due = self._context.store.read(store.with_due, now)
        with self._guard:
            self._busy = {name: task for name, task in self._busy.items() if not task.done()}
            for webhook_id in due:
                if webhook_id in self._busy or self._stopping.is_set():
                    continue
                if self._threads is None:
                    self._threads = ThreadPoolExecutor(MOST, "modelseal-webhook")
                self._busy[webhook_id] = self._threads.submit(self._serve, webhook_id)
        if self._swept is None or now - self._swept > _SWEEP:
            self._swept = now
            self._sweep(now)

    def deliver(self) -> int:
        """How many attempts were made, one after the other, until nothing is due."""
        count = 0
        for webhook_id in self._context.store.read(store.with_due, self._context.now()):
            while (made := self._serve(webhook_id)) > 0:
                count += made
        return count

    def close(self) -> None:
        """What is being sent is sent to its end; nothing more is begun."""
        self._stopping.set()
        with self._guard:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=True, cancel_futures=True)

    def _serve(self, webhook_id: str) -> int:
        """How many attempts were made for one webhook, until nothing is due or one failed."""
        count = 0
        try:
            while count < _IN_A_ROW and not self._stopping.is_set():
                good = self._attempt(webhook_id)
                count += good is not None
                if not good:
                    break
        except ModelsealError as error:
            _log.warning("a webhook waits: %s", error)
        except Exception:  # noqa: BLE001 - logged whole; the message falls due again
            _log.exception("a webhook waits")
        return count

    def _attempt(self, webhook_id: str) -> bool | None:
        """Whether the message that is due longest was taken; None when there is none."""
        now = self._context.now()
        claimed = self._context.store.write(self._claim, webhook_id, now)
        if claimed is None:
            return None
        hook, row, stored, secrets = claimed
        body = outbox.body(stored)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "modelseal",
            **signed(self._webhooks.open_secrets(secrets, now), row.event_id, now, body),
        }
        posted = outgoing.post(hook.url, body, headers, named=self._webhooks.named)
        return self._settle(row, posted)

    def _claim(
        self, tx: Connection, webhook_id: str, now: datetime
    ) -> tuple[WebhookRow, MessageRow, bytes, list[WebhookSecretRow]] | None:
        hook = store.get(tx, webhook_id)
        row = store.next_due(tx, webhook_id, now)
        if hook is None or not hook.enabled or row is None:
            return None
        event = event_store.get(tx, row.event_id)
        if event is None:
            store.drop(tx, row)
        if event is None or not store.claim(tx, row, now, now + _CLAIM):
            return None
        return hook, row, event.body, store.secrets(tx, webhook_id)

    def _settle(self, row: MessageRow, posted: Posted) -> bool:
        context, now = self._context, self._context.now()
        good = posted.status is not None and 200 <= posted.status < 300
        over = posted.status == _GONE or row.attempts >= len(PAUSES)
        due = None if good or over else now + self._pause(row.attempts, posted)
        context.store.write(
            store.settled, row, due_at=due, status=posted.status, failure=posted.failure,
            delivered_at=now if good else None,
            given_up_at=now if over and not good else None,
        )  # fmt: skip
        if posted.status == _GONE:
            self._webhooks.gone(row.webhook_id)
        if not good:
            what = posted.failure or f"status {posted.status}"
            _log.warning(
                "webhook %s did not take %s: %s%s", row.webhook_id, row.event_id, what,
                "; given up" if over else "",
            )  # fmt: skip
        return good

    def _pause(self, attempts: int, posted: Posted) -> timedelta:
        share = int.from_bytes(self._context.random(4), "big") / 0xFFFFFFFF
        drawn = PAUSES[attempts] * (1 - _JITTER + 2 * _JITTER * share)
        return timedelta(seconds=max(drawn, posted.retry_after_seconds or 0))

    def _sweep(self, now: datetime) -> None:
        days = timedelta(days=1)
        self._context.store.write(
            store.forget, now - DELIVERED_DAYS * days, now - GIVEN_UP_DAYS * days
        )


def signed(secrets: Sequence[bytes], message_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks: one signature by each of ``secrets``."""
    at = str(int(now.timestamp()))
    content = b".".join((message_id.encode(), at.encode(), body))
    signatures = (
        base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
        for secret in secrets
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": at,
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }
