"""Webhooks: where events are told to the publisher's own programs, and what became of each."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, field

from modelseal.admin._base import Answered, Asked, Id, Label

Url = Annotated[str, Meta(min_length=1, max_length=2048)]
Kinds = Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=64)]


class NewWebhook(Asked, frozen=True):
    """A webhook to be. ``events`` are kinds of audit events (``docs/spec/webhooks.md``)."""

    url: Url
    events: Kinds = field(default_factory=lambda: ["anomaly"])
    label: Label = ""


class WebhookChange(Asked, frozen=True):
    """What is named changes, the rest stays."""

    url: Url | None = None
    events: Kinds | None = None
    label: Label | None = None
    enabled: bool | None = None


class WebhookRecord(Answered, frozen=True):
    """A webhook without its secret. A disabled one is told nothing and misses what happens."""

    webhook_id: str
    url: str
    events: list[str]
    label: str
    enabled: bool
    created_at: datetime
    changed_at: datetime
    event_id: str


class IssuedWebhook(Answered, frozen=True):
    """A webhook with a new secret (``whsec_…``), which is shown this once."""

    webhook: WebhookRecord
    secret: str
    previous_ends_at: datetime | None = None


class MessageState(StrEnum):
    """Waiting for its next attempt, delivered, or given up after the last one."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class MessageRecord(Answered, frozen=True):
    """One event for one webhook; ``status`` or ``failure`` is what the last attempt met."""

    event_id: str
    kind: str
    at: datetime
    state: MessageState
    attempts: int
    tried_at: datetime | None = None
    due_at: datetime | None = None
    status: int | None = None
    failure: str | None = None


class ReplayMessages(Asked, frozen=True):
    """Which messages are sent again; without names all that were given up."""

    event_ids: Annotated[list[Id], Meta(max_length=200)] | None = None


class ReplayedMessages(Answered, frozen=True):
    """How many messages are due again."""

    messages: int
    event_id: str
