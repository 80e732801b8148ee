"""One ordinary renewal, judged from what one snapshot of the store showed.

The next question of a known device that is allowed and changes nothing but the lease. The store is
looked at beforehand, for all renewals of a tick at once: judging one of them waits for nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.crypto.signing import Signer, SigningKey, VerifyKey
from modelseal.errors import ModelsealError, Unavailable
from modelseal.license import lease_keys, tokens
from modelseal.license.claims import Entitlement, RequestClaims, TraitDigest
from modelseal.license.decide import decide
from modelseal.license.facts import Action, Chain, Facts, LicenseFacts, SeatFacts
from modelseal.server.services import (
    acting,
    anomalies,
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
from modelseal.server.services.plans import KeptPlans
from modelseal.server.services.proving import Proving, Within
from modelseal.server.services.renewal import Renewed
from modelseal.server.services.trusted import COUNTER
from modelseal.server.store import ticks as store
from modelseal.server.store.devices import ACTIVE
from modelseal.server.store.events import Entry
from modelseal.server.store.rows import DeviceRow, LicenseRow
from modelseal.trust import Trust


class Asked(Struct, frozen=True):
    """A renewal as it came: for which device, its token, from which network."""

    device_id: str
    token: bytes
    network: str


class Waits(Exception):
    """Judging this renewal could wait for a disk or another machine."""


class Ready(Struct, frozen=True):
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


_Question = tuple[RequestClaims, DeviceRow, LicenseRow, Sequence[TraitDigest], _Owner]


@dataclass(slots=True)
class Snapshot:
    """What the renewals of one tick share, as one transaction saw it; ``number`` is the trust's.

    ``keys`` are data keys as they are sealed, by plan, its version and level, None where they are
    too many for a token. Who is not among ``rows``, ``owners`` or ``keys`` has to be asked alone.
    """

    number: int
    now: datetime
    trust: Trust
    signers: Sequence[Signer]
    rows: dict[str, tuple[DeviceRow, LicenseRow]]
    owners: dict[str, _Owner | None] = field(default_factory=dict)
    keys: dict[tuple[str, int, int], bytes | None] = field(default_factory=dict)

    @property
    def is_quick(self) -> bool:
        """True where judging waits for nobody: every key that signs is in this process."""
        return all(isinstance(signer, SigningKey) for signer in self.signers)


class Ordinary:
    """Judging ordinary renewals."""

    def __init__(
        self, context: Context, issuing: Issuing, grants: Grants, prover: Proving, limiter: Limiter
    ) -> None:
        self._context = context
        self._issuing = issuing
        self._grants = grants
        self._prover = prover
        self._limiter = limiter
        self._plans = KeptPlans()

    def look(self, tx: Connection, devices: Sequence[str]) -> Snapshot | None:
        """All that judging renewals of these devices takes; None where none of them is known."""
        context, now = self._context, self._context.now()
        number, rows = store.rows(tx, devices, COUNTER)
        if not rows:
            return None
        trust = context.trusted.within(tx, number)
        seen = Snapshot(number, now, trust, context.signers("lease", now, trust), rows)
        for device, license_row in rows.values():
            try:
                self._share(tx, seen, device, license_row)
            except Unavailable:
                raise
            except ModelsealError:  # whoever asks alone is told what is wrong
                continue
        return seen

    def judge(self, tick: Snapshot, asked: Asked, *, may_wait: bool) -> Ready | None:
        """The answer to an ordinary renewal; None for any other. ``Waits`` where it may not."""
        context, now = self._context, tick.now
        question = self._question(tick, asked)
        if question is None:
            return None
        claims, device, license_row, enrolled, owner = question
        if claims.tpm is not None and not may_wait:  # roots of TPMs are files
            raise Waits
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
            keys = tick.keys.get(_same(terms, draft.level))
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
        return Ready(claims, device, license_row, values, entry, renewed)

    def _question(self, tick: Snapshot, asked: Asked) -> _Question | None:
        """The next question of a known device, signed by its key; None for any other."""
        row = tick.rows.get(asked.device_id)
        if row is None:
            return None
        device, license_row = row
        if device.state != ACTIVE or device.held or device.bundle or not device.jwk:
            return None
        key = VerifyKey.known(device.jwk, device.jkt)
        claims = tokens.read_request(asked.token, server_id=self._context.server_id, jwk=key)
        traits = judging.stored(claims.traits)
        if not _is_plain(claims, device, traits):
            return None
        enrolled = judging.enrolled(device, claims, traits)
        owner = tick.owners.get(license_row.license_id)
        if owner is None or not forks.is_ordinary(device, claims, enrolled):
            return None
        return claims, device, license_row, enrolled, owner

    def _share(self, tx: Connection, tick: Snapshot, device: DeviceRow, row: LicenseRow) -> None:
        """What this device has in common with others is known."""
        if row.license_id not in tick.owners:
            tick.owners[row.license_id] = self._owner(tx, tick, row)
        owner = tick.owners[row.license_id]
        if owner is not None and owner.terms.plan.enforcement != "online":
            self._collect(tx, tick, owner, device.level)

    def _owner(self, tx: Connection, tick: Snapshot, row: LicenseRow) -> _Owner | None:
        """The license of ordinary renewals; None for one under which more has to be counted."""
        terms = Terms(row, *self._plans.terms(tx, tick.number, row.plan_id, row.plan_version))
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

    def _collect(self, tx: Connection, tick: Snapshot, owner: _Owner, level: int) -> None:
        """The data keys for this license at the level that one of its devices had."""
        same = _same(owner.terms, level)
        if same in tick.keys:
            return
        found = self._grants.collect(
            tx, tick.trust, facts_of(owner.ent), level, tick.now, plan=owner.terms.plan
        )
        fits = len(found) <= granting.most(len(tick.signers))
        tick.keys[same] = (lease_keys.listed(found) if found else b"") if fits else None


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


def _same(terms: Terms, level: int) -> tuple[str, int, int]:
    return terms.license.plan_id, terms.license.plan_version, level
