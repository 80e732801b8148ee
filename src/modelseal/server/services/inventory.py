"""Devices as the publisher sees them, and ending one for good."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from modelseal.admin import DeviceRecord, Page
from modelseal.audit import EventKind
from modelseal.errors import Conflict, Misuse
from modelseal.license.status import Status
from modelseal.server.services import acting, judging, recorder, statuses
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.context import Context
from modelseal.server.services.paging import page_of
from modelseal.server.services.plans import terms_of
from modelseal.server.store import devices as store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import plans as plan_store
from modelseal.server.store import seats as seat_store
from modelseal.server.store.engine import settle
from modelseal.server.store.rows import DeviceRow


class Inventory:
    """Licensed devices."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self, actor: Actor, device_id: str) -> DeviceRecord:
        """One device as it stands."""
        actor.need(Right.READ)
        return self._context.store.read(lambda tx: shown(tx, acting.device(tx, device_id)))

    def list(self, actor: Actor, license_id: str | None, cursor: str | None) -> Page[DeviceRecord]:
        """Devices, tombstones too, of one license where asked."""
        actor.need(Right.READ)
        rows = page_of(self._context, cursor, store.page, lambda row: row.device_id, license_id)
        items = self._context.store.read(lambda tx: [shown(tx, row) for row in rows.items])
        return Page(items=items, next_cursor=rows.next_cursor)

    def revoke(
        self, actor: Actor, device_id: str, reason: str, tag: str | None = None
    ) -> DeviceRecord:
        """Revoked for good; the seat is free when the device's last lease has ended.

        ``tag`` is the state that was read (``tag_of``); ``Conflict`` when it is another now.
        """
        actor.need(Right.DEVICES)
        if len(reason) > 512:
            raise Misuse("a reason has at most 512 characters")
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> DeviceRecord:
            row = acting.device(tx, device_id)
            license_store.lock(tx, row.license_id)
            row = acting.device(tx, device_id)
            if tag is not None and tag != tag_of(shown(tx, row)):
                raise Conflict("the device was in contact or changed since it was read")
            if row.state != "revoked":
                self._revoke(tx, actor, row, reason, known, now)
            return shown(tx, acting.device(tx, device_id))

        return context.store.write(act)

    def _revoke(
        self,
        tx: Connection,
        actor: Actor,
        row: DeviceRow,
        reason: str,
        known: recorder.Recorded,
        now: datetime,
    ) -> None:
        seat = seat_store.of_device(tx, row.license_id, row.device_id)
        if seat is not None and row.state == store.ACTIVE:
            seat_store.give_back(tx, seat, max(now, row.lease_exp or now), seat.prior_until)
        settle(store.change(
            tx, row, state="revoked", status_value=int(Status.REVOKED), held=False,
            ended_at=now, reason=reason or None, event_id=known.event_id,
        ))  # fmt: skip
        statuses.touch(tx, [row.status_list])
        recorder.record(
            tx, known, EventKind.DEVICE_REVOKED, at=now, actor=actor.name,
            subjects={"license": row.license_id, "device": row.device_id},
            params={}, personal=recorder.personal(self._context, reason=reason),
        )  # fmt: skip


def tag_of(record: DeviceRecord) -> str:
    """What names this state of a device: another after each lease, denial or act."""
    return f"{record.seq}-{record.state}"


def shown(tx: Connection, row: DeviceRow) -> DeviceRecord:
    """A device as the admin calls show it: kinds of traits, never a digest."""
    enrolled = judging.traits(row.traits)
    license_row = license_store.get(tx, row.license_id)
    moved: list[str] = []
    if license_row is not None and enrolled:
        found = plan_store.terms(tx, license_row.plan_id, license_row.plan_version)
        if found is not None:
            binding = terms_of(found[1]).binding
            match = judging.match(enrolled, judging.traits(row.presented), binding)
            moved = [str(kind) for kind in match.moved]
    return DeviceRecord(
        device_id=row.device_id,
        license_id=row.license_id,
        label=row.label,
        state="forked" if row.held else row.state,
        bound=row.bound,
        level=row.level,
        enforcement=row.enforcement,
        seq=row.seq,
        activated_at=row.activated_at,
        last_contact_at=row.last_contact_at,
        lease_expires_at=row.lease_exp,
        traits=sorted({trait.kind for trait in enrolled}),
        moved=moved,
        drift=row.drift,
        reason=row.reason,
        event_id=row.event_id,
    )
