"""Activation: a license key and a device become a device with a seat, a license and a lease."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection

from modelseal.admin import MeterUse
from modelseal.audit import EventKind
from modelseal.license.air_gap import NextLease
from modelseal.license.claims import LeaseClaims, RequestClaims
from modelseal.license.decide import Decision, decide
from modelseal.license.facts import Action, Chain, Facts, SeatFacts
from modelseal.server.services import (
    acting,
    ahead,
    anomalies,
    duplicates,
    forks,
    intake,
    judging,
    metering,
    proving,
    recorder,
    seating,
    statuses,
)
from modelseal.server.services.context import Context
from modelseal.server.services.denials import Refusal
from modelseal.server.services.issuing import Answer, Issuing, Terms, within
from modelseal.server.services.licensing import hash_key
from modelseal.server.services.plans import KeptPlans
from modelseal.server.services.proving import Proof, Proving
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import packing
from modelseal.server.store import seats as seat_store
from modelseal.server.store.engine import settle
from modelseal.server.store.rows import DeviceRow, LicenseRow
from modelseal.server.store.together import Group, Wanted
from modelseal.strict_json import unb64u
from modelseal.types import from_numeric


class Activated(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to an activation or a trial; ``next`` and ``verdict`` as in ``Renewed``."""

    device_id: str
    license: str
    lease: str
    event_id: str
    license_key: str | None = None
    next: list[NextLease] = []
    meters: list[MeterUse] = []
    verdict: str | None = None


