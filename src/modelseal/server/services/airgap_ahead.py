"""Leases made ahead for a device without a network, and reading out their codes.

Each begins where the one before it ends and is sealed twice: its keys to a KEM key of the request,
the whole under a code that is stored wrapped. It counts from the moment its code is read out: then
``decide`` is asked, the chain moves to it and its seat is held until its end.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from modelseal.admin import LeaseCode
from modelseal.audit import EventKind
from modelseal.crypto.hpke import KemPublicKey
from modelseal.errors import ModelsealError, NoNextLease
from modelseal.license import lease_code, tokens
from modelseal.license.air_gap import NextLease
from modelseal.license.claims import ClockReading, LeaseClaims, MissingTrait, RequestClaims
from modelseal.license.decide import Decision, decide
from modelseal.license.facts import Action, Chain, Facts, SeatFacts
from modelseal.license.lease_code import CodeBinding
from modelseal.license.plans import MAX_LEASE_SECONDS
from modelseal.server.services import (
    acting,
    intake,
    judging,
    metering,
    overdrawing,
    recorder,
    seating,
)
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.context import Context
from modelseal.server.services.granting import Grants
from modelseal.server.services.idempotency import once
from modelseal.server.services.issuing import Terms, binding_of, facts_of
from modelseal.server.services.replay import recorded
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import prepared as store
from modelseal.server.store import seats as seat_store
from modelseal.server.store.engine import Again
from modelseal.server.store.rows import DeviceRow, PreparedRow
from modelseal.strict_json import unb64u
from modelseal.types import from_numeric, to_numeric

PURPOSE = "lease-code"
_ASKED = ("memory", "enforcement", "vm", "container")


class Ahead:
    """Preparing leases and giving out their codes."""

    def __init__(self, context: Context, grants: Grants) -> None:
        self._context = context
        self._grants = grants

    def prepare(
        self,
        tx: Connection,
        claims: RequestClaims,
        lease: LeaseClaims,
        now: datetime,
        *,
        relayed: bool = False,
    ) -> list[PreparedRow]:
        """The leases that follow ``lease``, the answer to ``claims``; the same ones every time.

        None for *online* leases, beyond the end of the license, and once the chain has moved on.
        ``relayed``: as many as the plan allows a relay, each from when the one before is due. Their
        numbers in the chain are taken from now on, and their seat is held until the last one's end.
        """
        if relayed:
            license_store.lock(tx, lease.lic)
        device = acting.device(tx, lease.sub)
        terms = acting.terms(tx, acting.license_of(tx, device))
        known = store.of_device(tx, lease.lic, lease.sub)
        mine = [row for row in known if row.base == lease.jti]
        if relayed and mine and not mine[0].relayed:  # its request was carried as a file, too
            return []
        if mine or (device.lease_id, device.last_jti) != (lease.jti, lease.jti):
            return mine
        rows = self._rows(tx, claims, lease, device, terms, now, relayed=relayed)
        if rows or known:
            store.replace(tx, lease.lic, lease.sub, rows)
        if relayed and rows:
            self._move(tx, device, terms, now, seq=rows[-1].seq, last=lease.jti,
                       ends_at=rows[-1].ends_at)  # fmt: skip
        return rows

    def _rows(
        self,
        tx: Connection,
        claims: RequestClaims,
        lease: LeaseClaims,
        device: DeviceRow,
        terms: Terms,
        now: datetime,
        *,
        relayed: bool,
    ) -> list[PreparedRow]:
        most = terms.plan.lease.ahead if relayed else claims.next_count
        public = intake.kem_keys(claims)[1 : 1 + min(claims.next_count, most)]
        if lease.enforcement != "software" or not public:
            return []
        # The license token on the device ends where it ended when it was signed.
        limit = to_numeric(terms.ends_at(device.license_iat or now))
        keys = self._grants.collect(
            tx,
            self._context.trusted.within(tx),
            facts_of(lease.ent),
            lease.level,
            now,
            plan=terms.plan,
        )
        rows: list[PreparedRow] = []
        before = lease
        for place, kem in enumerate(public, start=1):
            begins = before.renew_after_at if relayed else before.exp
            ends = min(begins + terms.plan.lease.max_seconds, limit)
            issued_at = to_numeric(now)
            over = ends <= max(before.exp, issued_at)  # a late repetition of an old answer
            if over or ends - issued_at > MAX_LEASE_SECONDS:
                break
            draft = msgspec.structs.replace(
                before,
                jti=self._context.new_id("lea", now),
                iat=issued_at,
                nbf=begins,
                exp=ends,
                renew_after_at=min(ends, begins + terms.plan.lease.renew_seconds),
                seq=before.seq + 1,
                prev=before.jti,
                request_nonce=lease_code.next_nonce(claims.nonce, place),
                keys=[],
                bundle=None,
            )
            rows.append(self._row(tx, claims, lease, draft, keys, kem, terms, now))
            before = draft
        return [replace(row, relayed=True) for row in rows] if relayed else rows

    def _row(
        self,
        tx: Connection,
        claims: RequestClaims,
        base: LeaseClaims,
        draft: LeaseClaims,
        keys: dict[tuple[bytes, int], bytes],
        kem: KemPublicKey,
        terms: Terms,
        now: datetime,
    ) -> PreparedRow:
        context = self._context
        signers = context.signers("lease", now)
        granted = self._grants.seal(
            tx, keys, kem, binding_of(draft), ends_at=from_numeric(draft.exp),
            signatures=len(signers), bundle_of=binding_of(base),
            known_bundle=None if base.bundle is None else unb64u(base.bundle.digest).hex(),
        )  # fmt: skip
        whole = msgspec.structs.replace(draft, keys=granted.keys, bundle=granted.bundle)
        code = lease_code.generate(context.random)
        binding = CodeBinding(
            context.server_id, context.product, draft.sub, draft.seq, draft.request_nonce
        )
        asked: dict[str, Any] = {name: getattr(claims, name) for name in _ASKED}
        asked["missing"] = msgspec.to_builtins(claims.missing)
        return PreparedRow(
            license_id=draft.lic,
            device_id=draft.sub,
            seq=draft.seq,
            lease_id=draft.jti,
            prev=draft.prev or "",
            base=base.jti,
            starts_at=from_numeric(draft.nbf),
            renew_after_at=from_numeric(draft.renew_after_at),
            ends_at=from_numeric(draft.exp),
            plan_id=terms.license.plan_id,
            plan_version=terms.license.plan_version,
            asked=asked,
            sealed=lease_code.seal(code, tokens.sign(whole, signers), binding),
            wrapped=context.provider.wrap(
                code.encode("ascii"), self._bound(draft.lic, draft.sub, draft.seq)
            ),
            given_at=None,
        )

    def code(
        self,
        actor: Actor,
        device_id: str,
        *,
        further: bool,
        idempotency_key: str | None = None,
    ) -> LeaseCode:
        """The code of the device's next lease; told again as long as that lease is not due.

        ``further`` asks for the one after it at once. Raises the refusal of ``decide``, which
        changes nothing about the chain, and ``NoNextLease``.
        """
        actor.need(Right.DEVICES)
        now = self._context.now()

        def act(tx: Connection) -> LeaseCode | ModelsealError:
            device = acting.device(tx, device_id)
            license_store.lock(tx, device.license_id)
            device = acting.device(tx, device_id)
            terms = acting.terms(tx, acting.license_of(tx, device))
            return self._code(tx, actor, device, terms, now, further=further)

        question = ["lease_code", device_id, further]
        return once(self._context, actor.name, idempotency_key, question, act, LeaseCode)

    def _code(
        self,
        tx: Connection,
        actor: Actor,
        device: DeviceRow,
        terms: Terms,
        now: datetime,
        *,
        further: bool,
    ) -> LeaseCode | ModelsealError:
        rows = store.of_device(tx, device.license_id, device.device_id)
        row = _chosen(rows, device, now, further=further)
        facts, decision = self.decided(tx, device, terms, row or _newest(rows), now)
        known = recorder.fresh(self._context, now)
        if not decision.allowed:
            self._record(tx, known, EventKind.LEASE_DENIED, actor, device, terms, facts, decision)
            return decision.error(known.reference)
        if row is None:
            raise NoNextLease("none waits for its code", device=device.device_id)
        check_terms(row, terms, now)
        again = row.given_at is not None
        if not again:
            self._give(tx, device, terms, row, known.event_id, now)
            overdrawing.told_elsewhere(tx, row, now)
        more = {"seq": row.seq, "lease": row.lease_id, "lease_exp": to_numeric(row.ends_at)}
        self._record(
            tx, known, EventKind.LEASE_CODE_GIVEN, actor, device, terms, facts, decision,
            {**more, "again": again},
        )  # fmt: skip
        return LeaseCode(
            code=self.code_of(row),
            device_id=device.device_id,
            license_id=device.license_id,
            seq=row.seq,
            starts_at=row.starts_at,
            expires_at=row.ends_at,
            again=again,
            left=sum(other.given_at is None and other.seq > row.seq for other in rows),
            next_from_at=row.renew_after_at,
            event_id=known.event_id,
        )

    def code_of(self, row: PreparedRow) -> str:
        """The code that opens the lease."""
        code = self._context.provider.unwrap(
            row.wrapped, self._bound(row.license_id, row.device_id, row.seq)
        )
        return code.decode("ascii")

    def decided(
        self,
        tx: Connection,
        device: DeviceRow,
        terms: Terms,
        row: PreparedRow | None,
        now: datetime,
    ) -> tuple[Facts, Decision]:
        """What ``decide`` says of a renewal now, by what the device last told of itself."""
        product = self._context.product
        seats = terms.license.seats
        facts = Facts(
            action=Action.RENEW,
            now=now,
            product=product,
            asked_product=product,
            license=judging.license_facts(terms.license, terms.plan, product),
            device=judging.device_facts(self._as_asked(device, row), terms.plan, device),
            chain=Chain.NEXT,
            seat=SeatFacts(outcome="held", seats=seats),
            meters=metering.facts(tx, terms.license, terms.plan, now),
        )
        if row is not None and terms.plan.floating and decide(facts).allowed:
            facts = acting.replaced(facts, seat=seating.hold_for(tx, terms, device, now).facts)
        return facts, decide(facts)

    def _as_asked(self, device: DeviceRow, row: PreparedRow | None) -> RequestClaims:
        """The device's last request, as far as a decision looks at it."""
        asked = dict(row.asked) if row is not None else {}
        missing = msgspec.convert(asked.pop("missing", []), list[MissingTrait])
        return RequestClaims(
            iss=device.jkt,
            aud=self._context.server_id,
            product=self._context.product,
            jti=device.lease_id or device.device_id,
            iat=0,
            op="renew",
            nonce="",
            jwk=device.jwk,
            clock=ClockReading(wall=0, monotonic_seconds=0),
            sub=device.device_id,
            traits=list(judging.traits(device.presented)),
            missing=missing,
            **asked,
        )

    def _give(
        self,
        tx: Connection,
        device: DeviceRow,
        terms: Terms,
        row: PreparedRow,
        event_id: str,
        now: datetime,
    ) -> None:
        """The chain stands at ``row``, whose lease is alive from now on.

        ``lease_seq`` stays: until the device is heard again it may stand at either.
        """
        seq = max(row.seq, device.seq)  # a relay's leases have taken their numbers already
        self._move(tx, device, terms, now, seq=seq, last=row.lease_id, ends_at=row.ends_at,
                   event_id=event_id)  # fmt: skip
        if not store.give(tx, row, now):
            raise Again

    def _move(
        self, tx: Connection, device: DeviceRow, terms: Terms, now: datetime, *, seq: int,
        last: str, ends_at: datetime, **more: str,
    ) -> None:  # fmt: skip
        """The chain stands at ``seq``, and no later lease of the device ends before ``ends_at``."""
        ends = max(ends_at, device.lease_exp or ends_at)
        kept = device.answer
        if device.lease_exp is not None:  # the lease itself ends when it did
            kept = {"exp": to_numeric(device.lease_exp), **(kept or {})}
        if not device_store.change(
            tx, device, seq=seq, last_jti=last, lease_exp=ends, answer=kept, **more
        ):
            raise Again
        seat = seat_store.of_device(tx, device.license_id, device.device_id)
        if terms.plan.floating and seat is not None:
            seat_store.give_back(tx, seat, max(ends, now), seat.prior_until)

    def _record(
        self,
        tx: Connection,
        known: recorder.Recorded,
        kind: EventKind,
        actor: Actor,
        device: DeviceRow,
        terms: Terms,
        facts: Facts,
        decision: Decision,
        more: dict[str, Any] | None = None,
    ) -> None:
        recorder.record(
            tx, known, kind, at=facts.now, actor=actor.name,
            subjects={
                "license": device.license_id,
                "customer": terms.license.customer_id,
                "device": device.device_id,
                "key": device.jkt,
            },
            params={
                "action": facts.action.value,
                "code": decision.code,
                "step": decision.step,
                "facts": recorded(facts),
                **(more or {}),
            },
            decision=True,
        )  # fmt: skip

    def _bound(self, license_id: str, device_id: str, seq: int) -> dict[str, str | int | bytes]:
        return self._context.wrap_context(
            PURPOSE, license_id=license_id, device_id=device_id, seq=seq
        )


