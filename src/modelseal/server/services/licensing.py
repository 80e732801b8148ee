"""Licenses on the publisher's side: issue, change, suspend, resume, revoke, renew, rekey."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from modelseal.admin import (
    IssuedLicense,
    IssueLicense,
    LicenseChange,
    LicenseRecord,
    LicenseState,
    Page,
    RekeyedLicense,
)
from modelseal.audit import EventKind
from modelseal.errors import Conflict, Misuse, NotFound
from modelseal.license import license_key
from modelseal.license.plans import Plan
from modelseal.license.status import Status
from modelseal.server.services import anomalies, metering, recorder, statuses
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.context import Context
from modelseal.server.services.ends import Ends, ends_of, later
from modelseal.server.services.idempotency import once
from modelseal.server.services.paging import page_of
from modelseal.server.services.plans import terms_of
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as store
from modelseal.server.store import plans as plan_store
from modelseal.server.store import seats as seat_store
from modelseal.server.store.rows import LicenseRow

KEY_SECRET = "license-key-hash"
ACTIVE, SUSPENDED, REVOKED = "active", "suspended", "revoked"


def hash_key(context: Context, secret: bytes) -> bytes:
    """The keyed hash under which a license key is found; the key itself is stored nowhere."""
    return context.keyed_hash(KEY_SECRET, secret)


class Licensing:
    """What a publisher does with licenses."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def issue(self, actor: Actor, wish: IssueLicense) -> IssuedLicense:
        """A new license with a fresh license key, which is shown this once."""
        actor.need(Right.LICENSES)
        context, now = self._context, self._context.now()
        key = license_key.generate(context.random)
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> IssuedLicense:
            row, plan_name = self.insert(tx, wish, key, known, now)
            self._record(
                tx, known, EventKind.LICENSE_ISSUED, actor, row, now,
                {"plan": plan_name, "plan_version": row.plan_version, "seats": row.seats,
                 "ends_at": _text(row.ends_at), "period_seconds": row.period_seconds},
                customer=wish.customer, label=wish.label,
            )  # fmt: skip
            return IssuedLicense(
                license_id=row.license_id,
                license_key=key,
                plan=plan_name,
                plan_version=row.plan_version,
                customer=wish.customer,
                seats=row.seats,
                expires_at=row.ends_at,
                created_at=now,
                event_id=known.event_id,
                label=row.label,
            )

        return once(context, actor.name, wish.idempotency_key, wish, act, IssuedLicense)

    def insert(
        self,
        tx: Connection,
        wish: IssueLicense,
        key: str,
        known: recorder.Recorded,
        now: datetime,
    ) -> tuple[LicenseRow, str]:
        """The row of a new license and the name of its plan."""
        context = self._context
        plan_row = plan_store.find(tx, wish.plan)
        if plan_row is None:
            raise NotFound("no such plan", name=wish.plan)
        plan = terms_of(plan_row.terms)
        ends = ends_of(
            plan, now, expires_at=wish.expires_at,
            expires_in_seconds=wish.expires_in_seconds, never=wish.never,
        )  # fmt: skip
        customer_id = plan_store.ensure_customer(tx, context.new_id("cus", now), wish.customer, now)
        row = LicenseRow(
            license_id=context.new_id("lic", now),
            key_hash=hash_key(context, license_key.parse(key)),
            plan_id=plan_row.plan_id,
            plan_version=plan_row.version,
            customer_id=customer_id,
            label=wish.label,
            metadata=dict(wish.metadata),
            seats=wish.seats or plan.seats,
            state=ACTIVE,
            starts_at=None if plan.starts == "first_activation" else now,
            ends_at=ends.ends_at,
            period_seconds=ends.period_seconds,
            reason=None,
            rev=1,
            version=1,
            created_at=now,
            changed_at=now,
            event_id=known.event_id,
        )
        store.add(tx, row)
        return row, plan_row.name

    def show(self, actor: Actor, license_id: str) -> LicenseRecord:
        """One license as it stands."""
        actor.need(Right.READ)
        now = self._context.now()
        return self._context.store.read(lambda tx: shown(tx, _get(tx, license_id), now))

    def list(
        self,
        actor: Actor,
        cursor: str | None,
        customer: str | None,
        state: LicenseState | None,
    ) -> Page[LicenseRecord]:
        """Licenses, of one customer or in one state where asked."""
        actor.need(Right.READ)
        context, now = self._context, self._context.now()
        customer_id = None
        if customer is not None:
            found = context.store.read(plan_store.customer, customer)
            if found is None:
                return Page(items=[])
            customer_id = found.customer_id
        rows = page_of(
            context, cursor, store.page, lambda row: row.license_id,
            customer_id=customer_id, state=None if state is None else state.value, now=now,
        )  # fmt: skip
        items = context.store.read(lambda tx: [shown(tx, row, now) for row in rows.items])
        return Page(items=items, next_cursor=rows.next_cursor)

    def change(self, actor: Actor, license_id: str, change: LicenseChange) -> LicenseRecord:
        """The license after the change; devices learn it at their next renewal."""
        actor.need(Right.LICENSES)
        now = self._context.now()

        def values(tx: Connection, row: LicenseRow) -> dict[str, Any]:
            return self._changed(tx, row, change, now)

        return self._act(actor, license_id, EventKind.LICENSE_CHANGED, values, change.version)

    def renew(
        self,
        actor: Actor,
        license_id: str,
        change: LicenseChange | None,
        idempotency_key: str | None = None,
    ) -> LicenseRecord:
        """The license one plan period longer, or until the end that ``change`` names.

        Within late payment the period follows the last one; after it a new one begins now.
        """
        actor.need(Right.LICENSES)
        now = self._context.now()

        def values(tx: Connection, row: LicenseRow) -> dict[str, Any]:
            if change is not None:
                return self._changed(tx, row, change, now)
            plan = _plan(tx, row)[1]
            if plan.period_seconds is None:
                raise Misuse("the plan has no period; say until when", license=license_id)
            if row.ends_at is None:
                raise Conflict("the license has no end yet that could be moved")
            late = timedelta(seconds=plan.late_payment_seconds)
            # Who pays late has had the days since; who comes back after it begins anew.
            start = row.ends_at if now - late < row.ends_at else max(now, row.ends_at)
            return {"ends_at": later(start, plan.period_seconds, now), "rev": row.rev + 1}

        version = None if change is None else change.version
        question = ["license_renew", license_id, change]
        return self._act(
            actor, license_id, EventKind.LICENSE_RENEWED, values, version,
            once_by=(idempotency_key, question),
        )  # fmt: skip

    def suspend(self, actor: Actor, license_id: str, reason: str) -> LicenseRecord:
        """Suspended: no renewal, no key release, status list says so, until it is resumed."""
        actor.need(Right.LICENSES)

        def values(tx: Connection, row: LicenseRow) -> dict[str, Any]:
            self._status(tx, row, Status.SUSPENDED)
            return {"state": SUSPENDED, "reason": reason or None}

        return self._act(actor, license_id, EventKind.LICENSE_SUSPENDED, values, reason=reason)

    def resume(self, actor: Actor, license_id: str) -> LicenseRecord:
        """Active again."""
        actor.need(Right.LICENSES)

        def values(tx: Connection, row: LicenseRow) -> dict[str, Any]:
            self._status(tx, row, Status.VALID)
            return {"state": ACTIVE, "reason": None}

        return self._act(actor, license_id, EventKind.LICENSE_RESUMED, values)

    def revoke(self, actor: Actor, license_id: str, reason: str) -> LicenseRecord:
        """Revoked for good: whatever is answered after this returned is a denial."""
        actor.need(Right.LICENSES)

        def values(tx: Connection, row: LicenseRow) -> dict[str, Any]:
            self._status(tx, row, Status.REVOKED)
            return {"state": REVOKED, "reason": reason or None}

        return self._act(actor, license_id, EventKind.LICENSE_REVOKED, values, reason=reason)

    def rekey(
        self, actor: Actor, license_id: str, idempotency_key: str | None = None
    ) -> RekeyedLicense:
        """A new license key in place of the old one; devices stay as they are."""
        actor.need(Right.LICENSES)
        context = self._context
        key = license_key.generate(context.random)
        hashed = hash_key(context, license_key.parse(key))
        known = recorder.fresh(context, context.now())
        act = self._acting(
            actor, license_id, EventKind.LICENSE_REKEYED,
            lambda _tx, _row: {"key_hash": hashed}, known,
        )  # fmt: skip

        def rekeyed(tx: Connection) -> RekeyedLicense:
            act(tx)
            return RekeyedLicense(license_id=license_id, license_key=key, event_id=known.event_id)

        question = ["license_rekey", license_id]
        return once(context, actor.name, idempotency_key, question, rekeyed, RekeyedLicense)

    def _act(
        self,
        actor: Actor,
        license_id: str,
        kind: EventKind,
        values: Callable[[Connection, LicenseRow], dict[str, Any]],
        version: int | None = None,
        reason: str = "",
        once_by: tuple[str | None, object] = (None, None),
    ) -> LicenseRecord:
        context = self._context
        if len(reason) > 512:
            raise Misuse("a reason has at most 512 characters")
        known = recorder.fresh(context, context.now())
        act = self._acting(actor, license_id, kind, values, known, version, reason)
        return once(context, actor.name, *once_by, act, LicenseRecord)

    def _acting(
        self,
        actor: Actor,
        license_id: str,
        kind: EventKind,
        values: Callable[[Connection, LicenseRow], dict[str, Any]],
        known: recorder.Recorded,
        version: int | None = None,
        reason: str = "",
    ) -> Callable[[Connection], LicenseRecord]:
        """What changes the license within a transaction and records it."""
        now = self._context.now()

        def act(tx: Connection) -> LicenseRecord:
            store.lock(tx, license_id)
            row = _get(tx, license_id)
            if version is not None and version != row.version:
                raise Conflict("the license was changed since it was read", version=row.version)
            if row.state == REVOKED:
                if kind is EventKind.LICENSE_REVOKED:
                    return shown(tx, row, now)
                raise Conflict("a revoked license stays revoked", license=license_id)
            new = values(tx, row)
            if not store.change(tx, row, changed_at=now, event_id=known.event_id, **new):
                raise Conflict("the license was changed at the same moment", license=license_id)
            changed = {name: _plain(value) for name, value in new.items() if name in _TOLD}
            self._record(tx, known, kind, actor, row, now, changed, reason=reason)
            return shown(tx, _get(tx, license_id), now)

        return act

    def _changed(
        self, tx: Connection, row: LicenseRow, change: LicenseChange, now: datetime
    ) -> dict[str, Any]:
        new: dict[str, Any] = {"rev": row.rev + 1}
        _name, plan = _plan(tx, row)
        if change.plan is not None:
            found = plan_store.find(tx, change.plan)
            if found is None:
                raise NotFound("no such plan", name=change.plan)
            terms = terms_of(found.terms)
            if row.seats == plan.seats:
                new["seats"] = terms.seats
            new |= {"plan_id": found.plan_id, "plan_version": found.version}
            plan = terms
        if change.seats is not None:
            new["seats"] = change.seats
        if change.label is not None:
            new["label"] = change.label or None
        if change.metadata is not None:
            new["metadata"] = dict(change.metadata)
        if change.expires_at or change.expires_in_seconds or change.never:
            ends = ends_of(
                plan, now, expires_at=change.expires_at,
                expires_in_seconds=change.expires_in_seconds, never=change.never,
            )  # fmt: skip
            if ends.period_seconds is not None and row.starts_at is not None:
                ends = Ends(later(now, ends.period_seconds, now), None)
            new |= {"ends_at": ends.ends_at, "period_seconds": ends.period_seconds}
        return new

    def _status(self, tx: Connection, row: LicenseRow, value: int) -> None:
        touched = device_store.set_status_of_license(tx, row.license_id, value)
        statuses.touch(tx, touched)

    def _record(
        self,
        tx: Connection,
        known: recorder.Recorded,
        kind: EventKind,
        actor: Actor,
        row: LicenseRow,
        now: datetime,
        params: dict[str, Any],
        **written: str | None,
    ) -> None:
        recorder.record(
            tx, known, kind, at=now, actor=actor.name,
            subjects={"license": row.license_id, "customer": row.customer_id}, params=params,
            personal=recorder.personal(self._context, **written),
        )  # fmt: skip


