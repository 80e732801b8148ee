"""A license that a rule of its plan suspends, until the publisher resumes it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.license.status import Status
from modelseal.server.services import recorder, statuses
from modelseal.server.services.context import Context
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store.engine import settle


def by_rule(
    context: Context, tx: Connection, license_id: str, why: str, reason: str, now: datetime
) -> bool:
    """The license is suspended, its devices are listed so; False when it was not active.

    ``why`` stands in the log, ``reason`` is what whoever is refused is told. The caller holds the
    license's lock.
    """
    row = license_store.get(tx, license_id)
    if row is None or row.state != "active":
        return False
    settle(license_store.change(tx, row, state="suspended", reason=reason))
    touched = device_store.set_status_of_license(tx, license_id, Status.SUSPENDED)
    statuses.touch(tx, touched)
    recorder.record(
        tx, recorder.fresh(context, now), EventKind.LICENSE_SUSPENDED, at=now,
        actor="system", params={"state": "suspended", "why": why},
        subjects={"license": license_id, "customer": row.customer_id},
    )  # fmt: skip
    return True
