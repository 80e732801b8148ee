"""What a restored store forgot and an export of its log still tells: done again, in order.

Only what takes a right away or moves an end: revocations, suspensions, returns, replacements,
changes of licenses, erasures, ended tokens. What gives something new (a license, a plan, a model)
needs what no log holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from modelseal import audit
from modelseal.audit import Event, EventKind
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import AuditBroken, NotFound
from modelseal.license.claims import StatusRef
from modelseal.license.status import Status
from modelseal.server.services import recorder, statuses
from modelseal.server.services.actors import LOCAL
from modelseal.server.services.context import Context
from modelseal.server.services.customers import Customers
from modelseal.server.store import delegations as delegation_store
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import log as log_store
from modelseal.server.store import plans as plan_store
from modelseal.server.store import seats as seat_store
from modelseal.server.store import tokens as token_store
from modelseal.server.store.engine import settle
from modelseal.server.store.rows import DelegationRow, DeviceRow, LicenseRow
from modelseal.trust import Use
from modelseal.types import check_aware, from_numeric


class Reapplied(msgspec.Struct, frozen=True, kw_only=True):
    """How many acts were done again, and what was not.

    ``rekey``: licenses that had got another license key, which nobody knows; none opens until
    `license rekey`. ``unknown``: acts on what was made after the snapshot.
    """

    done: int = 0
    rekey: list[str] = []
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Lost:
    """The events after a snapshot, and how many the lost log had in all."""

    events: Sequence[Event]
    size: int
    head: audit.Checkpoint


def read(context: Context, lines: Sequence[bytes], snapshot_size: int) -> Lost:
    """The events from ``snapshot_size`` on of an export that holds; ``AuditBroken``."""
    listed = context.trusted.pinned.keys(Use.CHECKPOINT)
    keys = [VerifyKey.from_jwk(key.jwk, key.alg) for key in listed]
    report = audit.verify_export(lines, None, keys)
    if report.checkpoint.size < snapshot_size:
        raise AuditBroken("the export is older than the backup", fault="truncated")
    events = audit.export.events_in(lines)[snapshot_size:]
    return Lost(events, report.checkpoint.size, report.checkpoint)


def again(context: Context, tx: Connection, lost: Lost, now: datetime) -> Reapplied:
    """Every act of ``lost`` that can be done again is done, each with an event of its own.

    Raises ``AuditBroken`` when the export is of another history than the store's own log.
    """
    mine = {head.size: head.root_hash for head in log_store.heads(tx, lost.size)}
    if mine.get(lost.head.size, lost.head.root) != lost.head.root:
        raise AuditBroken("the export is of another log than the backup", fault="forked")
    doing = _Again(context, tx, now, lost.events)
    for event in lost.events:
        doing.take(event)
    return Reapplied(done=doing.done, rekey=doing.rekey, unknown=doing.unknown)


class _Again:
    def __init__(
        self, context: Context, tx: Connection, now: datetime, events: Sequence[Event]
    ) -> None:
        self._context, self._tx, self._now = context, tx, now
        self._born: dict[str, Event] = {}
        self._seq: dict[str, int] = {}
        for event in events:
            device, seq = event.subjects.get("device", ""), event.params.get("seq")
            if event.kind is EventKind.DEVICE_ACTIVATED:
                self._born[device] = event
            if isinstance(seq, int):
                self._seq[device] = max(seq, self._seq.get(device, 0))
        self.done, self.unknown = 0, 0
        self.rekey: list[str] = []

    def take(self, event: Event) -> None:
        act = _ACTS.get(event.kind)
        if act is None:
            return
        if act(self, event):
            self.done += 1
        else:
            self.unknown += 1

    def license(self, event: Event) -> bool:
        """State, end, seats and plan as the event says; for a new license key, none opens."""
        tx, row = self._tx, license_store.get(self._tx, event.subjects.get("license", ""))
        if row is None:
            return False
        values = self._values(event.params)
        if event.kind is EventKind.LICENSE_REKEYED:
            values["key_hash"] = self._context.random(32)
            self.rekey.append(row.license_id)
        state = values.get("state")
        plan = (values.get("plan_id", row.plan_id), values.get("plan_version", row.plan_version))
        if plan_store.terms(tx, *plan) is None:
            return False
        known = recorder.fresh(self._context, self._now)
        settle(license_store.change(
            tx, row, changed_at=self._now, event_id=known.event_id,
            **{**values, "rev": row.rev + 1},
        ))  # fmt: skip
        if state in _STATUS_OF:
            value = int(_STATUS_OF[state])
            statuses.touch(tx, device_store.set_status_of_license(tx, row.license_id, value))
        self._record(known, event, row)
        return True

    def device(self, event: Event) -> bool:
        """The device is a tombstone, its seat free when its last lease has ended.

        The seat of one that was replaced is free for its successor at once.
        """
        tx, state = self._tx, _STATE_OF[event.kind]
        license_id, device_id = (event.subjects.get(noun, "") for noun in ("license", "device"))
        row = device_store.get(tx, device_id, license_id)
        if row is None:
            return self._bury(license_id, device_id, event, state)
        self._end(row, event, state)
        return True

    def _bury(self, license_id: str, device_id: str, event: Event, state: str) -> bool:
        """A tombstone of a device that came and went since the snapshot: no lease adopts it."""
        tx, now = self._tx, self._now
        born = self._born.get(device_id)
        if born is None or license_store.get(tx, license_id) is None:
            return False
        known = recorder.fresh(self._context, now)
        row = DeviceRow(
            license_id=license_id, device_id=device_id, jkt=born.subjects["key"], jwk={},
            label=None, state=state, held=False, traits=b"", presented=b"", bound=False, drift=0,
            level=0, enforcement="software", status_list=0, status_idx=0,
            status_value=_status(state), seat_no=None, seq=self._seq.get(device_id, 1),
            last_jti=None, lease_id=None, lease_seq=None, lease_iat=None,
            lease_exp=None, bundle=None, question=b"", license_rev=0, license_iat=None,
            activated_at=born.at, last_contact_at=event.at, ended_at=now, reason=None,
            event_id=known.event_id,
        )  # fmt: skip
        status_list, status_idx = statuses.place(self._context, tx)
        row = replace(row, status_list=status_list, status_idx=status_idx)
        settle(device_store.add(tx, row, now))
        statuses.touch(tx, [status_list])
        self._record(known, event)
        return True

    def delegation(self, event: Event) -> bool:
        """The relay has the delegation that was given: what it gave by it can be booked."""
        tx, told = self._tx, event.params
        license_id, relay = event.subjects.get("license", ""), str(told.get("relay", ""))
        if license_store.get(tx, license_id) is None or not isinstance(told.get("status"), dict):
            return False
        license_store.lock(tx, license_id)
        known = recorder.fresh(self._context, self._now)
        given: dict[str, Any] = {name: told[name] for name in _GIVEN}
        given |= {"delegation_id": told["delegation"], "ends_at": from_numeric(told["exp"])}
        given |= {"issued_at": event.at, "event_id": known.event_id}
        row = delegation_store.get(tx, relay)
        given["reserved"] = self._reserved(license_id, row, given)
        if row is not None:
            delegation_store.change(tx, row, **given)
        else:
            claimed = msgspec.convert(told["status"], StatusRef)
            place = statuses.place(self._context, tx, claimed)
            fresh = DelegationRow(
                license_id=license_id, relay=relay, device_id=event.subjects.get("device", ""),
                state="active", seats_spent=0, renewals_spent=0, overdrawn=0,
                status_list=place[0], status_idx=place[1], status_value=0, **given,
            )  # fmt: skip
            delegation_store.add(tx, fresh)
        self._record(known, event)
        return True

    def _reserved(
        self, license_id: str, row: DelegationRow | None, given: Mapping[str, Any]
    ) -> int:
        """Seats that the relay may still give, or gave and tells again, as far as they are free."""
        tx, now, licensed = self._tx, self._now, license_store.get(self._tx, license_id)
        if licensed is None or given["ends_at"] <= now:
            return 0
        spent, mine = (row.seats_spent, row.reserved) if row is not None else (0, 0)
        free = licensed.seats - seat_store.used(tx, license_id, now) - (licensed.reserved - mine)
        return max(0, min(int(given["seats"]) - spent, free))

    def budget(self, event: Event) -> bool:
        """The relay's budget is revoked, or was restored since."""
        tx, row = self._tx, delegation_store.get(self._tx, event.subjects.get("relay", ""))
        if row is None:
            return False
        license_store.lock(tx, row.license_id)
        revokes = event.kind is EventKind.DELEGATION_REVOKED
        value = int(Status.REVOKED) if revokes else 0
        state = "revoked" if revokes else "active"
        delegation_store.change(tx, row, state=state, status_value=value)
        statuses.touch(tx, [row.status_list])
        self._record(recorder.fresh(self._context, self._now), event)
        return True

    def token(self, event: Event) -> bool:
        """The access token opens nothing."""
        token_id = event.subjects.get("token", "")
        if token_store.get(self._tx, token_id) is None:
            return False
        token_store.revoke(self._tx, token_id, self._now)
        self._record(recorder.fresh(self._context, self._now), event)
        return True

    def customer(self, event: Event) -> bool:
        """What was erased is erased again."""
        try:
            customers = Customers(self._context)
            customers.erase_within(self._tx, LOCAL, event.subjects.get("customer", ""), self._now)
        except NotFound:
            return False
        return True

    def _end(self, row: DeviceRow, event: Event, state: str) -> None:
        tx, now, at_once = self._tx, self._now, state == "replaced"
        license_store.lock(tx, row.license_id)
        seat = seat_store.of_device(tx, row.license_id, row.device_id)
        if seat is not None and seat.free_at is None:
            free_at = now if at_once else max(now, row.lease_exp or now)
            told = event.params.get("seat_free_at")
            if isinstance(told, str):
                free_at = check_aware(datetime.fromisoformat(told))
            prior = row.lease_exp if at_once else seat.prior_until
            seat_store.give_back(tx, seat, free_at, prior)
        known = recorder.fresh(self._context, now)
        settle(device_store.change(
            tx, row, state=state, status_value=_status(state), held=False, ended_at=now,
            event_id=known.event_id,
        ))  # fmt: skip
        statuses.touch(tx, [row.status_list])
        self._record(known, event)

    def _values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: params[name] for name in _COLUMNS if name in params}
        if isinstance(kept.get("ends_at"), str):
            kept["ends_at"] = check_aware(datetime.fromisoformat(kept["ends_at"]))
        return kept

    def _record(
        self, known: recorder.Recorded, event: Event, row: LicenseRow | None = None
    ) -> None:
        told = {name: value for name, value in event.params.items() if name in _COLUMNS}
        recorder.record(
            self._tx, known, event.kind, at=self._now, actor=LOCAL.name,
            subjects={noun: event.subjects.get(noun) for noun in _NOUNS}
            | {"customer": row.customer_id if row else None},
            params={**told, "again": event.id},
        )  # fmt: skip


