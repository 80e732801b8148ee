"""What a relay gave by itself, booked as if the server had: devices, seats, chains, events.

Each act is the device's own signed request and the lease that the relay gave for it. Whatever was
given is a lease that runs; what goes beyond the delegation is found here, and the relay gets no
further one. Normative: ``docs/spec/relay.md``, section 9.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from sqlalchemy import Connection

from modelseal.admin import BudgetState
from modelseal.audit import EventKind
from modelseal.errors import StoreBehind
from modelseal.server.services import acting, acts, anomalies, duplicates, entering, recorder
from modelseal.server.services.acts import Act, DelegatedAct, Place, Why
from modelseal.server.services.context import Context
from modelseal.server.services.issuing import Terms
from modelseal.server.store import delegations as store
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import requests as request_store
from modelseal.server.store.rows import DelegationRow, DeviceRow


class Booked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of it: ``booked``, ``again``, ``forked``, or ``overdrawn`` and why.

    ``goes_on``: the relay may go on giving leases to the device.
    """

    state: str
    event_id: str
    device_id: str
    goes_on: bool = True
    why: str | None = None


class Booking:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def book(self, relay: str, sent: DelegatedAct) -> Booked:
        """The act stands in the store and the log; the same act again changes nothing.

        Raises token errors for what no relay of ours gave, ``NotFound`` for another relay's,
        ``StoreBehind`` where a restored store forgot the delegation.
        """
        act = acts.read(self._context, relay, sent)

        def do(tx: Connection) -> Booked:
            license_store.lock(tx, act.lease.lic)
            row = store.get(tx, relay)
            if row is None or row.license_id != act.lease.lic:
                raise StoreBehind("the store does not know this delegation", relay=relay)
            return self._book(tx, act, row)

        return self._context.store.write(do)

    def _book(self, tx: Connection, act: Act, row: DelegationRow) -> Booked:
        device = acts.device_of(tx, act)
        question, request = duplicates.marks(act.claims)
        if request_store.answered(tx, question, request).this:
            return _told("again", device, device.event_id if device else row.event_id, act)
        terms = acting.terms(tx, acting.license_row(tx, act.lease.lic))
        found = acts.judged(tx, act, row, device, terms.license)
        known = recorder.fresh(self._context, act.now)
        duplicates.remember(tx, act.claims)
        if isinstance(found, Why):
            return self._overdrawn(tx, act, row, device, known, found)
        if found is Place.FORKED:
            _spend(tx, row, "seats_spent" if act.enters else "renewals_spent")
            return self._forked(tx, act, device, known, terms)
        if act.enters or device is None:
            row = entering.enter(self._context, tx, act, row, device, known, terms)
            row = _spend(tx, row, "seats_spent")
        else:
            entering.go_on(tx, act, device, known, terms)
        if not act.enters:
            _spend(tx, row, "renewals_spent")
        self._record(tx, act, known, terms, found)
        return _told("booked", acts.device_of(tx, act), known.event_id, act)

    def _record(
        self, tx: Connection, act: Act, known: recorder.Recorded, terms: Terms, place: Place
    ) -> None:
        kind = EventKind.DEVICE_ACTIVATED if act.enters else EventKind.LEASE_RENEWED
        behind = place is Place.BEHIND or None
        self._event(tx, act, known, kind, terms, eula=act.claims.eula, behind=behind)
        seen = (*(anomalies.ACTIVATED if act.enters else ()), *anomalies.of_request(act.claims))
        anomalies.notice(self._context, tx, terms, act.lease.sub, seen, known.event_id, act.now)

    def _forked(
        self,
        tx: Connection,
        act: Act,
        device: DeviceRow | None,
        known: recorder.Recorded,
        terms: Terms,
    ) -> Booked:
        """The device got another answer elsewhere; its next question at the server is judged."""
        kind, seq = EventKind.FORK_FOUND, device.seq if device else None
        self._event(tx, act, known, kind, terms, known_seq=seq)
        seen = [anomalies.FORK]
        anomalies.notice(self._context, tx, terms, act.lease.sub, seen, known.event_id, act.now)
        return Booked(
            state="forked", event_id=known.event_id, device_id=act.lease.sub, goes_on=False
        )

    def _event(
        self,
        tx: Connection,
        act: Act,
        known: recorder.Recorded,
        kind: EventKind,
        terms: Terms,
        **more: Any,
    ) -> None:
        lease = act.lease
        recorder.record(
            tx, known, kind, at=act.now, actor=act.actor,
            subjects={"license": lease.lic, "customer": terms.license.customer_id,
                      "device": lease.sub, "key": act.claims.iss},
            params={"relay": act.by.sub, **more, **_given(act)},
        )  # fmt: skip

    def _overdrawn(
        self,
        tx: Connection,
        act: Act,
        row: DelegationRow,
        device: DeviceRow | None,
        known: recorder.Recorded,
        why: Why,
    ) -> Booked:
        """What was given stands in the log; the relay gets no further delegation."""
        state = row.state if row.state == BudgetState.REVOKED else BudgetState.OVERDRAWN.value
        store.change(tx, row, state=state, overdrawn=row.overdrawn + 1, event_id=known.event_id)
        lease = act.lease
        recorder.record(
            tx, known, EventKind.RELAY_OVERDREW, at=act.now, actor=act.actor,
            subjects={"license": lease.lic, "relay": row.relay, "key": act.claims.iss},
            params={"why": why.value, "device": lease.sub, "op": act.claims.op, "seats": row.seats,
                    "renewals": row.renewals, "known_seq": device.seq if device else None,
                    **_given(act)},
        )  # fmt: skip
        return Booked(
            state="overdrawn", why=why.value, event_id=known.event_id, device_id=lease.sub,
            goes_on=False,
        )  # fmt: skip


def _spend(tx: Connection, row: DelegationRow, kind: str) -> DelegationRow:
    return store.change(tx, row, **{kind: getattr(row, kind) + 1})


def _told(state: str, device: DeviceRow | None, event_id: str, act: Act) -> Booked:
    goes_on = device is not None and device.state == device_store.ACTIVE and not device.held
    return Booked(state=state, event_id=event_id, device_id=act.lease.sub, goes_on=goes_on)


def _given(act: Act) -> dict[str, Any]:
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
