"""What a relay gave by itself, booked as if the server had: devices, seats, chains, events.

Each act is the device's own signed request and the lease that the relay gave for it. Whatever was
given is a lease that runs; what goes beyond the delegation is found here, and the relay gets no
further one. Normative: ``docs/spec/relay.md``, section 9.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct
from sqlalchemy import Connection

from modelseal.admin import BudgetState
from modelseal.audit import EventKind
from modelseal.errors import NotFound, StoreBehind, TokenClaims
from modelseal.license import tokens
from modelseal.license.claims import DelegationClaims, LeaseClaims, RequestClaims
from modelseal.server.services import (
    acting,
    anomalies,
    duplicates,
    intake,
    issuing,
    judging,
    recorder,
    statuses,
)
from modelseal.server.services.activation import chain_values
from modelseal.server.services.context import Context
from modelseal.server.services.issuing import Terms
from modelseal.server.store import delegations as store
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import packing
from modelseal.server.store import requests as request_store
from modelseal.server.store import seats as seat_store
from modelseal.server.store.engine import settle
from modelseal.server.store.rows import DelegationRow, DeviceRow
from modelseal.types import from_numeric


class DelegatedAct(Struct, frozen=True, forbid_unknown_fields=True):
    """A device's signed request, and the lease that a relay gave for it."""

    request: Annotated[str, Meta(min_length=1, max_length=65536)]
    lease: Annotated[str, Meta(min_length=1, max_length=16384)]


