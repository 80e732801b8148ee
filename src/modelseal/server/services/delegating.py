"""What a relay may give by itself: asked for with evidence, given as a signed delegation.

The plan allows it and says how much; the relay proves as a device of the license what it is. Seats
that wait for it are nobody else's until its delegation ends.
Normative: ``docs/spec/relay.md``, section 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection

from modelseal.admin import BudgetState
from modelseal.audit import EventKind
from modelseal.errors import BudgetRefused, LevelNotReached, NotFound, TokenClaims
from modelseal.license import delegation, lease_keys, tokens
from modelseal.license.claims import (
    Confirmation,
    DelegationClaims,
    RelayKey,
    RequestClaims,
    SealedKeys,
    StatusRef,
)
from modelseal.license.decide import Decision, decide
from modelseal.license.facts import Facts, SectionFacts
from modelseal.license.plans import Plan, RelayTerms
from modelseal.server.services import acting, intake, issuing, recorder, statuses
from modelseal.server.services.appraising import Verdict
from modelseal.server.services.attesting import Asked, AttestedRequest, Attesting
from modelseal.server.services.context import Context, plain
from modelseal.server.services.denials import Refusal
from modelseal.server.services.granting import Grants, KeyMap
from modelseal.server.services.issuing import Terms
from modelseal.server.services.releasing import Proved, lease_facts
from modelseal.server.store import delegations as store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import seats as seat_store
from modelseal.server.store.rows import DelegationRow, DeviceRow
from modelseal.trust import Trust, Use
from modelseal.types import from_numeric, to_numeric


class DelegatedLicense(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The license as a relay gives leases of it; ``ends_at`` None: never."""

    license_id: str
    plan_id: str
    plan: str
    pv: int
    terms: Plan
    starts_at: datetime
    ends_at: datetime | None = None


class Delegated(Struct, frozen=True, kw_only=True):
    """The answer to a relay: its delegation, the license, and what its leases carry.

    ``keys`` are the data keys, 64 at most in each, sealed to the KEM key of the request. So many
    ``seats_spent`` and ``renewals_spent`` the server has booked of this relay.
    """

    delegation: str
    license: DelegatedLicense
    keys: list[SealedKeys]
    event_id: str
    seats_spent: int
    renewals_spent: int


