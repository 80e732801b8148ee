"""Renewal, the heartbeat: the next lease, the same lease again, or a signed denial."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from modelseal.admin import MeterUse
from modelseal.audit import EventKind
from modelseal.license.air_gap import NextLease
from modelseal.license.claims import RequestClaims
from modelseal.license.decide import Decision, decide
from modelseal.license.facts import Action, Chain, Facts, SeatFacts
from modelseal.server.services import (
    acting,
    anomalies,
    forks,
    intake,
    judging,
    metering,
    moving,
    overdrawing,
    proving,
    recorder,
    seating,
)
from modelseal.server.services.activation import hold_until, lease_values
from modelseal.server.services.adoption import adopt, knows
from modelseal.server.services.context import Context
from modelseal.server.services.denials import Refusal
from modelseal.server.services.forks import Place
from modelseal.server.services.issuing import Issuing, Terms, within
from modelseal.server.services.moving import Asking
from modelseal.server.services.proving import Proof, Proving
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import models as model_store
from modelseal.server.store.engine import Again
from modelseal.server.store.rows import DeviceRow


class Renewed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a renewal; ``license`` when the device's is missing, changed or ageing.

    ``next`` are leases ahead for a device that asks through a relay, under its codes.
    ``meters`` tell how much is left, where the plan counts; nothing is granted by them.
    ``verdict`` is why the evidence in the request reached no level.
    """

    lease: str
    event_id: str
    license: str | None = None
    next: list[NextLease] = []
    meters: list[MeterUse] = []
    verdict: str | None = None


