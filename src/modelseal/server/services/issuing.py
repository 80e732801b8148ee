"""Leases and license tokens: made once per answer, made again byte for byte in all that counts.

A lost reply is answered with the same ids, numbers and times; the keys are sealed anew to the
same KEM key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection

from modelseal.crypto.hpke import KemPublicKey
from modelseal.errors import IdempotencyMismatch, InternalError
from modelseal.license import lease_keys, tokens
from modelseal.license.claims import (
    Confirmation,
    Entitlement,
    Eula,
    LeaseClaims,
    LicenseClaims,
    StatusRef,
)
from modelseal.license.facts import EntitlementFact
from modelseal.license.plans import Plan
from modelseal.server.services import judging, statuses
from modelseal.server.services.context import Context, plain
from modelseal.server.services.granting import Granted, Grants
from modelseal.server.store.rows import DeviceRow, LicenseRow
from modelseal.types import from_numeric, to_numeric

NEVER_SECONDS = 400 * 86400
NEVER_AGAIN_SECONDS = 200 * 86400
_JITTER = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """A lease as it is answered, and what is kept to answer it again."""

    lease: str
    license: str | None
    claims: LeaseClaims
    kept: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Terms:
    """A license with its plan, as one act needs it."""

    license: LicenseRow
    plan_name: str
    plan: Plan

    def entitlements(self) -> tuple[EntitlementFact, ...]:
        """What is granted."""
        return judging.entitlements(self.plan)

    def ends_at(self, now: datetime) -> datetime:
        """The end that tokens name: with late payment, or 400 days on for *never*."""
        if self.license.ends_at is None:
            return now + timedelta(seconds=NEVER_SECONDS)
        return self.license.ends_at + timedelta(seconds=self.plan.late_payment_seconds)


class Issuing:
    """Making the tokens of an answer. The caller writes the device's row."""

    def __init__(self, context: Context, grants: Grants) -> None:
        self._context = context
        self._grants = grants

    def lease(
        self,
        tx: Connection,
        terms: Terms,
        device: DeviceRow,
        now: datetime,
        *,
        seq: int,
        nonce: str,
        kem: KemPublicKey,
        prev: str | None,
        bound: bool,
        with_license: bool,
    ) -> Answer:
        """The next lease of ``device``, and a license token where wanted."""
        context, plan = self._context, terms.plan
        issued_at = to_numeric(now)
        ends = min(issued_at + plan.lease.max_seconds, to_numeric(terms.ends_at(now)))
        draft = LeaseClaims(
            iss=context.server_id,
            aud=context.product,
            sub=device.device_id,
            lic=terms.license.license_id,
            product=context.product,
            pv=terms.license.plan_version,
            jti=context.new_id("lea", now),
            iat=issued_at,
            nbf=issued_at,
            exp=ends,
            renew_after_at=min(ends, issued_at + self._renew_after(plan)),
            seq=seq,
            request_nonce=nonce,
            cnf=Confirmation(jkt=device.jkt),
            ent=_entitlements(terms.entitlements(), now),
            enforcement=plan.enforcement,
            keys=[],
            level=judging.LEVEL,
            status=_status(device),
            prev=prev,
            bound=bound,
        )
        license_claims = self._license(terms, device, now) if with_license else None
        return self._answer(tx, draft, license_claims, kem, now, known_bundle=None)

    def again(
        self,
        tx: Connection,
        terms: Terms,
        device: DeviceRow,
        kem: KemPublicKey,
        now: datetime,
        *,
        with_license: bool,
    ) -> Answer:
        """The last lease once more: a lost reply. ``IdempotencyMismatch`` for another KEM key.

        ``with_license``: a license token comes along, a fresh one where the first answer had none.
        """
        kept = device.answer or {}
        try:
            claims = msgspec.convert(kept["lease"], LeaseClaims)
            raw = kept.get("license")
            license_claims = None if raw is None else msgspec.convert(raw, LicenseClaims)
        except (KeyError, msgspec.ValidationError):
            raise InternalError("a stored answer is not readable") from None
        if kept.get("recipient") != kem.kid:
            raise IdempotencyMismatch("the same nonce came with another KEM key")
        if with_license and license_claims is None:
            license_claims = self._license(terms, device, now)
        return self._answer(tx, claims, license_claims, kem, now, known_bundle=device.bundle)

    def _answer(
        self,
        tx: Connection,
        draft: LeaseClaims,
        license_claims: LicenseClaims | None,
        kem: KemPublicKey,
        now: datetime,
        *,
        known_bundle: str | None,
    ) -> Answer:
        context = self._context
        # A lost reply is signed by keys that were valid at the time it names.
        signers = context.signers("lease", from_numeric(draft.iat), tx)
        granted = Granted([], None, [])
        if draft.enforcement == "software":
            facts = facts_of(draft.ent)
            keys = self._grants.collect(tx, facts, draft.level, now)
            granted = self._grants.seal(
                tx, keys, kem, binding_of(draft), ends_at=from_numeric(draft.exp),
                signatures=len(signers), known_bundle=known_bundle,
            )  # fmt: skip
        claims = msgspec.structs.replace(draft, keys=granted.keys, bundle=granted.bundle)
        license_token = None
        if license_claims is not None:
            by = context.signers("license", from_numeric(license_claims.iat), tx)
            license_token = tokens.sign(license_claims, by)
        kept = {
            "lease": plain(msgspec.structs.replace(claims, keys=[])),
            "license": None if license_claims is None else plain(license_claims),
            "recipient": kem.kid,
            "files": granted.files,
        }
        return Answer(tokens.sign(claims, signers), license_token, claims, kept)

    def _license(self, terms: Terms, device: DeviceRow, now: datetime) -> LicenseClaims:
        row, plan = terms.license, terms.plan
        context = self._context
        starts = to_numeric(min(row.starts_at or now, now))
        return LicenseClaims(
            iss=context.server_id,
            aud=context.product,
            sub=row.license_id,
            jti=context.new_id("lic", now),
            iat=to_numeric(now),
            nbf=starts,
            exp=to_numeric(terms.ends_at(now)),
            product=context.product,
            plan=terms.plan_name,
            pv=row.plan_version,
            ent=_entitlements(terms.entitlements(), now),
            cnf=Confirmation(jkt=device.jkt),
            lease_max_seconds=plan.lease.max_seconds,
            status=_status(device),
            eula=None if plan.eula is None else Eula(plan.eula.digest, plan.eula.uri),
        )

    def _renew_after(self, plan: Plan) -> int:
        """The plan's time to renew, up to a sixteenth of it later, so that fleets spread out."""
        seconds = plan.lease.renew_seconds
        spread = seconds // _JITTER
        drawn = int.from_bytes(self._context.random(4), "big")
        return seconds + (drawn % (spread + 1))


def binding_of(claims: LeaseClaims) -> lease_keys.Binding:
    """What the keys of a lease are sealed for."""
    return lease_keys.Binding(
        label="lease",
        product=claims.product,
        license=claims.lic,
        device=claims.sub,
        lease=claims.jti,
        seq=claims.seq,
        exp=claims.exp,
        level=claims.level,
        jkt=claims.cnf.jkt,
    )


def _status(device: DeviceRow) -> StatusRef:
    return StatusRef(idx=device.status_idx, uri=statuses.path(device.status_list))


def _entitlements(facts: tuple[EntitlementFact, ...], now: datetime) -> list[Entitlement]:
    return [
        Entitlement(
            id=fact.id,
            min_level=fact.min_level,
            exp=None if fact.expires_at is None else to_numeric(fact.expires_at),
        )
        for fact in facts
        if fact.expires_at is None or fact.expires_at > now
    ]


def facts_of(entitlements: list[Entitlement]) -> tuple[EntitlementFact, ...]:
    """What a token grants, as facts."""
    return tuple(
        EntitlementFact(
            id=item.id,
            min_level=item.min_level,
            expires_at=None if item.exp is None else from_numeric(item.exp),
        )
        for item in entitlements
    )