class Activation:
    """Entering a license key on a device."""

    def __init__(self, context: Context, issuing: Issuing, prover: Proving) -> None:
        self._context = context
        self._issuing = issuing
        self._prover = prover
        self._plans = KeptPlans()

    def activate(
        self,
        claims: RequestClaims,
        network: str = "",
        opened: Callable[[bytes], None] = lambda _key_hash: None,
    ) -> Activated | Refusal:
        """A seat, a license token and a lease; the same nonce again gives the same answer."""
        [outcome] = self._context.store.all_together([self.wanted(claims, network, opened)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def wanted(
        self,
        claims: RequestClaims,
        network: str = "",
        opened: Callable[[bytes], None] = lambda _key_hash: None,
    ) -> Wanted[Activated | Refusal]:
        """What ``activate`` does, to be carried out with others.

        ``opened`` is told the keyed hash of the license key, known or not, and may refuse.
        """
        intake.kem_key(claims)
        key_hash = hash_key(self._context, intake.typed_key(self._context, claims))
        opened(key_hash)
        now = self._context.now()

        def act(tx: Connection, group: Group) -> Activated | Refusal:
            row = _locked(tx, group, key_hash)
            if row is None or claims.product != self._context.product:
                facts = Facts(
                    action=Action.ACTIVATE, now=now, product=self._context.product,
                    asked_product=claims.product,
                    seat=SeatFacts(outcome="held"),
                )  # fmt: skip
                return acting.refuse(
                    self._context, tx, facts, claims=claims, license_row=None, device=None,
                    kind=EventKind.LEASE_DENIED,
                )  # fmt: skip
            number = ahead.trust_number(tx, group)
            plan = self._plans.terms(tx, number, row.plan_id, row.plan_version)
            terms = Terms(row, *plan)
            return self.enter(tx, claims, terms, now, Action.ACTIVATE, network=network, group=group)

        return Wanted(key_hash, act, (self._look, (key_hash, claims)))

    def _look(self, tx: Connection, group: Group, asked: list[tuple[bytes, RequestClaims]]) -> None:
        """All licenses are locked, in the order of the acts, and looked at once."""
        rows = [(_locked(tx, group, key_hash), claims) for key_hash, claims in asked]
        known = [(row, claims) for row, claims in rows if row is not None]
        if known:
            ahead.look(self._context, tx, group, known)

    def enter(
        self,
        tx: Connection,
        claims: RequestClaims,
        terms: Terms,
        now: datetime,
        action: Action,
        trial_used: bool = False,
        network: str = "",
        *,
        group: Group,
    ) -> Activated | Refusal:
        """The device at its seat, or a refusal. The caller holds the license's lock.

        A new device writes its event and what it was asked with the ``group``.
        """
        context, row = self._context, terms.license
        device = ahead.device(tx, group, row.license_id, claims.iss)
        if device is not None or claims.replace or terms.plan.floating or terms.plan.anomalies:
            ahead.settled(group, row.license_id)
        seat = seating.next_of(terms, group) if device is None and not claims.replace else None
        stands = device is not None and device.state == device_store.ACTIVE and not device.held
        again = stands and device is not None and forks.is_repeat(device, claims)
        limits = None if again else within(self._about_to_start(terms, now), now)
        proof = self._prover.judge(claims, device, limits, now)
        facts = Facts(
            action=action,
            now=now,
            product=context.product,
            asked_product=claims.product,
            license=judging.license_facts(row, terms.plan, context.product),
            device=judging.device_facts(claims, terms.plan, device, proof=proof),
            chain=Chain.FIRST,
            seat=SeatFacts(outcome="held", seats=row.seats) if seat is None else seat.facts,
            trial_used=trial_used,
            meters=metering.facts(tx, row, terms.plan, now),
        )
        if again and device is not None:
            repeated = acting.replaced(facts, chain=Chain.REPEAT)
            return self._again(tx, claims, terms, device, repeated, proof, group)
        duplicates.refuse(tx, claims, device, group)
        decision = decide(facts)
        if not decision.allowed:
            return self._refuse(tx, claims, terms, device, facts, group)
        device_id = device.device_id if device else context.new_id("dev", now)
        if seat is None:
            seat = seating.enter(tx, terms, claims, device_id, device, now, group)
            facts = acting.replaced(facts, seat=seat.facts)
            decision = decide(facts)
        if not decision.allowed:
            return self._refuse(tx, claims, terms, device, facts, group)
        return self._admit(
            tx, claims, terms, device, device_id, seat, facts, decision, proof, network, group
        )

    def _admit(
        self,
        tx: Connection,
        claims: RequestClaims,
        terms: Terms,
        device: DeviceRow | None,
        device_id: str,
        seat: seating.Seating,
        facts: Facts,
        decision: Decision,
        proof: Proof,
        network: str,
        group: Group,
    ) -> Activated:
        context, now = self._context, facts.now
        known = recorder.fresh(context, now)
        if terms.license.starts_at is None or terms.plan.anomalies:  # it changes, or may
            group.forget(_of(terms.license.key_hash))
        terms = self._started(tx, terms, now)
        bound = not facts.device.unbound
        is_new = device is None
        if device is None:
            device = self._new_device(tx, claims, terms, device_id, seat, bound, known, group, now)
        answer = self._issuing.lease(
            tx, terms, device, now, seq=device.seq + 1, nonce=claims.nonce,
            kem=intake.kem_key(claims), prev=None, bound=bound, with_license=True, proof=proof,
            group=group,
        )  # fmt: skip
        self._write(tx, claims, terms, device, is_new, answer, bound, known, now, proof, group)
        if seat.replaced is not None:
            seating.retire(tx, seat.replaced, now, known.event_id)
        if seat.spent is not None:
            license_store.spend(
                tx, terms.license.license_id, seat.spent, device_id, now, known.event_id
            )
        acting.record(
            tx, known, EventKind.DEVICE_ACTIVATED, facts, decision, claims=claims,
            license_row=terms.license, device_id=device_id, group=group,
            more={
                "seq": answer.claims.seq,
                "lease": answer.claims.jti,
                "lease_exp": answer.claims.exp,
                "seat": seat.seat_no,
                "spent": seat.spent,
                "replaced": seat.replaced.device_id if seat.replaced else None,
                "eula": claims.eula,
                **proving.event_params(proof, answer.claims),
            },
        )  # fmt: skip
        self._record_more(tx, terms, device, seat, facts)
        seen = (*anomalies.ACTIVATED, *anomalies.of_request(claims))
        anomalies.notice(context, tx, terms, device_id, seen, known.event_id, now, network)
        return Activated(
            device_id=device_id,
            license=answer.license or "",
            lease=answer.lease,
            event_id=known.event_id,
            meters=metering.shown(tx, terms.license, terms.plan, now),
            verdict=proof.why or None,
        )

    def _record_more(
        self,
        tx: Connection,
        terms: Terms,
        device: DeviceRow,
        seat: seating.Seating,
        facts: Facts,
    ) -> None:
        """What else happened with the activation has events of its own."""
        more: list[tuple[EventKind, str, dict[str, object]]] = []
        old = seat.replaced
        if old is not None:
            ends = None if old.lease_exp is None else old.lease_exp.isoformat()
            told: dict[str, object] = {"by": device.device_id, "spent": seat.spent}
            more.append((EventKind.DEVICE_REPLACED, old.device_id, {**told, "overlap_until": ends}))
        if device.held:
            more.append((EventKind.FORK_HEALED, device.device_id, {"spent": seat.spent}))
        if facts.device.unbound:
            more.append((EventKind.DEVICE_UNBOUND, device.device_id, {}))
        for kind, device_id, params in more:
            recorder.record(
                tx, recorder.fresh(self._context, facts.now), kind, at=facts.now,
                actor=f"device:{device.device_id}", params=params,
                subjects={
                    "license": terms.license.license_id,
                    "customer": terms.license.customer_id,
                    "device": device_id,
                },
            )  # fmt: skip

    def _new_device(
        self,
        tx: Connection,
        claims: RequestClaims,
        terms: Terms,
        device_id: str,
        seat: seating.Seating,
        bound: bool,
        known: recorder.Recorded,
        group: Group,
        now: datetime,
    ) -> DeviceRow:
        status_list, status_idx = statuses.place(self._context, tx, group=group)
        traits = judging.stored(claims.traits)
        return DeviceRow(
            license_id=terms.license.license_id,
            device_id=device_id,
            jkt=claims.iss,
            jwk=dict(claims.jwk),
            label=claims.label,
            state=device_store.ACTIVE,
            held=False,
            traits=traits,
            presented=traits,
            bound=bound,
            drift=0,
            level=0,
            enforcement=terms.plan.enforcement,
            status_list=status_list,
            status_idx=status_idx,
            status_value=0,
            seat_no=seat.seat_no,
            prior_until=seat.prior_until,
            seq=0,
            last_jti=None,
            lease_id=None,
            lease_seq=None,
            lease_iat=None,
            lease_exp=None,
            bundle=None,
            question=packing.question(claims.nonce),
            license_rev=0,
            license_iat=None,
            activated_at=now,
            last_contact_at=now,
            ended_at=None,
            reason=None,
            event_id=known.event_id,
        )

    def _write(
        self,
        tx: Connection,
        claims: RequestClaims,
        terms: Terms,
        device: DeviceRow,
        is_new: bool,
        answer: Answer,
        bound: bool,
        known: recorder.Recorded,
        now: datetime,
        proof: Proof,
        group: Group,
    ) -> None:
        lease = answer.claims
        label = claims.label if claims.label is not None else device.label
        traits = device.traits if is_new else judging.stored(claims.traits)
        values = dict[str, Any](
            state=device_store.ACTIVE, held=False, status_value=0, ended_at=None, reason=None,
            label=label, traits=traits, presented=traits, bound=bound, drift=0,
            enforcement=lease.enforcement, activated_at=now,
            license_rev=terms.license.rev, license_iat=now, **proving.row_values(proof),
            **lease_values(answer, claims, terms.license, known.event_id, now),
        )  # fmt: skip
        if is_new:
            ahead.add(tx, group, replace(device, **values), now)
        else:
            settle(device_store.change(tx, device, **values))
        if device.status_value != 0:
            statuses.touch(tx, [device.status_list])
        hold_until(tx, terms, device.device_id, answer, now)

    def _again(
        self,
        tx: Connection,
        claims: RequestClaims,
        terms: Terms,
        device: DeviceRow,
        facts: Facts,
        proof: Proof,
        group: Group,
    ) -> Activated | Refusal:
        if not decide(facts).allowed:
            return self._refuse(tx, claims, terms, device, facts, group)
        answer = acting.again(
            tx, self._issuing, terms, device, claims, facts.now, license_too=True, proof=proof
        )
        if claims.label is not None:
            device_store.change(tx, device, label=claims.label)
        return Activated(
            device_id=device.device_id,
            license=answer.license or "",
            lease=answer.lease,
            event_id=device.lease_event,
            meters=metering.shown(tx, terms.license, terms.plan, facts.now),
        )

    def _refuse(
        self,
        tx: Connection,
        claims: RequestClaims,
        terms: Terms,
        device: DeviceRow | None,
        facts: Facts,
        group: Group,
    ) -> Refusal:
        ahead.settled(group, terms.license.license_id)
        more: dict[str, object] = {}
        code = decide(facts).code
        if code in ("no_free_seat", "replace_pending", "rebinds_used_up"):
            more = acting.holders_told(tx, terms.license.license_id)
        if code in ("enforcement_not_reached", "level_not_reached"):
            more = asdict(within(self._about_to_start(terms, facts.now), facts.now))
        return acting.refuse(
            self._context, tx, facts, claims=claims, license_row=terms.license, device=device,
            kind=EventKind.LEASE_DENIED, more=more,
        )  # fmt: skip

    @staticmethod
    def _about_to_start(terms: Terms, now: datetime) -> Terms:
        """The license as it will be once the first activation starts it."""
        row = terms.license
        if row.starts_at is not None or row.period_seconds is None:
            return terms
        ends_at = now + timedelta(seconds=row.period_seconds)
        return Terms(replace(row, ends_at=ends_at), terms.plan_name, terms.plan)

    def _started(self, tx: Connection, terms: Terms, now: datetime) -> Terms:
        """The license with its start: the first activation starts what waits for it."""
        row = terms.license
        if row.starts_at is not None:
            return terms
        ends_at = self._about_to_start(terms, now).license.ends_at
        settle(license_store.change(tx, row, starts_at=now, ends_at=ends_at, changed_at=now))
        fresh = license_store.get(tx, row.license_id)
        return Terms(fresh or row, terms.plan_name, terms.plan)


def _locked(tx: Connection, group: Group, key_hash: bytes) -> LicenseRow | None:
    """The license, which is this transaction's from here on."""
    return group.once(_of(key_hash), lambda: license_store.lock_by_key_hash(tx, key_hash))


def _of(key_hash: bytes) -> tuple[str, bytes]:
    """Under which name a group knows a license that it has locked."""
    return ("license", key_hash)


def lease_values(
    answer: Answer, claims: RequestClaims, owner: LicenseRow, event_id: str, now: datetime
) -> dict[str, object]:
    """What the device's row remembers of a new lease and of the question it answers."""
    values = chain_values(answer.claims, claims.seq, owner.plan_id)
    values["recipient"] = answer.recipient
    values["answer"] = answer.kept or None
    values["event_id"] = event_id
    values["bundle"] = _bundle(answer)
    values["last_contact_at"] = now
    return values


def chain_values(lease: LeaseClaims, asked_seq: int | None, plan_id: str) -> dict[str, object]:
    """Where the device's chain stands after ``lease``, whoever signed it."""
    return {
        "seq": lease.seq,
        "last_jti": lease.jti,
        "lease_id": lease.jti,
        "lease_seq": lease.seq,
        "lease_iat": from_numeric(lease.iat),
        "lease_exp": from_numeric(lease.exp),
        "renew_after_at": from_numeric(lease.renew_after_at),
        "asked_seq": asked_seq,
        "question": packing.question(lease.request_nonce),
        "under": packing.under(plan_id, lease.pv),
        "prev": lease.prev,
    }


def hold_until(tx: Connection, terms: Terms, device_id: str, answer: Answer, now: datetime) -> None:
    """A floating seat is held as long as the lease it was given for."""
    if not terms.plan.floating:
        return
    seat = seat_store.of_device(tx, terms.license.license_id, device_id)
    if seat is not None:
        ends = from_numeric(answer.claims.exp)
        seat_store.give_back(tx, seat, max(ends, now), seat.prior_until)


def _bundle(answer: Answer) -> str | None:
    ref = answer.claims.bundle
    return None if ref is None else unb64u(ref.digest).hex()
