"""Forks: two holders of one device key. Which branch may go on, and what it costs.

A fork is a request that does not know the newest lease and is no repetition of the question that
lease answered, or one that knows it on another computer. It accuses nobody: a restored backup makes
one as a copied folder does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.device import tolerance
from modelseal.license.claims import RequestClaims, TraitDigest
from modelseal.license.facts import Chain
from modelseal.license.status import Status
from modelseal.server.services import (
    duplicates,
    judging,
    recorder,
    seating,
    statuses,
    suspending,
)
from modelseal.server.services.context import Context
from modelseal.server.services.issuing import Terms
from modelseal.server.store import licenses as license_store
from modelseal.server.store import packing
from modelseal.server.store.rows import DeviceRow


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request stands. ``hold`` says that neither branch goes on from here."""

    chain: Chain
    hold: bool = False
    moved: tuple[str, ...] = ()


def place(
    tx: Connection, terms: Terms, device: DeviceRow, claims: RequestClaims, now: datetime
) -> Place:
    """The place of a renewal or return in the chain of its device.

    ``lease_seq`` is the newest lease's number; denials after it leave the chain as it is. Of a
    fork whose branches differ in what they run on, the one that matches the enrolment goes on
    (``heal``, a rebind) or has gone on already; where both match or neither, nobody does.
    Raises ``RequestReplayed`` for a request that was answered before the newest lease.
    """
    if is_repeat(device, claims):
        return Place(Chain.REPEAT)
    lease_seq = device.lease_seq or 0
    is_next = lease_seq <= claims.seq <= device.seq and not _other_lease(device, claims, lease_seq)
    if not is_next or claims.seq < device.seq:  # from the newest answer nothing was asked yet
        duplicates.refuse(tx, claims, device)
    if is_next and not _is_elsewhere(judging.enrolled(device, claims), claims):
        return Place(Chain.NEXT)
    return _fork(tx, terms, device, claims, now)


def is_repeat(device: DeviceRow, claims: RequestClaims) -> bool:
    """True for the very question that the newest lease answered: its reply was lost.

    The number it named need not be the one before the lease's: denials in between may have been
    lost too, and whoever enters the license key or heals a fork asks from any number.
    """
    if device.asked_seq is None or device.asked_seq != claims.seq:
        return False
    return device.question == packing.question(claims.nonce)


def is_ordinary(device: DeviceRow, claims: RequestClaims, enrolled: Sequence[TraitDigest]) -> bool:
    """True for the next question of a device that knows its newest answer, on its own computer.

    From there nothing was asked yet, so it is no repetition and no duplicate (see ``place``).
    ``enrolled`` are the device's traits as ``judging.enrolled`` gives them.
    """
    lease_seq = device.lease_seq or 0
    return (
        claims.seq == device.seq >= lease_seq
        and not device.held
        and not is_repeat(device, claims)
        and not _other_lease(device, claims, lease_seq)
        and not _is_elsewhere(enrolled, claims)
    )


def _other_lease(device: DeviceRow, claims: RequestClaims, lease_seq: int) -> bool:
    """True when the request stands on a lease with the newest number and another id."""
    if claims.seq != lease_seq or claims.prev is None:
        return False
    return claims.prev not in (device.lease_id, device.last_jti)


def _is_elsewhere(enrolled: Sequence[TraitDigest], claims: RequestClaims) -> bool:
    """True when the enrolled key asks from another computer: its folder is shared between two.

    By the default rule, under which the device's own key file opens or not, whatever the plan
    weighs; where either side has too few traits to tell, it is not told.
    """
    if enrolled is claims.traits:
        return False
    found = tolerance.match(enrolled, claims.traits)
    known = tolerance.match(enrolled, enrolled)
    return not (known.unbound or found.unbound or found.same_computer)


def _fork(
    tx: Connection, terms: Terms, device: DeviceRow, claims: RequestClaims, now: datetime
) -> Place:
    binding = terms.plan.binding
    enrolled = judging.traits(device.traits)
    other = judging.match(enrolled, judging.traits(device.presented), binding)
    this = judging.match(enrolled, claims.traits, binding)
    apart = judging.match(judging.traits(device.presented), claims.traits, binding)
    moved = tuple(str(kind) for kind in (*apart.moved,))
    if device.held or this.same_computer == other.same_computer:
        return Place(Chain.FORK, hold=True, moved=moved)
    if other.same_computer:
        return Place(Chain.FORK, moved=moved)
    used = license_store.spent(tx, terms.license.license_id, seating.REBIND, now - seating.WINDOW)
    if used >= binding.rebinds_per_90d:
        return Place(Chain.FORK, hold=True, moved=moved)
    return Place(Chain.HEAL, moved=moved)


def healed(
    context: Context, tx: Connection, device: DeviceRow, here: Place, now: datetime, *, spent: str
) -> None:
    """The log says that the fork is over, and what it cost."""
    recorder.record(
        tx, recorder.fresh(context, now), EventKind.FORK_HEALED, at=now,
        actor=f"device:{device.device_id}",
        subjects={"license": device.license_id, "device": device.device_id},
        params={"spent": spent, "traits": list(here.moved)},
    )  # fmt: skip


def hold(
    context: Context, tx: Connection, terms: Terms, device: DeviceRow, now: datetime
) -> dict[str, object]:
    """What is written when neither branch goes on; the plan may suspend the license for it."""
    if terms.plan.on_fork == "suspend" and suspending.by_rule(
        context, tx, device.license_id, "fork", "forked device", now
    ):
        return {"held": True}
    statuses.touch(tx, [device.status_list])
    return {"held": True, "status_value": int(Status.ENDED)}