_TOLD = frozenset({"plan_id", "plan_version", "seats", "ends_at", "period_seconds", "state", "rev"})


def shown(tx: Connection, row: LicenseRow, now: datetime) -> LicenseRecord:
    """A license as the admin calls show it."""
    name, plan = _plan(tx, row)
    customer = plan_store.customer(tx, row.customer_id)
    return LicenseRecord(
        license_id=row.license_id,
        customer=customer.customer if customer else None,
        plan=name,
        plan_version=row.plan_version,
        state=state_of(row, now),
        entitlements=[entitlement.id for entitlement in plan.entitlements],
        seats=row.seats,
        seats_used=seat_store.used(tx, row.license_id, now),
        expires_at=row.ends_at,
        created_at=row.created_at,
        changed_at=row.changed_at,
        version=row.version,
        lease_max_seconds=plan.lease.max_seconds,
        enforcement=plan.enforcement,
        starts_at=row.starts_at,
        label=row.label,
        metadata=row.metadata,
        overage=seat_store.overlaps(tx, row.license_id, now),
        meters=metering.shown(tx, row, plan, now),
        flags=anomalies.flags(tx, row.license_id, now) if plan.anomalies else [],
        reason=row.reason,
        event_id=row.event_id,
    )


def state_of(row: LicenseRow, now: datetime) -> LicenseState:
    """Where the license stands at ``now``."""
    ended = row.ends_at is not None and now >= row.ends_at
    if ended and row.state != REVOKED:
        return LicenseState.EXPIRED
    return LicenseState(row.state)


def _plan(tx: Connection, row: LicenseRow) -> tuple[str, Plan]:
    found = plan_store.terms(tx, row.plan_id, row.plan_version)
    if found is None:
        raise NotFound("the license's plan is gone", license=row.license_id)
    return found[0], terms_of(found[1])


plan_of = _plan


def _get(tx: Connection, license_id: str) -> LicenseRow:
    row = store.get(tx, license_id)
    if row is None:
        raise NotFound("no such license", license=license_id)
    return row


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _plain(value: object) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