def shown(place: int, row: PreparedRow) -> NextLease:
    """A lease ahead as its device gets it."""
    return NextLease(
        place=place,
        seq=row.seq,
        starts_at=to_numeric(row.starts_at),
        ends_at=to_numeric(row.ends_at),
        sealed=row.sealed,
    )


def _chosen(
    rows: list[PreparedRow], device: DeviceRow, now: datetime, *, further: bool
) -> PreparedRow | None:
    """The lease whose code is asked for: the one told last until it is due, else the next.

    Only a lease that follows the newest answer of the chain can be chosen.
    """
    told = [row for row in rows if row.lease_id == device.last_jti and row.given_at is not None]
    following = [row for row in rows if row.prev == device.last_jti and row.given_at is None]
    if told and not further and now < told[0].renew_after_at:
        return told[0]
    return following[0] if following else None


def _newest(rows: list[PreparedRow]) -> PreparedRow | None:
    return rows[-1] if rows else None


def check_terms(row: PreparedRow, terms: Terms, now: datetime) -> None:
    """Returns when the license still says what it said when the lease was made."""
    license_row = terms.license
    if (row.plan_id, row.plan_version) != (license_row.plan_id, license_row.plan_version):
        raise NoNextLease("the plan was changed since it was made", device=row.device_id)
    if row.ends_at > terms.ends_at(now):
        raise NoNextLease("it would outlive the license", device=row.device_id)
    if row.ends_at <= now:
        raise NoNextLease("it has ended already", device=row.device_id)
