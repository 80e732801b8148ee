"""Reports of relays: each follows the one before, so a copied or restored relay is found.

A relay decides nothing and is believed in nothing; what devices ask through it comes in by the
device calls. Its report is its operator's word, kept in the log for the publisher to look at.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from modelseal.admin import BudgetState, Page, RelayRecord, RelayReport, RelayState, RelaySynced
from modelseal.audit import EventKind, decode
from modelseal.server.services import overdrawing, recorder
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.context import Context
from modelseal.server.services.paging import page_of
from modelseal.server.store import delegations as budget_store
from modelseal.server.store import devices as device_store
from modelseal.server.store import events as store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import relayed as relayed_store


class Relays:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def sync(self, actor: Actor, report: RelayReport) -> RelaySynced:
        """The report is recorded, and how it follows the relay's last one is said.

        The same sync reported again has one event. A copy that had a budget gets no further one.
        """
        actor.need(Right.RELAYS)
        now = self._context.now()

        def act(tx: Connection) -> RelaySynced:
            found, last, after = self._place(tx, report)
            if found is RelayState.AGAIN:
                return self._told(tx, report, last, found, _found(tx, report))
            if after is not None:
                overdrawing.settle(self._context, tx, actor.name, report.relay, after)
            overdrawn = _found(tx, report)
            known = recorder.fresh(self._context, now)
            recorder.record(
                tx, known, EventKind.RELAY_SYNCED, at=now, actor=actor.name,
                subjects={"relay": report.relay},
                params={
                    "state": found.value,
                    "sync": report.sync,
                    "after": report.after,
                    "carried": report.carried,
                    "handed": report.handed,
                    "repeated": report.repeated,
                    "waiting": report.waiting,
                    "devices": report.devices,
                    "double_count": report.double_count,
                    "doubles": list(report.doubles),
                    "released": report.released or None,
                    "overdrawn": overdrawn or None,
                },
            )  # fmt: skip
            if found is RelayState.APART:
                self._stop(tx, report.relay, known.event_id)
            return self._told(tx, report, known.event_id, found, overdrawn)

        return self._context.store.write(act)

    def list(self, actor: Actor, cursor: str | None) -> Page[RelayRecord]:
        """Every relay that reported, by its newest report."""
        actor.need(Right.READ)
        page = page_of(self._context, cursor, store.relays, key=str)
        found = self._context.store.read(lambda tx: [_record(tx, each) for each in page.items])
        records = [each for each in found if each is not None]
        return Page(items=records, next_cursor=page.next_cursor)

    def _stop(self, tx: Connection, relay: str, event_id: str) -> None:
        """A relay of which there are two has what it may give twice."""
        row = budget_store.get(tx, relay)
        if row is not None and row.state == BudgetState.ACTIVE:
            license_store.lock(tx, row.license_id)
            state = BudgetState.OVERDRAWN.value
            budget_store.change(tx, row, state=state, event_id=event_id)

    def _told(
        self,
        tx: Connection,
        report: RelayReport,
        event_id: str,
        state: RelayState,
        overdrawn: int,
    ) -> RelaySynced:
        row = budget_store.get(tx, report.relay)
        if row is None:
            return RelaySynced(event_id=event_id, state=state, found=overdrawn)
        stopped = [
            each.device
            for each in report.serves
            if not _goes_on(tx, row.license_id, each.device, each.seq)
        ]
        return RelaySynced(
            event_id=event_id, state=state, found=overdrawn, stopped=stopped,
            budget=BudgetState(row.state),
        )  # fmt: skip

    def _place(
        self, tx: Connection, report: RelayReport
    ) -> tuple[RelayState, str, datetime | None]:
        """How the report follows the newest one of its relay, that one's event, and when that was
        recorded if it does follow.
        """
        row = store.newest_of(tx, report.relay, EventKind.RELAY_SYNCED.value)
        if row is not None and decode(row.body).params.get("sync") == report.sync:
            return RelayState.AGAIN, row.event_id, None
        if row is not None and row.event_id == report.after:
            return RelayState.FOLLOWS, row.event_id, row.at
        if report.after is not None and store.get(tx, report.after) is None:
            return RelayState.BEHIND, "", None
        return (RelayState.FIRST if row is None else RelayState.APART), "", None


def _found(tx: Connection, report: RelayReport) -> int:
    return relayed_store.count_found(tx, report.relay)


def _record(tx: Connection, relay: str) -> RelayRecord | None:
    """The relay's newest report; None for one that only its budget tells of so far."""
    row = store.newest_of(tx, relay, EventKind.RELAY_SYNCED.value)
    if row is None:
        return None
    told = decode(row.body).params
    return RelayRecord(
        relay=relay,
        state=RelayState(told["state"]),
        synced_at=row.at,
        event_id=row.event_id,
        waiting=told["waiting"],
        devices=told["devices"],
        double_count=told["double_count"],
        ahead=relayed_store.count(tx, relay),
        found=relayed_store.count_found(tx, relay),
    )


def _goes_on(tx: Connection, license_id: str, device_id: str, seq: int) -> bool:
    """Whether a relay may go on with a device whose newest lease of its own has number ``seq``."""
    row = device_store.get(tx, device_id, license_id)
    if row is None or row.state != device_store.ACTIVE or row.held:
        return False
    return row.seq <= seq
