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
from modelseal.server.store.rows import DeviceRow, PreparedRow, RelayedRow
from modelseal.types import from_numeric, to_numeric

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
        if claims.next_lease in ids:
            _show(context, tx, row, ids.index(claims.next_lease) + 1, now)


def _show(context: Context, tx: Connection, row: RelayedRow, place: int, now: datetime) -> None:
    if place > row.shown:
        store.change(tx, row, shown=place, shown_at=now)
    actor = f"device:{row.device_id}"
    if is_early(row, place, now):
        find(context, tx, actor, row, Finding.EARLY, place)
    holders = _holders(tx, row)
    ended = all(each.closed_at is not None for each in holders)
    if ended and place > max(each.released for each in holders):
        find(context, tx, actor, row, Finding.AFTER_END, place)


def told_elsewhere(tx: Connection, lease: PreparedRow, now: datetime) -> None:
    """Support told the code of ``lease``: it counts as given out, in its time, by every relay."""
    for row in store.of_device(tx, lease.license_id, lease.device_id, lease.base):
        ids = [lease_id for _seq, lease_id, _starts, _ends in row.places]
        if lease.lease_id in ids:
            place = ids.index(lease.lease_id) + 1
            seq, lease_id, starts, ends = row.places[place - 1]
            begun = [seq, lease_id, min(starts, to_numeric(now)), ends]
            places = [*row.places[: place - 1], begun, *row.places[place:]]
            store.change(tx, row, places=places, released=max(row.released, place))


def settle(context: Context, tx: Connection, actor: str, relay: str, after: datetime) -> None:
    """What a report that follows one recorded at ``after`` leaves untold is found.

    The relay made it later than that, so it tells of all that was given out until then: what a
    device had shown by then and no relay that holds it tells, one of them hides.
    """
    now = context.now()
    for row in store.unsettled(tx, relay, after, _AT_ONCE):
        closes = row.told_at is not None and row.told_at < after and row.closed_at is None
        closed_at = now if closes else row.closed_at
        store.change(tx, row, closed_at=closed_at, settled_at=after)
        holders = _holders(tx, row)
        if row.shown <= max(each.released for each in holders):
            continue
        if all(_has_told(each) for each in holders):
            for each in holders:
                find(context, tx, actor, each, Finding.SILENT, row.shown)
    store.forget(tx, relay, now - KEPT)


def _holders(tx: Connection, row: RelayedRow) -> list[RelayedRow]:
    """The rows of all relays that hold the same leases."""
    return store.of_device(tx, row.license_id, row.device_id, row.base)


def _has_told(row: RelayedRow) -> bool:
    """Whether the relay's word reaches to when the device showed what it has, if it held it."""
    told, shown_at = row.settled_at, row.shown_at
    return shown_at is None or (told is not None and told > shown_at)


def find(
    context: Context, tx: Connection, actor: str, row: RelayedRow, finding: Finding, place: int
) -> None:
    """The finding stands in the log, once for a relay and the leases of one answer."""
    holders = _holders(tx, row)
    current = next(each for each in holders if each.relay == row.relay)
    before = current.found or []
    if finding.value in before:
        return
    now = context.now()
    store.change(tx, row, found=[*before, finding.value])
    recorder.record(
        tx, recorder.fresh(context, now), EventKind.RELAY_OVERDREW, at=now, actor=actor,
        subjects={"license": row.license_id, "relay": row.relay},
        params={
            "finding": finding.value,
            "device": row.device_id,
            "base": row.base,
            "place": place,
            "starts": row.places[place - 1][2],
            "released": current.released,
            "shown": current.shown,
            "holders": len(holders),
        },
    )  # fmt: skip