class Delegating:
    """See the module."""

    def __init__(self, context: Context, grants: Grants, attesting: Attesting) -> None:
        self._context = context
        self._grants = grants
        self._attesting = attesting

    def delegate(
        self, claims: RequestClaims, device_id: str, token: bytes, sent: AttestedRequest
    ) -> Delegated | Refusal:
        """A delegation and the keys for it, or a denial that ends nothing but the question.

        Raises ``BudgetRefused`` where the plan has none for relays, or this relay gets none.
        """
        wish = _wish(claims)
        asked, _device, _terms = self._attesting.asked(claims, device_id, token, sent)
        asked.question.verdict(None)  # before anybody waits for the store

        def act(tx: Connection) -> Delegated | Refusal:
            device, _ = self._attesting.known(tx, device_id)
            license_store.lock(tx, device.license_id)
            device, terms = self._attesting.known(tx, device_id)
            if terms.plan.relay is None:
                raise BudgetRefused("the plan lets no relay give leases", why="plan")
            row = _row_of(tx, device, wish.relay)
            facts = self._facts(tx, asked, device, terms, terms.plan.relay)
            decision = decide(facts)
            if not decision.allowed:
                return self._refused(tx, asked, device, terms, facts)
            return self._give(tx, asked, wish, device, terms, row, facts, decision)

        return self._context.store.write(act)

    def _facts(
        self, tx: Connection, asked: Asked, device: DeviceRow, terms: Terms, relay: RelayTerms
    ) -> Facts:
        verdict = asked.question.verdict(None)
        section = SectionFacts(
            product=self._context.product,
            model="relay",
            min_level=max(relay.min_level, asked.level),
        )
        lease = lease_facts(tx, asked.claims, device, terms)
        attesting = self._attesting
        facts = attesting.facts(tx, asked, device, terms, lease, section, verdict)
        if decide(facts).code == LevelNotReached.code and verdict.code == "ok":
            short = Verdict(0, "level_short", verdict.result, given_by=verdict.given_by)
            facts = attesting.facts(tx, asked, device, terms, lease, section, short)
        return facts

    def _refused(
        self, tx: Connection, asked: Asked, device: DeviceRow, terms: Terms, facts: Facts
    ) -> Refusal:
        params = asked.question.verdict(None).params
        refusal = acting.refuse(
            self._context, tx, facts, claims=asked.claims, license_row=terms.license,
            device=device, kind=EventKind.LEASE_DENIED, in_chain=False,
            more={"verdict_params": [params]} if params else None,
            told={"evidence": asked.question.told()},
        )  # fmt: skip
        self._attesting.keep(tx, asked, terms, refusal.event_id)
        return refusal

    def _give(
        self,
        tx: Connection,
        asked: Asked,
        wish: RelayKey,
        device: DeviceRow,
        terms: Terms,
        row: DelegationRow | None,
        facts: Facts,
        decision: Decision,
    ) -> Delegated:
        context, now = self._context, asked.now
        self._attesting.remember(tx, device, asked.proof)
        trust = context.trusted.within(tx)
        signers = context.signers("lease", now, trust)
        known = recorder.fresh(context, now)
        ends_at = self._ends_at(asked, terms, trust, signers[0].kid)
        row = self._written(tx, asked, wish, device, terms, row, known, ends_at)
        claims = self._claims(asked, wish, device, terms, row)
        keys = self._grants.collect(
            tx, trust, issuing.facts_of(claims.ent), 0, now, plan=terms.plan
        )
        acting.record(
            tx, known, EventKind.DELEGATION_GIVEN, facts, decision, claims=asked.claims,
            license_row=terms.license, device_id=device.device_id,
            more={"relay": row.relay, "delegation": row.delegation_id, "number": row.number,
                  "seats": row.seats, "renewals": row.renewals, "exp": claims.exp,
                  "level": row.level, "keys": len(keys), "status": plain(claims.status),
                  "key": delegation.key_of(claims).kid,
                  "evidence": asked.question.told()},
        )  # fmt: skip
        self._attesting.keep(tx, asked, terms, known.event_id)
        return Delegated(
            delegation=tokens.sign(claims, signers),
            license=_told(terms, now),
            keys=[self._sealed(asked, claims, part) for part in _parts(keys)],
            event_id=known.event_id,
            seats_spent=row.seats_spent,
            renewals_spent=row.renewals_spent,
        )

    def _ends_at(self, asked: Asked, terms: Terms, trust: Trust, kid: str) -> datetime:
        """The plan's span, but no later than license, entitlements, verdict and signing key."""
        now, relay = asked.now, terms.plan.relay
        seconds = relay.max_seconds if relay else 0
        longest = asked.question.max_lease_seconds()
        ends = [now + timedelta(seconds=min(seconds, longest or seconds)), terms.ends_at(now)]
        ends += [
            fact.expires_at
            for fact in terms.entitlements()
            if fact.expires_at is not None and fact.expires_at > now
        ]
        key_ends = trust.ends_at(Use.LEASE, kid)
        return from_numeric(to_numeric(min([*ends, *([key_ends] if key_ends else [])])))

    def _written(
        self,
        tx: Connection,
        asked: Asked,
        wish: RelayKey,
        device: DeviceRow,
        terms: Terms,
        row: DelegationRow | None,
        known: recorder.Recorded,
        ends_at: datetime,
    ) -> DelegationRow:
        """The relay's row with what it may give from now on; under the license's lock."""
        context, now, relay = self._context, asked.now, terms.plan.relay
        if relay is None:
            raise BudgetRefused("the plan lets no relay give leases", why="plan")
        used = seat_store.used(tx, terms.license.license_id, now)
        others = terms.license.reserved - (row.reserved if row else 0)
        reserved = max(0, min(relay.seats, terms.license.seats - used - others))
        spent = (row.seats_spent, row.renewals_spent) if row else (0, 0)
        values: dict[str, Any] = {
            "delegation_id": context.new_id("dlg", now),
            "number": (row.number if row else 0) + 1,
            "seats": spent[0] + reserved,
            "renewals": spent[1] + relay.renewals,
            "reserved": reserved,
            "level": min(asked.level, 5),
            "issued_at": now,
            "ends_at": ends_at,
            "event_id": known.event_id,
        }
        if row is not None:
            return store.change(tx, row, **values)
        place = statuses.place(context, tx)
        fresh = DelegationRow(
            license_id=terms.license.license_id, relay=wish.relay, device_id=device.device_id,
            state=BudgetState.ACTIVE.value, seats_spent=0, renewals_spent=0, overdrawn=0,
            status_list=place[0], status_idx=place[1], status_value=0, **values,
        )  # fmt: skip
        store.add(tx, fresh)
        return fresh

    def _claims(
        self, asked: Asked, wish: RelayKey, device: DeviceRow, terms: Terms, row: DelegationRow
    ) -> DelegationClaims:
        context, question = self._context, asked.question
        proved = Proved(asked.transcript.digest, question.digest(), question.kinds)
        ent = issuing.entitlements_of(terms.entitlements(), asked.now)
        return DelegationClaims(
            iss=context.server_id,
            aud=context.product,
            sub=row.relay,
            device=device.device_id,
            lic=row.license_id,
            product=context.product,
            plan=terms.plan_name,
            pv=terms.license.plan_version,
            jti=row.delegation_id,
            iat=to_numeric(asked.now),
            exp=to_numeric(row.ends_at),
            number=row.number,
            request_nonce=asked.claims.nonce,
            cnf=Confirmation(jkt=device.jkt),
            jwk=wish.jwk,
            kem=intake.kem_key(asked.claims).kid,
            seats=row.seats,
            renewals=row.renewals,
            lease_max_seconds=terms.plan.lease.max_seconds,
            ent=ent,
            status=StatusRef(idx=row.status_idx, uri=statuses.path(row.status_list)),
            level=row.level,
            attested=proved.claim(),
        )

    def _sealed(self, asked: Asked, claims: DelegationClaims, keys: KeyMap) -> SealedKeys:
        binding = binding_of(claims, asked.transcript.digest, asked.question.digest())
        return lease_keys.seal(keys, intake.kem_key(asked.claims), binding)