class Renewal:
    """Giving out the next lease."""

    def __init__(self, context: Context, issuing: Issuing, prover: Proving) -> None:
        self._context = context
        self._issuing = issuing
        self._prover = prover

    def renew(
        self, claims: RequestClaims, device_id: str, row: DeviceRow | None, network: str = ""
    ) -> Renewed | Refusal:
        """The next lease of the device; ``StoreBehind`` when it knows more than the store.

        ``network`` is where it asks from, empty when its question came by hand.
        """
        intake.kem_key(claims)
        now = self._context.now()
        if not knows(row, claims):
            adopt(self._context, claims, device_id, now)

        def act(tx: Connection) -> Renewed | Refusal:
            device = acting.device(tx, device_id)
            terms = acting.terms(tx, acting.license_of(tx, device))
            return self._renew(tx, claims, device, terms, now, network)

        return self._context.store.write(act)

    def _renew(
        self,
        tx: Connection,
        claims: RequestClaims,
        device: DeviceRow,
        terms: Terms,
        now: datetime,
        network: str,
    ) -> Renewed | Refusal:
        overdrawing.shown(self._context, tx, claims, device)
        asker = moving.asking(self._context, tx, claims, device)
        device = asker.device
        here = forks.place(tx, terms, device, claims, now)
        asker.check(here.chain)
        limits = None if here.chain is Chain.REPEAT else within(terms, now)
        proof = self._prover.judge(claims, device, limits, now)
        meters = metering.told(tx, terms, device.device_id, claims, now)
        if here.chain in (Chain.FORK, Chain.HEAL):
            license_store.lock(tx, device.license_id)
        facts = acting.replaced(self._facts(claims, device, terms, here, proof, now), meters=meters)
        seat = SeatFacts(outcome="held", seats=terms.license.seats)
        allowed = decide(acting.replaced(facts, seat=seat)).allowed
        if allowed and here.chain is not Chain.REPEAT and terms.plan.floating:
            seat = seating.hold_for(tx, terms, device, now).facts
        facts = acting.replaced(facts, seat=seat)
        decision = decide(facts)
        if not decision.allowed:
            return self._refuse(tx, claims, device, terms, facts, here)
        if here.chain is Chain.REPEAT:
            renewed = self._again(tx, claims, device, terms, proof, now)
        else:
            renewed = self._next(tx, claims, asker, terms, facts, decision, here, proof, network)
        left = metering.shown(tx, terms.license, terms.plan, now)
        return msgspec.structs.replace(renewed, meters=left, verdict=proof.why or None)

    def _facts(
        self, claims: RequestClaims, device: DeviceRow, terms: Terms, here: Place, proof: Proof,
        now: datetime,
    ) -> Facts:  # fmt: skip
        product = self._context.product
        known = judging.device_facts(claims, terms.plan, device, proof=proof)
        if here.moved:
            known = acting.with_moved(known, here.moved)
        return Facts(
            action=Action.RENEW,
            now=now,
            product=product,
            asked_product=claims.product,
            license=judging.license_facts(terms.license, terms.plan, product),
            device=known,
            chain=here.chain,
        )

    def _next(
        self,
        tx: Connection,
        claims: RequestClaims,
        asker: Asking,
        terms: Terms,
        facts: Facts,
        decision: Decision,
        here: Place,
        proof: Proof,
        network: str,
    ) -> Renewed:
        context, now, device = self._context, facts.now, asker.device
        known = recorder.fresh(context, now)
        bound = not facts.device.unbound
        moved = asker.followed is not None  # the license token names the device's key
        wanted = moved or self._issuing.wants_license(
            context.trusted.within(tx), claims, device, terms, now
        )
        answer = self._issuing.lease(
            tx, terms, device, now, seq=device.seq + 1, nonce=claims.nonce,
            kem=intake.kem_key(claims), prev=claims.prev, bound=bound, with_license=wanted,
            proof=proof,
        )  # fmt: skip
        drift = device.drift + 1 if facts.device.moved else 0
        same = facts.device.match is not None and facts.device.match.same_computer
        values = lease_values(answer, claims, terms.license, known.event_id, now)
        values |= {
            "presented": judging.stored(claims.traits),
            "bound": bound,
            "enforcement": answer.claims.enforcement,
            "drift": drift,
            **proving.row_values(proof),
            **asker.values(),
        }
        if same and facts.device.moved:
            values["traits"] = judging.stored(claims.traits)
        if wanted:
            values |= {"license_rev": terms.license.rev, "license_iat": now}
        if claims.label is not None:
            values["label"] = claims.label
        if not device_store.change(tx, device, **values):
            raise Again
        if here.chain is Chain.HEAL:
            license_store.spend(
                tx, device.license_id, seating.REBIND, device.device_id, now, known.event_id
            )
        model_store.drop_bundles(tx, device.device_id, now)
        hold_until(tx, terms, device.device_id, answer, now)
        acting.record(
            tx, known, EventKind.LEASE_RENEWED, facts, decision, claims=claims,
            license_row=terms.license, device_id=device.device_id,
            more={"seq": answer.claims.seq, "lease": answer.claims.jti,
                  "lease_exp": answer.claims.exp, "drift": drift or None,
                  **proving.event_params(proof, answer.claims)},
        )  # fmt: skip
        moving.record(context, tx, asker, claims, now)
        if here.chain is Chain.HEAL:
            forks.healed(context, tx, device, here, now, spent=seating.REBIND)
        seen = anomalies.of_request(claims, facts.device.moved)
        anomalies.notice(context, tx, terms, device.device_id, seen, known.event_id, now, network)
        return Renewed(lease=answer.lease, event_id=known.event_id, license=answer.license)

    def _again(
        self,
        tx: Connection,
        claims: RequestClaims,
        device: DeviceRow,
        terms: Terms,
        proof: Proof,
        now: datetime,
    ) -> Renewed:
        answer = acting.again(
            tx, self._issuing, terms, device, claims, now,
            license_too=claims.lic is None, proof=proof,
        )  # fmt: skip
        return Renewed(lease=answer.lease, event_id=device.lease_event, license=answer.license)

    def _refuse(
        self,
        tx: Connection,
        claims: RequestClaims,
        device: DeviceRow,
        terms: Terms,
        facts: Facts,
        here: Place,
    ) -> Refusal:
        changes: dict[str, object] = {}
        was_held = device.held
        kind = EventKind.LEASE_DENIED
        if facts.chain is Chain.FORK and decide(facts).code == "forked":
            kind = EventKind.FORK_FOUND
            if here.hold and not device.held:
                changes = forks.hold(self._context, tx, terms, device, facts.now)
                device = acting.device(tx, device.device_id)
        refusal = acting.refuse(
            self._context, tx, facts, claims=claims, license_row=terms.license, device=device,
            kind=kind, changes=changes,
        )  # fmt: skip
        if kind is EventKind.FORK_FOUND and not was_held:
            anomalies.notice(
                self._context, tx, terms, device.device_id, [anomalies.FORK], refusal.event_id,
                facts.now,
            )  # fmt: skip
        return refusal
