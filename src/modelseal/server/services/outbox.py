"""What is told to webhooks: which events, in whose transaction, in which words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection

from modelseal.audit import Event, EventKind, decode
from modelseal.server.store import webhooks as store

_OF_EVERY_LEASE = frozenset({
    EventKind.LEASE_RENEWED, EventKind.KEYS_RELEASED, EventKind.LICENSE_LOOKED_UP,
})  # fmt: skip
TOLD = frozenset(EventKind) - _OF_EVERY_LEASE
"""What a webhook may be told. What happens at every heartbeat stands in the log and in metrics."""
_SAID = (
    "rule", "action", "count", "limit", "per_seconds", "code", "step", "seq", "state", "why",
    "plan", "plan_version", "name", "version", "model", "release", "role", "spent", "licenses",
    "devices", "rows", "change", "restore", "adopted", "op", "answer", "ahead", "call", "files",
    "double_count",
)  # fmt: skip
"""The parameters that leave the house: no facts of a decision, so no trait, and no key."""


def put(tx: Connection, events: Iterable[Event]) -> None:
    """Each event waits for every webhook that is told of its kind, as durably as it happened."""
    told = [event for event in events if event.kind in TOLD and not _is_flag(event)]
    if told:
        store.put(tx, told)


def _is_flag(event: Event) -> bool:
    return event.kind is EventKind.ANOMALY and event.params.get("action") == "flag"


def body(stored: bytes) -> bytes:
    """The message about a stored event, the same bytes at every attempt."""
    event = decode(stored)
    return msgspec.json.encode({
        "type": event.kind.value,
        "timestamp": event.at,
        "data": {
            "event_id": event.id,
            "reference": event.reference,
            "actor": event.actor,
            "subjects": {n: value for n, value in event.subjects.items() if n != "key"},
            "params": {name: _plain(event.params[name]) for name in _SAID if name in event.params},
        },
    })  # fmt: skip


def _plain(value: Any) -> Any:
    """A single value; what is made of parts is not told."""
    return value if isinstance(value, (str, int, bool)) else None
