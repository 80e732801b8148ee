"""Meters: what devices have counted, against what the plan allows."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from modelseal.admin import MeterUse
from modelseal.license import metering
from modelseal.license.claims import RequestClaims
from modelseal.license.facts import MeterFacts
from modelseal.license.plans import Plan
from modelseal.server.store import licenses as license_store
from modelseal.server.store import usage as store
from modelseal.server.store.rows import LicenseRow

if TYPE_CHECKING:
    from modelseal.server.services.issuing import Terms

MOST = 2**53 - 1


def told(
    tx: Connection, terms: Terms, device_id: str, claims: RequestClaims, now: datetime
) -> tuple[MeterFacts, ...]:
    """The plan's meters after what ``claims`` tell was added; what is told twice counts once.

    Meters that the plan does not name are not kept. The license is locked where there are any.
    """
    if not terms.plan.meters:
        return ()
    license_store.lock(tx, terms.license.license_id)
    counted: dict[str, int] = {}
    for usage in claims.usage:
        counted[usage.meter] = max(usage.count, counted.get(usage.meter, 0))
    for meter in terms.plan.meters:
        if meter.name in counted:
            since, _ = metering.period(meter, now, **_start(terms.license, terms.plan))
            store.tell(
                tx, terms.license.license_id, device_id, meter.name, counted[meter.name], since
            )
    return facts(tx, terms.license, terms.plan, now)


def facts(tx: Connection, row: LicenseRow, plan: Plan, now: datetime) -> tuple[MeterFacts, ...]:
    """The meters of a license as they stand."""
    return tuple(
        MeterFacts(name=use.name, used=use.used, limit=use.limit, resets_at=use.resets_at)
        for use in shown(tx, row, plan, now)
    )


def shown(tx: Connection, row: LicenseRow, plan: Plan, now: datetime) -> list[MeterUse]:
    """The same for whoever asks how much is left."""
    found = []
    for meter in plan.meters:
        since, ends = metering.period(meter, now, **_start(row, plan))
        used = min(store.used(tx, row.license_id, meter.name, since), MOST)
        found.append(
            MeterUse(name=meter.name, used=used, limit=meter.limit, per=meter.per, resets_at=ends)
        )
    return found


def _start(row: LicenseRow, plan: Plan) -> dict[str, Any]:
    return {"starts_at": row.starts_at, "period_seconds": plan.period_seconds}
