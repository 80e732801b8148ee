"""The device of a relay's act as the store has it afterwards: its seat, its place in the chain.

A relay may not know what the publisher did meanwhile: a device that was revoked stays so, and so
does one that is held for a fork; only its chain moves on, so that the denial to come is the newer.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from modelseal.license.status import Status
from modelseal.server.services import intake, issuing, judging, recorder, statuses
from modelseal.server.services.activation import chain_values
from modelseal.server.services.acts import Act
from modelseal.server.services.context import Context
from modelseal.server.services.issuing import Terms
from modelseal.server.store import delegations as store
from modelseal.server.store import devices as device_store
from modelseal.server.store import packing
from modelseal.server.store import plans as plan_store
from modelseal.server.store import seats as seat_store
from modelseal.server.store.engine import settle
from modelseal.server.store.rows import DelegationRow, DeviceRow
from modelseal.types import from_numeric

_RETURNED = "returned"


def enter(
    context: Context,
    tx: Connection,
    act: Act,
    row: DelegationRow,
    device: DeviceRow | None,
    known: recorder.Recorded,
    terms: Terms,
) -> DelegationRow:
    """The device stands where the act left it, on a seat that was promised wherever there is one.

    Without a seat, where the promise had ended, it has to be activated anew. The place of the
    budget is spent in any case.
    """
    promised = row.reserved > 0
    if promised:
        row = store.change(tx, row, reserved=row.reserved - 1)
    values = _values(tx, act, known, terms, device) | {
        "device_id": act.lease.sub,
        "traits": judging.stored(act.claims.traits),
        "drift": 0,
        "activated_at": from_numeric(act.lease.iat),
    }
    if act.claims.label is not None:
        values["label"] = act.claims.label
    if device is None:
        fresh = replace(_row(act, known), **values)
        place = statuses.place(context, tx)
        device = replace(fresh, status_list=place[0], status_idx=place[1])
        settle(device_store.add(tx, device, act.now))
    elif device.state == "revoked" or device.held:
        settle(device_store.change(tx, device, **values))
        return row
    seated = _seat(tx, act, device, promised=promised)
    state = {"state": device_store.ACTIVE, "status_value": 0, "ended_at": None}
    if not seated:
        ended = int(Status.ENDED)
        state = {"state": _RETURNED, "status_value": ended, "ended_at": act.now}
    stands = _again(tx, device)
    settle(device_store.change(tx, stands, held=False, reason=None, **state, **values))
    if stands.status_value != state["status_value"]:
        statuses.touch(tx, [device.status_list])
    return row


def go_on(
    tx: Connection, act: Act, device: DeviceRow, known: recorder.Recorded, terms: Terms
) -> None:
    """The device's chain is at the act's lease, and its traits follow a computer that changes."""
    values = _values(tx, act, known, terms, device)
    found = judging.device_facts(act.claims, terms.plan, device)
    if found.moved and found.match is not None and found.match.same_computer:
        values["traits"] = judging.stored(act.claims.traits)
    settle(device_store.change(tx, device, **values))


def _again(tx: Connection, device: DeviceRow) -> DeviceRow:
    """The row as it stands after its seat was written."""
    return device_store.by_key(tx, device.license_id, device.jkt) or device


def _seat(tx: Connection, act: Act, device: DeviceRow, *, promised: bool) -> bool:
    """Whether the device has a seat: the one it holds, one that waited for it, or a free one."""
    license_id, device_id, now = device.license_id, device.device_id, act.now
    mine = seat_store.of_device(tx, license_id, device_id)
    if mine is not None and mine.free_at is None:
        return True
    if promised:
        seat_store.give(tx, license_id, device_id, now)
        return True
    if mine is not None and mine.free_at is not None and mine.free_at > now:
        return seat_store.take_back(tx, mine)
    return seat_store.take(tx, license_id, device_id, now) is not None


def _values(
    tx: Connection, act: Act, known: recorder.Recorded, terms: Terms, device: DeviceRow | None
) -> dict[str, Any]:
    """The device's chain as the lease says; its license token is to be given anew.

    Whoever repeats the question here gets the same lease, signed by the server.
    """
    claims, lease = act.claims, act.lease
    plan = _plan_of(tx, act, terms)
    values = chain_values(lease, claims.seq, plan or "")
    if plan is None:
        values["under"] = None
    return values | {
        "recipient": issuing.recipient_of(intake.kem_key(claims)),
        "answer": None,
        "bundle": None,
        "presented": judging.stored(claims.traits),
        "bound": lease.bound,
        "level": lease.level,
        "enforcement": lease.enforcement,
        "license_rev": 0,
        "license_iat": None,
        "event_id": known.event_id,
        "last_contact_at": _contact(act, device),
    }


def _plan_of(tx: Connection, act: Act, terms: Terms) -> str | None:
    """The plan under which the relay gave, whatever plan the license has now."""
    by = act.by
    if (by.plan, by.pv) == (terms.plan_name, terms.license.plan_version):
        return terms.license.plan_id
    plan = plan_store.find(tx, by.plan)
    if plan is None or plan_store.terms(tx, plan.plan_id, by.pv) is None:
        return None
    return plan.plan_id


def _contact(act: Act, device: DeviceRow | None) -> datetime:
    """When the device was last heard of, by the relay's clock, which may not be right."""
    at = min(from_numeric(act.lease.iat), act.now)
    return at if device is None else max(at, device.last_contact_at)


def _row(act: Act, known: recorder.Recorded) -> DeviceRow:
    claims, lease = act.claims, act.lease
    traits, given_at = judging.stored(claims.traits), from_numeric(lease.iat)
    return DeviceRow(
        license_id=lease.lic, device_id=lease.sub, jkt=claims.iss, jwk=dict(claims.jwk),
        label=claims.label, state=device_store.ACTIVE, held=False, traits=traits, presented=traits,
        bound=lease.bound, drift=0, level=0, enforcement=lease.enforcement, status_list=0,
        status_idx=0, status_value=0, seat_no=None, seq=lease.seq, last_jti=lease.jti,
        lease_id=lease.jti, lease_seq=lease.seq, lease_iat=given_at,
        lease_exp=from_numeric(lease.exp), bundle=None,
        question=packing.question(lease.request_nonce), license_rev=0, license_iat=None,
        activated_at=given_at, last_contact_at=given_at, ended_at=None, reason=None,
        event_id=known.event_id,
    )  # fmt: skip
