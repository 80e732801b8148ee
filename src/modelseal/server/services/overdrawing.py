"""A relay that gave out more than it was to: where its word and its devices' do not agree.

A relay reports which leases ahead it gave out, and devices show in signed requests which they took
in. A finding accuses the relay's operator, so each is made only from what no honest relay can do.
Normative: ``docs/spec/relay.md``, section 6.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.license.claims import RequestClaims
from modelseal.server.services import recorder
from modelseal.server.services.context import Context
from modelseal.server.store import relayed as store
from modelseal.server.store.rows import DeviceRow, RelayedRow
from modelseal.types import from_numeric

CLOCK_SECONDS = 300
"""By how much two clocks may differ before a lease counts as given out early."""
KEPT = timedelta(days=90)
"""For how long after its end a device may still show a lease."""
_AT_ONCE = 1000


class Finding(StrEnum):
    """What does not fit; ``docs/spec/relay.md`` says what each means."""

    EARLY = "early"
    SILENT = "silent"
    AFTER_END = "after_end"
    SHARED = "shared"


def is_early(row: RelayedRow, place: int, at: datetime) -> bool:
    """Whether ``place`` had not begun at ``at``, whatever two clocks may differ."""
    starts = from_numeric(row.places[place - 1][2])
    return at < starts - timedelta(seconds=CLOCK_SECONDS)


def shown(context: Context, tx: Connection, claims: RequestClaims, device: DeviceRow) -> None:
    """The lease ahead that the request says the device took in is noted, and what it proves.

    Its id is known only to whoever had the code.
    """
    if claims.next_lease is None:
        return
    now = context.now()
    for row in store.of_device(tx, device.license_id, device.device_id):
        ids = [lease_id for _seq, lease_id, _starts, _ends in row.places]
        if claims.next_lease not in ids:
            continue
        place = ids.index(claims.next_lease) + 1
        if place > row.shown:
            store.change(tx, row, shown=place, shown_at=now)
        actor = f"device:{device.device_id}"
        if is_early(row, place, now):
            find(context, tx, actor, row.relay, row, Finding.EARLY, place)
        if row.closed_at is not None and place > row.released:
            find(context, tx, actor, row.relay, row, Finding.AFTER_END, place)


def settle(context: Context, tx: Connection, actor: str, relay: str, after: datetime) -> None:
    """What a report that follows one recorded at ``after`` leaves untold is found.

    The relay made it later than that, so it tells of all that was given out until then: what a
    device had shown by then and it does not tell, it hides.
    """
    now = context.now()
    for row in store.unsettled(tx, relay, after, _AT_ONCE):
        if row.told_at is not None and row.told_at <= after and row.closed_at is None:
            store.change(tx, row, closed_at=now)
        hides = row.shown > row.released and row.shown_at is not None and row.shown_at <= after
        if hides and not row.shared and not row.found:
            find(context, tx, actor, relay, row, Finding.SILENT, row.shown)
    store.forget(tx, relay, now - KEPT)


def find(
    context: Context, tx: Connection, actor: str, relay: str, row: RelayedRow, finding: Finding,
    place: int,
) -> None:  # fmt: skip
    """The finding stands in the log, once for the leases of one answer."""
    current = store.get(tx, row.license_id, row.device_id, row.base) or row
    before = current.found or []
    if finding.value in before:
        return
    now = context.now()
    store.change(tx, row, found=[*before, finding.value])
    recorder.record(
        tx, recorder.fresh(context, now), EventKind.RELAY_OVERDREW, at=now, actor=actor,
        subjects={"license": row.license_id, "relay": relay},
        params={
            "finding": finding.value,
            "device": row.device_id,
            "base": row.base,
            "place": place,
            "starts": row.places[place - 1][2] if place else None,
            "released": current.released,
            "shown": current.shown,
            "given_to": row.relay,
        },
    )  # fmt: skip
