"""Seats: taking, moving and giving back, each decided by one conditional write.

The caller holds the license's lock, so that what is counted here (rebinds, instant returns) cannot
be spent twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from modelseal.errors import NotFound
from modelseal.license.claims import RequestClaims
from modelseal.license.facts import SeatFacts
from modelseal.license.plans import Plan
from modelseal.server.services import ahead, judging, statuses
from modelseal.server.services.issuing import Terms
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import seats as store
from modelseal.server.store.engine import settle
from modelseal.server.store.rows import DeviceRow, SeatRow
from modelseal.server.store.together import Group
from modelseal.types import Enforcement

WINDOW = timedelta(days=90)
REBIND, FREE_REBIND, INSTANT_RETURN = "rebind", "free_rebind", "instant_return"
ENDED = 3


@dataclass(frozen=True, slots=True)
class Seating:
    """A seat as it was given, or why not. ``spent`` is the allowance that is to be written."""

    facts: SeatFacts
    seat_no: int | None = None
    prior_until: datetime | None = None
    replaced: DeviceRow | None = None
    spent: str | None = None


def enter(
    tx: Connection,
    terms: Terms,
    claims: RequestClaims,
    device_id: str,
    device: DeviceRow | None,
    now: datetime,
    group: Group,
) -> Seating:
    """A seat for a device whose user entered the license key.

    A device that holds one keeps it; healing a fork costs a rebind. One that gave its seat back
    and whose last lease still keeps it takes it back. ``replace`` moves the named device's seat at
    once; otherwise a free seat is taken. What is refused has changed nothing.
    """
    license_id, seats = terms.license.license_id, terms.license.seats
    if device is not None:
        mine = store.of_device(tx, license_id, device.device_id)
        if device.state == device_store.ACTIVE and (mine is not None or device.held):
            return _keep(tx, terms, device, now)
        # Its own last lease still keeps the seat; nobody else may have it before, so it may.
        waiting = mine is not None and mine.free_at is not None and mine.free_at > now
        returned = device.state == "returned"
        if mine is not None and waiting and returned and store.take_back(tx, mine):
            return Seating(SeatFacts(outcome="free", seats=seats), mine.seat_no)
    if claims.replace is not None and claims.replace != device_id:
        return _replace(tx, terms, claims, device_id, device, now)
    ahead.settled(group, license_id)
    return _take(tx, terms, device, now)


def next_of(terms: Terms, group: Group) -> Seating | None:
    """The seat of a new device that replaces nobody, where the group knows the next one."""
    number = ahead.seat(group, terms.license.license_id)
    if number is None:
        return None
    return Seating(SeatFacts(outcome="free", seats=terms.license.seats), number)


def _take(tx: Connection, terms: Terms, device: DeviceRow | None, now: datetime) -> Seating:
    """A free seat; that of a new device is taken once its row is written."""
    license_id = terms.license.license_id
    free = SeatFacts(outcome="free", seats=terms.license.seats)
    if device is not None:
        seat_no = store.take(tx, license_id, device.device_id, now)
        return Seating(_none(tx, terms, now)) if seat_no is None else Seating(free, seat_no)
    offer = store.offer(tx, license_id, now)
    if offer is None:
        return Seating(_none(tx, terms, now))
    return Seating(free, offer.seat_no, offer.prior_until)


def _held(seat: SeatRow, now: datetime) -> bool:
    return seat.free_at is None or seat.free_at > now


def _keep(tx: Connection, terms: Terms, device: DeviceRow, now: datetime) -> Seating:
    """The device's own seat, or a free one where its own has lapsed; a fork costs a rebind."""
    limit, since = terms.plan.binding.rebinds_per_90d, now - WINDOW
    if not device.held:
        return hold_for(tx, terms, device, now)
    license_id, seats = terms.license.license_id, terms.license.seats
    if license_store.spent(tx, license_id, REBIND, since) >= limit:
        return Seating(SeatFacts(outcome="rebinds_used_up", seats=seats, limit=limit))
    return replace(hold_for(tx, terms, device, now), spent=REBIND)


