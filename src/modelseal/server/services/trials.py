"""Self-service trials: a license of its own for a device.

A plan offers them by ``trial_once_per_device``; what is given to everybody is given once.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from functools import partial

import msgspec
from sqlalchemy import Connection

from modelseal.admin import IssueLicense
from modelseal.audit import EventKind
from modelseal.errors import NotFound, TokenClaims
from modelseal.license import license_key
from modelseal.license.claims import RequestClaims, TraitDigest
from modelseal.license.decide import decide
from modelseal.license.facts import Action, Facts, SeatFacts
from modelseal.license.plans import Plan
from modelseal.server.services import acting, intake, judging, recorder
from modelseal.server.services.activation import Activated, Activation
from modelseal.server.services.context import Context
from modelseal.server.services.denials import Refusal
from modelseal.server.services.ends import ends_of
from modelseal.server.services.licensing import Licensing, hash_key
from modelseal.server.services.plans import terms_of
from modelseal.server.services.proving import Proving, Within
from modelseal.server.store import licenses as license_store
from modelseal.server.store import plans as plan_store
from modelseal.server.store.engine import Again
from modelseal.server.store.rows import PlanRow
from modelseal.server.store.together import Group, alone

KEY_SECRET = "trial-license-key"


class Trials:
    """Giving out trials."""

    def __init__(
        self,
        context: Context,
        licensing: Licensing,
        activation: Activation,
        prover: Proving,
    ) -> None:
        self._context = context
        self._prover = prover
        self._licensing = licensing
        self._activation = activation

    def start(self, claims: RequestClaims, network: str = "") -> Activated | Refusal:
        """A trial license and its activation in one act; the same nonce gives the same again."""
        intake.kem_key(claims)
        if claims.plan is None:
            raise TokenClaims("the request names no plan")
        key = self._key(claims)
        key_hash = hash_key(self._context, license_key.parse(key))
        now = self._context.now()

        def act(tx: Connection, group: Group) -> Activated | Refusal:
            known = license_store.lock_by_key_hash(tx, key_hash)
            if known is not None:
                terms = acting.terms(tx, known)
                answer = self._activation.enter(
                    tx, claims, terms, now, Action.TRIAL, network=network, group=group
                )
            else:
                answer = self._new(tx, claims, key, now, network, group)
            if isinstance(answer, Activated):
                return msgspec.structs.replace(answer, license_key=key)
            return answer

        return self._context.store.write(partial(alone, act=act))

    def _new(
        self,
        tx: Connection,
        claims: RequestClaims,
        key: str,
        now: datetime,
        network: str,
        group: Group,
    ) -> Activated | Refusal:
        context = self._context
        plan_row = plan_store.find(tx, claims.plan or "")
        plan = None if plan_row is None else terms_of(plan_row.terms)
        if plan_row is None or plan is None or not plan.trial_once_per_device:
            raise NotFound("no trial of this plan is offered", name=claims.plan)
        plan_store.lock(tx, plan_row.plan_id)
        used = self._used(tx, plan_row, plan, claims)
        ends = ends_of(plan, now, expires_at=None, expires_in_seconds=None, never=False)
        proof = self._prover.judge(claims, None, self._within(plan, ends.ends_at, now), now)
        facts = Facts(
            action=Action.TRIAL,
            now=now,
            product=context.product,
            asked_product=claims.product,
            license=judging.trial_facts(plan, context.product, now, ends.ends_at),
            device=judging.device_facts(claims, plan, None, proof=proof),
            seat=SeatFacts(outcome="free", seats=1),
            trial_used=used,
        )
        if not decide(facts).allowed:
            return acting.refuse(
                context, tx, facts, claims=claims, license_row=None, device=None,
                kind=EventKind.LEASE_DENIED,
            )  # fmt: skip
        issued = recorder.fresh(context, now)
        customer = claims.email or context.new_id("cus", now)
        wish = IssueLicense(plan=plan_row.name, customer=customer)
        row, name = self._licensing.insert(tx, wish, key, issued, now)
        recorder.record(
            tx, issued, EventKind.TRIAL_STARTED, at=now, actor="device",
            subjects={"license": row.license_id, "customer": row.customer_id},
            params={"plan": name, "plan_version": row.plan_version},
        )  # fmt: skip
        answer = self._activation.enter(
            tx, claims, acting.terms(tx, row), now, Action.TRIAL, trial_used=used,
            network=network, group=group,
        )  # fmt: skip
        if isinstance(answer, Refusal):
            raise Again
        traits = [(item.kind, item.digest) for item in claims.traits]
        license_store.remember_trial(tx, plan_row.plan_id, row.license_id, answer.device_id, traits)
        return answer

    @staticmethod
    def _within(plan: Plan, ends_at: datetime | None, now: datetime) -> Within:
        left = plan.lease.max_seconds
        if ends_at is not None:
            left = min(left, int((ends_at - now).total_seconds()) + plan.late_payment_seconds)
        return Within(left, plan.lease.power_cuts)

    def _used(self, tx: Connection, plan_row: PlanRow, plan: Plan, claims: RequestClaims) -> bool:
        """True when a trial of this plan went to a computer that looks like this one."""
        traits = [(item.kind, item.digest) for item in claims.traits]
        for seen in license_store.trials_like(tx, plan_row.plan_id, traits).values():
            enrolled = [TraitDigest(kind=kind, digest=digest) for kind, digest in seen]
            if judging.match(enrolled, claims.traits, plan.binding).same_computer:
                return True
        return False

    def _key(self, claims: RequestClaims) -> str:
        """The license key of this trial: made from its request, so that a retry finds it."""
        secret = self._context.secret(KEY_SECRET)
        asked = f"{claims.iss}:{claims.nonce}".encode()
        return license_key.format_key(hmac.new(secret, asked, hashlib.sha256).digest()[:10])
