"""Renewals of a tick: judged from one snapshot, written as one durable transaction.

Only the ordinary ones: the next question of a known device that is allowed and changes nothing but
the lease. Whatever else comes is left to ``Renewal``, which answers it alone; both ask ``decide``.
Between snapshot and write nobody may have moved on: neither a device, its license, nor the trust.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.crypto.signing import Signer, VerifyKey
from modelseal.errors import ModelsealError, RateLimited, Unavailable
from modelseal.license import lease_keys, tokens
from modelseal.license.claims import Entitlement, LeaseClaims, RequestClaims
from modelseal.license.decide import decide
from modelseal.license.facts import Action, Chain, Facts, LicenseFacts, SeatFacts
from modelseal.license.plans import Plan
from modelseal.server.services import (
    acting,
    anomalies,
    duplicates,
    forks,
    granting,
    intake,
    judging,
    limits,
    proving,
    recorder,
)
from modelseal.server.services.activation import lease_values
from modelseal.server.services.context import Context
from modelseal.server.services.granting import NO_KEYS, Granted, Grants
from modelseal.server.services.issuing import (
    Issuing,
    Terms,
    binding_of,
    entitlements_at,
    facts_of,
    signed,
    within,
)
from modelseal.server.services.limits import Limiter
from modelseal.server.services.plans import terms_of
from modelseal.server.services.proving import Proving, Within
from modelseal.server.services.renewal import Renewed
from modelseal.server.services.trusted import COUNTER
from modelseal.server.store import plans as plan_store
from modelseal.server.store import ticks as store
from modelseal.server.store import tokens as token_store
from modelseal.server.store.devices import ACTIVE
from modelseal.server.store.engine import Again
from modelseal.server.store.events import Entry
from modelseal.server.store.rows import DeviceRow, LicenseRow
from modelseal.trust import Trust

MOST = 64
"""Renewals of one tick."""
_TRIES = 2
_MAX_PLANS = 1024
Outcome = Renewed | ModelsealError | None


class Asked(Struct, frozen=True):
    """A renewal as it came: for which device, its token, from which network."""

    device_id: str
    token: bytes
    network: str


class _Ready(Struct, frozen=True):
    """An answer that only has to be written."""

    claims: RequestClaims
    device: DeviceRow
    license: LicenseRow
    values: dict[str, object]
    entry: Entry
    renewed: Renewed


class _Owner(Struct, frozen=True):
    """A license as all its devices see it in one tick."""

    terms: Terms
    facts: LicenseFacts
    seat: SeatFacts
    span: Within
    ent: list[Entitlement]


@dataclass(slots=True)
class _Tick:
    """What the renewals of one tick share, as one snapshot of the store shows it.

    ``keys`` are data keys as they are sealed, None where they are too many for a token.
    """

    tx: Connection
    number: int
    now: datetime
    trust: Trust
    signers: Sequence[Signer]
    rows: dict[str, tuple[DeviceRow, LicenseRow]]
    owners: dict[str, _Owner | None] = field(default_factory=dict)
    keys: dict[tuple[str, int, int], bytes | None] = field(default_factory=dict)


class Ticks:
    """Answering many renewals at once."""

    def __init__(
        self, context: Context, issuing: Issuing, grants: Grants, prover: Proving, limiter: Limiter
    ) -> None:
        self._context = context
        self._issuing = issuing
        self._grants = grants
        self._prover = prover
        self._limiter = limiter
        self._plans: tuple[int, dict[tuple[str, int], tuple[str, Plan]]] = (-1, {})

    def renew(self, asked: Sequence[Asked]) -> list[Outcome]:
        """What each is answered, once all of it is durable. None: it has to be asked alone."""
        self._context.trusted.freshen()
        first = {item.device_id: item for item in reversed(asked)}
        found: dict[str, Outcome] = {}
        try:
            left = list(first.values())
            for _ in range(_TRIES):
                left = self._answer(left, found)
                if not left:
                    break
        except ModelsealError as error:
            found |= {name: error for name in first if name not in found}
        return [found.get(i.device_id) if first[i.device_id] is i else None for i in asked]

    def _answer(self, asked: list[Asked], found: dict[str, Outcome]) -> list[Asked]:
        """Answers stand in ``found``; what is left wants another try, the trust having changed."""
        number, ready = self._context.store.read(self._judge, asked, found)
        if not ready:
            return []
        written = self._context.store.write(self._write, number, ready)
        if written is None:
            return [item for item in asked if item.device_id not in found]
        found |= {name: ready[name].renewed for name in written}
        return []

    def _judge(
        self, tx: Connection, asked: list[Asked], found: dict[str, Outcome]
    ) -> tuple[int, dict[str, _Ready]]:
        """The number of the trust, and the answers under it by device."""
        context, now = self._context, self._context.now()
        number = token_store.counter(tx, COUNTER)
        rows = store.rows(tx, [item.device_id for item in asked])
        ready: dict[str, _Ready] = {}
        if not rows:
            return number, ready
        trust = context.trusted.within(tx, number)
        tick = _Tick(tx, number, now, trust, context.signers("lease", now, trust), rows)
        for item in asked:
            try:
                one = self._ready(tick, item)
            except RateLimited as error:
                found[item.device_id] = error
                continue
            except Unavailable:
                raise
            except ModelsealError:  # whoever asks alone is told what is wrong
                continue
            if one is not None:
                ready[item.device_id] = one
        return number, ready

    def _write(self, tx: Connection, number: int, ready: dict[str, _Ready]) -> list[str] | None:
        """The devices that have their next lease; None when the trust is another by now."""
        if token_store.counter(tx, COUNTER) != number:
            return None
        now = store.places(tx, list(ready))
        kept = [
            one for name, one in ready.items()
            if now.get(name) == store.place_of(one.device, one.license)
        ]  # fmt: skip
        if not kept:
            return []
        if not store.advance(tx, [(one.device, one.values) for one in kept]):
            raise Again
        names = [one.device.device_id for one in kept]
        store.drop_bundles(tx, names, min(one.entry.event.at for one in kept))
        duplicates.remember_all(tx, [one.claims for one in kept])
        recorder.write(tx, [one.entry for one in kept])
        return names

    def _ready(self, tick: _Tick, asked: Asked) -> _Ready | None:
        """The answer to an ordinary renewal; None for any other."""
        context, now = self._context, tick.now
        row = tick.rows.get(asked.device_id)
        if row is None:
            return None
        device, license_row = row
        if device.state != ACTIVE or device.held or device.bundle or not device.jwk:
            return None
        key = VerifyKey.known(device.jwk, device.jkt)
        claims = tokens.read_request(asked.token, server_id=context.server_id, jwk=key)
        traits = judging.stored(claims.traits)
        if not _is_plain(claims, device, traits):
            return None
        enrolled = judging.enrolled(device, claims, traits)
        if not forks.is_ordinary(device, claims, enrolled):
            return None
        owner = self._owner(tick, license_row)
        if owner is None:
            return None
        terms = owner.terms
        if self._issuing.wants_license(tick.trust, claims, device, terms, now):
            return None
        self._limiter.take(limits.RENEWAL, device.device_id, now)
        self._limiter.take(limits.LICENSE, device.license_id, now)
        kem = intake.kem_key(claims)
        proof = self._prover.judge(claims, device, owner.span, now)
        if proof.enrolled is not None and proof.enrolled != device.tpm:
            return None
        facts = Facts(
            action=Action.RENEW,
            now=now,
            product=context.product,
            asked_product=claims.product,
            license=owner.facts,
            device=judging.device_facts(claims, terms.plan, device, proof=proof, known=enrolled),
            chain=Chain.NEXT,
            seat=owner.seat,
        )
        decision = decide(facts)
        seen = anomalies.of_request(claims, facts.device.moved)
        if not decision.allowed or facts.device.moved or (terms.plan.anomalies and any(seen)):
            return None
        draft = self._issuing.draft(
            terms, device, now, seq=device.seq + 1, nonce=claims.nonce, prev=claims.prev,
            bound=not facts.device.unbound, proof=proof, span=owner.span, ent=owner.ent,
        )  # fmt: skip
        granted = NO_KEYS
        if draft.enforcement != "online":
            keys = self._keys(tick, terms, draft)
            if keys is None:
                return None
            if keys:
                sealed = lease_keys.seal_listed(keys, kem, binding_of(draft), proof.key)
                granted = Granted([sealed], None, [])
        answer = signed(draft, None, None, granted, kem, proof.key, tick.signers)
        known = recorder.fresh(context, now)
        entry = acting.entry_of(
            known, EventKind.LEASE_RENEWED, facts, decision, claims=claims,
            license_row=license_row, device_id=device.device_id,
            more={"seq": draft.seq, "lease": draft.jti, "lease_exp": draft.exp,
                  **proving.event_params(proof, draft)},
        )  # fmt: skip
        values = lease_values(answer, claims, license_row, known.event_id, now)
        values |= {
            "bound": draft.bound, "enforcement": draft.enforcement, "drift": 0,
            "level": proof.level,
        }  # fmt: skip
        renewed = Renewed(lease=answer.lease, event_id=known.event_id, verdict=proof.why or None)
        return _Ready(claims, device, license_row, values, entry, renewed)

    def _owner(self, tick: _Tick, row: LicenseRow) -> _Owner | None:
        """The license of ordinary renewals; None for one under which more has to be counted."""
        if row.license_id not in tick.owners:
            tick.owners[row.license_id] = self._new_owner(tick, row)
        return tick.owners[row.license_id]

    def _new_owner(self, tick: _Tick, row: LicenseRow) -> _Owner | None:
        known = self._plan(tick.tx, tick.number, row.plan_id, row.plan_version)
        if known is None:
            return None
        terms = Terms(row, *known)
        plan = terms.plan
        spread = any(rule.rule == anomalies.SPREAD for rule in plan.anomalies)
        if plan.floating or plan.meters or spread:
            return None
        return _Owner(
            terms,
            judging.license_facts(row, plan, self._context.product),
            SeatFacts(outcome="held", seats=row.seats),
            within(terms, tick.now),
            entitlements_at(plan, tick.now),
        )

    def _keys(self, tick: _Tick, terms: Terms, draft: LeaseClaims) -> bytes | None:
        """The data keys for this level as they are sealed, empty for none of them; None when they
        are too many for a token.
        """
        same = (terms.license.plan_id, terms.license.plan_version, draft.level)
        if same not in tick.keys:
            found = self._grants.collect(
                tick.tx, tick.trust, facts_of(draft.ent), draft.level, tick.now, plan=terms.plan
            )
            fits = len(found) <= granting.most(len(tick.signers))
            tick.keys[same] = (lease_keys.listed(found) if found else b"") if fits else None
        return tick.keys[same]

    def _plan(
        self, tx: Connection, number: int, plan_id: str, version: int
    ) -> tuple[str, Plan] | None:
        """Name and terms of a version of a plan, which never change but by a restore.

        A restore moves the number of the trust; what was kept under another one is forgotten.
        """
        kept, plans = self._plans
        if kept != number or len(plans) > _MAX_PLANS:
            plans = {}
            self._plans = (number, plans)
        plan = plans.get((plan_id, version))
        if plan is None:
            row = plan_store.terms(tx, plan_id, version)
            if row is None:
                return None
            plan = plans[plan_id, version] = (row[0], terms_of(row[1]))
        return plan


def _is_plain(claims: RequestClaims, device: DeviceRow, traits: bytes) -> bool:
    """True for a renewal by the enrolled key that tells nothing to be stored."""
    return (
        claims.op == "renew"
        and claims.iss == device.jkt
        and claims.sub == device.device_id
        and claims.lic == device.license_id
        and claims.handover is None
        and not claims.next_count
        and claims.next_lease is None
        and claims.label in (None, device.label)
        and traits == device.presented
    )