def _status(state: str) -> int:
    return int(Status.REVOKED if state == "revoked" else Status.ENDED)


_COLUMNS = ("plan_id", "plan_version", "seats", "ends_at", "period_seconds", "state")
_NOUNS = ("license", "device", "token", "relay")
_GIVEN = ("number", "seats", "renewals", "level")
_STATUS_OF = {
    "active": Status.VALID,
    "suspended": Status.SUSPENDED,
    "revoked": Status.REVOKED,
}
_STATE_OF = {
    EventKind.DEVICE_REVOKED: "revoked",
    EventKind.DEVICE_RETURNED: "returned",
    EventKind.DEVICE_REPLACED: "replaced",
}
_ACTS: Mapping[EventKind, Callable[[_Again, Event], bool]] = {
    EventKind.LICENSE_CHANGED: _Again.license,
    EventKind.LICENSE_RENEWED: _Again.license,
    EventKind.LICENSE_SUSPENDED: _Again.license,
    EventKind.LICENSE_RESUMED: _Again.license,
    EventKind.LICENSE_REVOKED: _Again.license,
    EventKind.LICENSE_REKEYED: _Again.license,
    EventKind.DEVICE_REVOKED: _Again.device,
    EventKind.DEVICE_RETURNED: _Again.device,
    EventKind.DEVICE_REPLACED: _Again.device,
    EventKind.DELEGATION_GIVEN: _Again.delegation,
    EventKind.DELEGATION_REVOKED: _Again.budget,
    EventKind.DELEGATION_RESTORED: _Again.budget,
    EventKind.TOKEN_REVOKED: _Again.token,
    EventKind.CUSTOMER_ERASED: _Again.customer,
}