def binding_of(claims: DelegationClaims, transcript: bytes, result: bytes) -> lease_keys.Binding:
    """What the data keys for a relay are sealed for."""
    return lease_keys.Binding(
        label="delegation",
        product=claims.product,
        license=claims.lic,
        device=claims.device,
        lease=claims.jti,
        seq=claims.number,
        exp=claims.exp,
        level=0,
        jkt=claims.cnf.jkt,
        nonce=claims.request_nonce,
        transcript=transcript,
        result=result,
    )


def _wish(claims: RequestClaims) -> RelayKey:
    wish = claims.delegate
    if wish is None:
        raise TokenClaims("the request names no relay and key")
    return wish


def _row_of(tx: Connection, device: DeviceRow, relay: str) -> DelegationRow | None:
    """What the relay may give so far; ``BudgetRefused`` for one that gets no more."""
    row = store.get(tx, relay)
    if row is None:
        return None
    if (row.license_id, row.device_id) != (device.license_id, device.device_id):
        raise NotFound("no such relay", relay=relay)
    if row.state != BudgetState.ACTIVE:
        raise BudgetRefused("this relay gets no budget any more", why=row.state, relay=relay)
    return row


def _told(terms: Terms, now: datetime) -> DelegatedLicense:
    row = terms.license
    return DelegatedLicense(
        license_id=row.license_id,
        plan_id=row.plan_id,
        plan=terms.plan_name,
        pv=row.plan_version,
        terms=terms.plan,
        starts_at=row.starts_at or now,
        ends_at=row.ends_at,
    )


def _parts(keys: KeyMap) -> Iterator[KeyMap]:
    left = iter(sorted(keys.items()))
    while part := dict(islice(left, lease_keys.MAX_KEYS)):
        yield part