def _replace(
    tx: Connection,
    terms: Terms,
    claims: RequestClaims,
    device_id: str,
    device: DeviceRow | None,
    now: datetime,
) -> Seating:
    license_id, seats = terms.license.license_id, terms.license.seats
    old = device_store.get(tx, claims.replace or "", license_id)
    if old is None:
        raise NotFound("the license has no such device", device=claims.replace)
    mine = store.of_device(tx, license_id, old.device_id)
    if old.state != device_store.ACTIVE or mine is None or not _held(mine, now):
        return _take(tx, terms, device, now)
    kind = _cost(tx, terms, old, claims, now)
    limit = terms.plan.binding.rebinds_per_90d
    if kind is None:
        return Seating(SeatFacts(outcome="rebinds_used_up", seats=seats, limit=limit))
    lease_ends = _alive_until(old, now)
    if not store.move(tx, mine, device_id, lease_ends, now):
        return Seating(SeatFacts(outcome="replace_pending", seats=seats, free_at=mine.prior_until))
    free = SeatFacts(outcome="free", seats=seats)
    return Seating(free, mine.seat_no, lease_ends, old, kind)


def _cost(
    tx: Connection, terms: Terms, old: DeviceRow, claims: RequestClaims, now: datetime
) -> str | None:
    """What moving the seat costs: the free one of the same computer, a rebind, or None left."""
    license_id, since = terms.license.license_id, now - WINDOW
    binding = terms.plan.binding
    found = judging.match(judging.traits(old.traits), claims.traits, binding)
    same = found.same_computer and old.bound and not found.unbound
    if same and license_store.spent(tx, license_id, FREE_REBIND, since) == 0:
        return FREE_REBIND
    if license_store.spent(tx, license_id, REBIND, since) < binding.rebinds_per_90d:
        return REBIND
    return None


def _alive_until(device: DeviceRow, now: datetime) -> datetime:
    """Until when a lease of the device may be alive; an online lease ends with the seat."""
    if device.enforcement == Enforcement.ONLINE or device.lease_exp is None:
        return now
    return max(now, device.lease_exp)


def _none(tx: Connection, terms: Terms, now: datetime) -> SeatFacts:
    license_id = terms.license.license_id
    return SeatFacts(
        outcome="none",
        seats=terms.license.seats,
        holders=tuple(row.device_id for row in device_store.holders(tx, license_id)),
        free_at=store.next_free_at(tx, license_id, now),
    )


def give_back(
    tx: Connection, terms: Terms, device: DeviceRow, now: datetime
) -> tuple[datetime, bool]:
    """When the device's seat is free, and whether an instant return is to be spent for it.

    At once when no lease can be alive any more; at once too within ``instant_returns_per_90d``,
    unless another lease lives beside this one; otherwise when the last lease has ended.
    """
    license_id, plan = terms.license.license_id, terms.plan
    seat = store.of_device(tx, license_id, device.device_id)
    lease_ends = _alive_until(device, now)
    if seat is None:
        return now, False
    overlap = seat.prior_until is not None and seat.prior_until > now
    ends = max(lease_ends, seat.prior_until or lease_ends) if overlap else lease_ends
    instant = False
    if lease_ends <= now and not overlap:
        free_at = now
    elif not overlap and _may_return_at_once(tx, license_id, plan, now):
        free_at, instant = now, True
    else:
        free_at = ends
    store.give_back(tx, seat, free_at, ends if ends > free_at else seat.prior_until)
    return free_at, instant


def _may_return_at_once(tx: Connection, license_id: str, plan: Plan, now: datetime) -> bool:
    used = license_store.spent(tx, license_id, INSTANT_RETURN, now - WINDOW)
    return used < plan.binding.instant_returns_per_90d


def retire(tx: Connection, old: DeviceRow, now: datetime, event_id: str) -> None:
    """The replaced device is a tombstone; its last lease ends by itself."""
    settle(device_store.change(
        tx, old, state="replaced", status_value=ENDED, ended_at=now, event_id=event_id,
    ))  # fmt: skip
    statuses.touch(tx, [old.status_list])


def hold_for(tx: Connection, terms: Terms, device: DeviceRow, now: datetime) -> Seating:
    """The seat of a device that renews. A floating one that let it go takes one anew."""
    mine = store.of_device(tx, terms.license.license_id, device.device_id)
    if mine is not None and _held(mine, now):
        return Seating(SeatFacts(outcome="held", seats=terms.license.seats), mine.seat_no)
    return _take(tx, terms, device, now)
