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
from modelseal.license import tokens
from modelseal.license.claims import RequestClaims
from modelseal.license.decide import decide
from modelseal.license.facts import Action, Chain, Facts, SeatFacts
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
from modelseal.server.services.granting import Granted, Grants, KeyMap
from modelseal.server.services.issuing import Issuing, Terms, binding_of, facts_of, signed, within
from modelseal.server.services.limits import Limiter
from modelseal.server.services.plans import terms_of
from modelseal.server.services.proving import Proving
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


@dataclass(slots=True)
class _Tick:
    """What the renewals of one tick share, as one snapshot of the store shows it."""

    tx: Connection
    now: datetime
    trust: Trust
    signers: Sequence[Signer]
    rows: dict[str, tuple[DeviceRow, LicenseRow]]
    keys: dict[tuple[str, int, int], KeyMap] = field(default_factory=dict)


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
        tick = _Tick(tx, now, trust, context.signers("lease", now, trust), rows)
        for item in asked:
            try:
                one = self._ready(tick, number, item)
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

    def _ready(self, tick: _Tick, number: int, asked: Asked) -> _Ready | None:
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
        if not _is_plain(claims, device):
            return None
        enrolled = judging.enrolled(device, claims)
        if not forks.is_ordinary(device, claims, enrolled):
            return None
        terms = self._terms(tick.tx, number, license_row)
        if terms is None or self._issuing.wants_license(tick.trust, claims, device, terms, now):
            return None
        self._limiter.take(limits.RENEWAL, device.device_id, now)
        self._limiter.take(limits.LICENSE, device.license_id, now)
        kem = intake.kem_key(claims)
        span = within(terms, now)
        proof = self._prover.judge(claims, device, span, now)
        if proof.enrolled is not None and proof.enrolled != device.tpm:
            return None
        facts = Facts(
            action=Action.RENEW,
            now=now,
            product=context.product,
            asked_product=claims.product,
            license=judging.license_facts(license_row, terms.plan, context.product),
            device=judging.device_facts(claims, terms.plan, device, proof=proof, known=enrolled),
            chain=Chain.NEXT,
            seat=SeatFacts(outcome="held", seats=license_row.seats),
        )
        decision = decide(facts)
        seen = anomalies.of_request(claims, facts.device.moved)
        if not decision.allowed or facts.device.moved or (terms.plan.anomalies and any(seen)):
            return None
        draft = self._issuing.draft(
            terms, device, now, seq=device.seq + 1, nonce=claims.nonce, prev=claims.prev,
            bound=not facts.device.unbound, proof=proof, span=span,
        )  # fmt: skip
        granted = Granted([], None, [])
        if draft.enforcement != "online":
            same = (terms.license.plan_id, terms.license.plan_version, draft.level)
            if same not in tick.keys:
                tick.keys[same] = self._grants.collect(
                    tick.tx, tick.trust, facts_of(draft.ent), draft.level, now, plan=terms.plan
                )
            if len(tick.keys[same]) > granting.most(len(tick.signers)):
                return None
            granted = self._grants.seal(
                tick.tx, tick.keys[same], kem, binding_of(draft), ends_at=now,
                signatures=len(tick.signers), hardware=proof.key,
            )  # fmt: skip
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

    def _terms(self, tx: Connection, number: int, row: LicenseRow) -> Terms | None:
        """The terms of an ordinary renewal; None for those under which more has to be counted."""
        plan = self._plan(tx, number, row.plan_id, row.plan_version)
        if plan is None:
            return None
        terms = Terms(row, *plan)
        counts = terms.plan.floating or terms.plan.meters
        spread = any(rule.rule == anomalies.SPREAD for rule in terms.plan.anomalies)
        return None if counts or spread else terms

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


def _is_plain(claims: RequestClaims, device: DeviceRow) -> bool:
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
        and judging.stored(claims.traits) == device.presented
    )
