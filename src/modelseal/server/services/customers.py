"""Customers: all that is stored about one, and erasing it while the log stays verifiable."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from modelseal.admin import CustomerExport, ErasedCustomer
from modelseal.audit import EventKind
from modelseal.errors import Misuse, NotFound
from modelseal.license.status import Status
from modelseal.server.services import inventory, licensing, recorder, statuses, verdicts
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.context import Context
from modelseal.server.services.log import shown_event
from modelseal.server.store import devices as device_store
from modelseal.server.store import events as event_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import plans as plan_store
from modelseal.server.store import results as result_store
from modelseal.server.store.engine import settle
from modelseal.server.store.rows import CustomerRow, LicenseRow

_ALL = 1_000_000
_MAX_CHARACTERS = 254


class Customers:
    """Export and erasure."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def export(self, actor: Actor, which: str) -> CustomerExport:
        """All that is stored about the customer; the export itself is an event."""
        actor.need(Right.CUSTOMERS)
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> CustomerExport:
            customer = _find(tx, which)
            rows = _licenses(tx, customer, now)
            devices = [d for row in rows for d in device_store.of_license(tx, row.license_id)]
            named = [row.license_id for row in rows]
            events = event_store.of_customer(tx, customer.customer_id, named)
            recorder.record(
                tx, known, EventKind.CUSTOMER_EXPORTED, at=now, actor=actor.name,
                subjects={"customer": customer.customer_id}, params={},
            )  # fmt: skip
            return CustomerExport(
                customer_id=customer.customer_id,
                customer=customer.customer or "",
                exported_at=now,
                licenses=[licensing.shown(tx, row, now) for row in rows],
                devices=[inventory.shown(tx, device) for device in devices],
                events=[shown_event(row) for row in events],
                attestations=[
                    verdicts.shown(tx, event_id, kept)
                    for license_id in named
                    for event_id, kept in result_store.of_license(tx, license_id)
                ],
            )

        return context.store.write(act)

    def erase(self, actor: Actor, which: str) -> ErasedCustomer:
        """Licenses revoked; reference, labels, metadata and traits gone; ids and log remain."""
        actor.need(Right.CUSTOMERS)
        return self._context.store.write(self.erase_within, actor, which, self._context.now())

    def erase_within(
        self, tx: Connection, actor: Actor, which: str, now: datetime
    ) -> ErasedCustomer:
        """The same as part of a larger act."""
        known = recorder.fresh(self._context, now)
        customer = _find(tx, which)
        rows = _licenses(tx, customer, now)
        devices = 0
        for row in rows:
            devices += self._erase_license(tx, row, known, now)
        event_store.erase_personal(tx, customer.customer_id, [r.license_id for r in rows])
        plan_store.erase_customer(tx, customer.customer_id, now)
        recorder.record(
            tx, known, EventKind.CUSTOMER_ERASED, at=now, actor=actor.name,
            subjects={"customer": customer.customer_id},
            params={"licenses": len(rows), "devices": devices},
        )  # fmt: skip
        return ErasedCustomer(
            customer_id=customer.customer_id,
            licenses=len(rows),
            devices=devices,
            event_id=known.event_id,
        )

    def _erase_license(
        self, tx: Connection, row: LicenseRow, known: recorder.Recorded, now: datetime
    ) -> int:
        license_store.lock(tx, row.license_id)
        settle(license_store.change(
            tx, row, state="revoked", reason=None, label=None, metadata={},
            key_hash=self._context.random(32), changed_at=now, event_id=known.event_id,
        ))  # fmt: skip
        touched = device_store.set_status_of_license(tx, row.license_id, int(Status.REVOKED))
        statuses.touch(tx, touched)
        device_store.forget_traits_of_trials(tx, row.license_id)
        result_store.erase(tx, row.license_id)
        return device_store.erase(tx, row.license_id, now)


def _find(tx: Connection, which: str) -> CustomerRow:
    if not 0 < len(which) <= _MAX_CHARACTERS:
        raise Misuse("a customer is named by 1 to 254 characters")
    row = plan_store.customer(tx, which)
    if row is None:
        raise NotFound("no such customer")
    return row


def _licenses(tx: Connection, customer: CustomerRow, now: datetime) -> list[LicenseRow]:
    return license_store.page(tx, "", _ALL, customer_id=customer.customer_id, now=now)