class Booked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of it: ``booked``, ``again``, or ``overdrawn`` and why.

    ``goes_on``: the relay may go on giving leases to the device.
    """

    state: str
    event_id: str
    device_id: str
    goes_on: bool = True
    why: str | None = None


@dataclass(frozen=True, slots=True)
class _Act:
    """One act, verified."""

    claims: RequestClaims
    lease: LeaseClaims
    by: DelegationClaims
    now: datetime

    @property
    def enters(self) -> bool:
        """A device that types its license key takes a place of the budget, others renew."""
        return self.claims.op == "activate"


class Booking:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def book(self, relay: str, sent: DelegatedAct) -> Booked:
        """The act stands in the store and the log; the same act again changes nothing.

        Raises token errors for what no relay of ours gave, ``NotFound`` for another relay's,
        ``StoreBehind`` where a restored store forgot the delegation.
        """
        act = self._verified(relay, sent)

        def do(tx: Connection) -> Booked:
            license_store.lock(tx, act.lease.lic)
            row = store.get(tx, relay)
            if row is None or row.license_id != act.lease.lic:
                raise StoreBehind("the store does not know this delegation", relay=relay)
            return self._book(tx, act, row)

        return self._context.store.write(do)

    def _verified(self, relay: str, sent: DelegatedAct) -> _Act:
        context = self._context
        lease = tokens.read(sent.lease, LeaseClaims, context.trust)
        if lease.delegation is None:
            raise TokenClaims("the server's own lease")
        by, _kid = tokens.read_delegation(lease.delegation, context.trust)
        claims = tokens.read_request(sent.request, server_id=context.server_id, any_operation=True)
        if by.sub != relay:
            raise NotFound("no such relay", relay=relay)
        mine = (claims.iss, claims.nonce) == (lease.cnf.jkt, lease.request_nonce)
        known = claims.op == "activate" or (claims.op == "renew" and claims.sub == lease.sub)
        if not mine or not known or claims.product != context.product:
            raise TokenClaims("the lease answers another request")
        return _Act(claims, lease, by, context.now())

    def _book(self, tx: Connection, act: _Act, row: DelegationRow) -> Booked:
        lease = act.lease
        device = self._device(tx, act)
        question, request = duplicates.marks(act.claims)
        if request_store.answered(tx, question, request).this:
            return self._told("again", device, device.event_id if device else row.event_id, act)
        license_row = acting.license_row(tx, lease.lic)
        terms = acting.terms(tx, license_row)
        why = self._beyond(tx, act, row, device)
        known = recorder.fresh(self._context, act.now)
        duplicates.remember(tx, act.claims)
        if why is not None:
            return self._overdrawn(tx, act, row, device, known, why)
        if act.enters:
            device = self._enter(tx, act, row, device, known)
        elif device is not None:
            settle(device_store.change(tx, device, **self._values(act, known, terms)))
        self._spend(tx, act, row)
        self._record(tx, act, row, known)
        return self._told("booked", self._device(tx, act), known.event_id, act)

    def _beyond(
        self, tx: Connection, act: _Act, row: DelegationRow, device: DeviceRow | None
    ) -> str | None:
        """Why the act is not within what the relay may give; None where it is."""
        lease = act.lease
        if act.enters:
            if row.seats_spent >= row.seats:
                return "seats"
            seated = device is not None and device.seat_no is not None
            if not seated and not row.reserved and not self._offer(tx, act):
                return "no_free_seat"
            if device is not None and device.device_id == lease.sub and lease.seq <= device.seq:
                return "chain"
            return None
        if row.renewals_spent >= row.renewals:
            return "renewals"
        if device is None or device.device_id != lease.sub:
            return "device_unknown"
        follows = (lease.seq, lease.prev) == (device.seq + 1, device.last_jti)
        return None if follows else "chain"

    def _offer(self, tx: Connection, act: _Act) -> seat_store.Offer | None:
        return seat_store.offer(tx, act.lease.lic, act.now)

    def _enter(
        self,
        tx: Connection,
        act: _Act,
        row: DelegationRow,
        device: DeviceRow | None,
        known: recorder.Recorded,
    ) -> DeviceRow | None:
        """The device has a seat, one that was reserved where there is any."""
        license_row = acting.license_row(tx, act.lease.lic)
        terms = acting.terms(tx, license_row)
        if row.reserved:
            store.change(tx, row, reserved=row.reserved - 1)
        values = self._values(act, known, terms)
        if device is None:
            offer = self._offer(tx, act)
            fresh = replace(self._row(act, known, offer), **values)
            place = statuses.place(self._context, tx)
            fresh = replace(fresh, status_list=place[0], status_idx=place[1])
            settle(device_store.add(tx, fresh, act.now))
            return fresh
        settle(device_store.change(
            tx, device, device_id=act.lease.sub, state=device_store.ACTIVE, held=False,
            status_value=0, ended_at=None, reason=None, **values,
        ))  # fmt: skip
        if device.seat_no is None:
            seat_store.take(tx, act.lease.lic, act.lease.sub, act.now)
        if device.status_value:
            statuses.touch(tx, [device.status_list])
        return device

    def _row(
        self, act: _Act, known: recorder.Recorded, offer: seat_store.Offer | None
    ) -> DeviceRow:
        claims, lease = act.claims, act.lease
        return DeviceRow(
            license_id=lease.lic, device_id=lease.sub, jkt=claims.iss, jwk=dict(claims.jwk),
            label=claims.label, state=device_store.ACTIVE, held=False,
            traits=judging.stored(claims.traits), presented=judging.stored(claims.traits),
            bound=lease.bound, drift=0, level=0, enforcement=lease.enforcement, status_list=0,
            status_idx=0, status_value=0, seat_no=offer.seat_no if offer else None,
            prior_until=offer.prior_until if offer else None, seq=lease.seq, last_jti=lease.jti,
            lease_id=lease.jti, lease_seq=lease.seq, lease_iat=from_numeric(lease.iat),
            lease_exp=from_numeric(lease.exp), bundle=None,
            question=packing.question(lease.request_nonce), license_rev=0, license_iat=None,
            activated_at=from_numeric(lease.iat), last_contact_at=from_numeric(lease.iat),
            ended_at=None, reason=None, event_id=known.event_id,
        )  # fmt: skip

    def _values(self, act: _Act, known: recorder.Recorded, terms: Terms) -> dict[str, Any]:
        """The device's chain as the lease says; its license token is to be given anew.

        Whoever repeats the question here gets the same lease, signed by the server.
        """
        claims, lease = act.claims, act.lease
        return chain_values(lease, claims.seq, terms.license.plan_id) | {
            "recipient": issuing.recipient_of(intake.kem_key(claims)),
            "answer": None,
            "bundle": None,
            "presented": judging.stored(claims.traits),
            "bound": lease.bound,
            "enforcement": lease.enforcement,
            "license_rev": 0,
            "license_iat": None,
            "event_id": known.event_id,
            "last_contact_at": from_numeric(lease.iat),
        }

    def _device(self, tx: Connection, act: _Act) -> DeviceRow | None:
        """The device by its id; by its key where it is entered under another one."""
        found = device_store.get(tx, act.lease.sub, act.lease.lic)
        if found is None and act.enters:
            return device_store.by_key(tx, act.lease.lic, act.claims.iss)
        return found

    def _spend(self, tx: Connection, act: _Act, row: DelegationRow) -> None:
        fresh = store.get(tx, row.relay)
        if fresh is None:
            return
        spent = "seats_spent" if act.enters else "renewals_spent"
        store.change(tx, fresh, **{spent: getattr(fresh, spent) + 1})

    def _record(
        self, tx: Connection, act: _Act, row: DelegationRow, known: recorder.Recorded
    ) -> None:
        kind = EventKind.DEVICE_ACTIVATED if act.enters else EventKind.LEASE_RENEWED
        lease, license_row = act.lease, acting.license_row(tx, act.lease.lic)
        recorder.record(
            tx, known, kind, at=act.now, actor=f"relay:{row.relay}",
            subjects={"license": lease.lic, "customer": license_row.customer_id,
                      "device": lease.sub, "key": act.claims.iss},
            params={"relay": row.relay, "eula": act.claims.eula, **_given(act)},
        )  # fmt: skip
        terms = acting.terms(tx, license_row)
        seen = (*(anomalies.ACTIVATED if act.enters else ()), *anomalies.of_request(act.claims))
        anomalies.notice(self._context, tx, terms, lease.sub, seen, known.event_id, act.now)

    def _overdrawn(
        self,
        tx: Connection,
        act: _Act,
        row: DelegationRow,
        device: DeviceRow | None,
        known: recorder.Recorded,
        why: str,
    ) -> Booked:
        """What was given stands in the log; the relay gets no further delegation."""
        state = row.state if row.state == BudgetState.REVOKED else BudgetState.OVERDRAWN.value
        store.change(tx, row, state=state, overdrawn=row.overdrawn + 1, event_id=known.event_id)
        lease = act.lease
        recorder.record(
            tx, known, EventKind.RELAY_OVERDREW, at=act.now, actor=f"relay:{row.relay}",
            subjects={"license": lease.lic, "relay": row.relay, "key": act.claims.iss},
            params={"why": why, "device": lease.sub, "op": act.claims.op, "seats": row.seats,
                    "renewals": row.renewals, "known_seq": device.seq if device else None,
                    **_given(act)},
        )  # fmt: skip
        return Booked(
            state="overdrawn", why=why, event_id=known.event_id, device_id=lease.sub, goes_on=False
        )

    def _told(self, state: str, device: DeviceRow | None, event_id: str, act: _Act) -> Booked:
        goes_on = device is not None and device.state == device_store.ACTIVE and not device.held
        return Booked(state=state, event_id=event_id, device_id=act.lease.sub, goes_on=goes_on)


def _given(act: _Act) -> dict[str, Any]:
    """What was given, and by which delegation."""
    lease = act.lease
    return {
        "seq": lease.seq,
        "lease": lease.jti,
        "lease_exp": lease.exp,
        "given_at": lease.iat,
        "delegation": act.by.jti,
        "number": act.by.number,
    }
