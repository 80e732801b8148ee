"""Giving a seat back, and what a publisher ends: a device's revocation."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.license.claims import RequestClaims
from modelseal.license.decide import Decision, decide
from modelseal.license.facts import Action, Chain, Facts
from modelseal.license.status import Status
from modelseal.server.services import (
    acting,
    duplicates,
    forks,
    judging,
    metering,
    overdrawing,
    recorder,
    seating,
    statuses,
)
from modelseal.server.services.adoption import adopt, knows
from modelseal.server.services.context import Context
from modelseal.server.services.denials import Refusal
from modelseal.server.services.issuing import Terms
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store.engine import Again
from modelseal.server.store.rows import DeviceRow
from modelseal.types import check_aware


class Returned(Struct, frozen=True, kw_only=True):
    """The answer to a return: from ``seat_free_at`` on another device can take the seat."""

    event_id: str
    seat_free_at: datetime


class Returning:
    """Giving seats back."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def give_back(
        self, claims: RequestClaims, device_id: str, row: DeviceRow | None
    ) -> Returned | Refusal:
        """The seat is free now or when the last lease ends; returning twice is returning once."""
        now = self._context.now()
        if not knows(row, claims):
            adopt(self._context, claims, device_id, now)

        def act(tx: Connection) -> Returned | Refusal:
            device = acting.device(tx, device_id)
            license_store.lock(tx, device.license_id)
            terms = acting.terms(tx, acting.license_of(tx, device))
            return self._return(tx, claims, acting.device(tx, device_id), terms, now)

        return self._context.store.write(act)

    def _return(
        self, tx: Connection, claims: RequestClaims, device: DeviceRow, terms: Terms, now: datetime
    ) -> Returned | Refusal:
        product = self._context.product
        # A seat that was given back is given back once, whatever lease the device missed before.
        over = device.state == "returned"
        chain = Chain.NEXT if over else forks.place(tx, terms, device, claims, now).chain
        overdrawing.shown(self._context, tx, claims, device)
        metering.told(tx, terms, device.device_id, claims, now)
        facts = Facts(
            action=Action.RETURN,
            now=now,
            product=product,
            asked_product=claims.product,
            license=judging.license_facts(terms.license, terms.plan, product),
            device=judging.device_facts(claims, terms.plan, device),
            chain=chain,
        )
        decision = decide(facts)
        if not decision.allowed:
            return acting.refuse(
                self._context, tx, facts, claims=claims, license_row=terms.license,
                device=device, kind=EventKind.LEASE_DENIED,
            )  # fmt: skip
        known = (device.answer or {}).get("returned")
        if over and known is not None:
            duplicates.remember(tx, claims)
            free_at = check_aware(datetime.fromisoformat(known["seat_free_at"]))
            return Returned(event_id=str(known["event_id"]), seat_free_at=free_at)
        return self._end(tx, claims, device, terms, facts, decision)

    def _end(
        self,
        tx: Connection,
        claims: RequestClaims,
        device: DeviceRow,
        terms: Terms,
        facts: Facts,
        decision: Decision,
    ) -> Returned:
        now = facts.now
        known = recorder.fresh(self._context, now)
        free_at, instant = seating.give_back(tx, terms, device, now)
        if instant:
            license_store.spend(
                tx, device.license_id, seating.INSTANT_RETURN, device.device_id, now,
                known.event_id,
            )  # fmt: skip
        kept = {
            **(device.answer or {}),
            "returned": {"event_id": known.event_id, "seat_free_at": free_at.isoformat()},
        }
        written = device_store.change(
            tx, device, state="returned", status_value=int(Status.ENDED), ended_at=now,
            last_contact_at=now, answer=kept, event_id=known.event_id, held=False,
        )  # fmt: skip
        if not written:
            raise Again
        statuses.touch(tx, [device.status_list])
        acting.record(
            tx, known, EventKind.DEVICE_RETURNED, facts, decision, claims=claims,
            license_row=terms.license, device_id=device.device_id,
            more={"seat_free_at": free_at.isoformat(), "instant": instant},
        )  # fmt: skip
        return Returned(event_id=known.event_id, seat_free_at=free_at)
