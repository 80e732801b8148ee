"""Leases and license tokens: made once per answer, made again byte for byte in all that counts.

A lost reply is answered with the same ids, numbers and times; the keys are sealed anew to the
same KEM key.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from modelseal.crypto.hpke import KemPublicKey
from modelseal.crypto.hpke_p256 import P256PublicKey
from modelseal.crypto.signing import Signer
from modelseal.errors import IdempotencyMismatch, InternalError
from modelseal.license import lease_keys, tokens
from modelseal.license.claims import (
    Confirmation,
    EnforcementName,
    Entitlement,
    Eula,
    HardwareEnd,
    LeaseClaims,
    LicenseClaims,
    RequestClaims,
    StatusRef,
)
from modelseal.license.facts import EntitlementFact
from modelseal.license.plans import STABLE, Plan
from modelseal.server.services import judging, statuses
from modelseal.server.services.context import Context, plain
from modelseal.server.services.granting import NO_KEYS, Granted, Grants
from modelseal.server.services.keeping import CLOCK_MARGIN
from modelseal.server.services.plans import terms_of
from modelseal.server.services.proving import NOTHING, Proof, Within
from modelseal.server.store import packing
from modelseal.server.store import plans as plan_store
from modelseal.server.store.rows import DeviceRow, LicenseRow
from modelseal.server.store.together import Group
from modelseal.trust import Trust, Use
from modelseal.types import from_numeric, to_numeric

NEVER_SECONDS = 400 * 86400
NEVER_AGAIN_SECONDS = 200 * 86400
_JITTER = 16


class Answer(Struct, frozen=True):
    """A lease as it is answered, and what is kept to answer it again (see ``DeviceRow``)."""

    lease: str
    license: str | None
    claims: LeaseClaims
    recipient: bytes
    kept: dict[str, Any]


class Terms(Struct, frozen=True):
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
        proof: Proof = NOTHING,
        group: Group | None = None,
    ) -> Answer:
        """The next lease of ``device``, and a license token where wanted.

        With a key in hardware it ends no later than that key, and is enforced by it.
        """
        draft = self.draft(
            terms, device, now, seq=seq, nonce=nonce, prev=prev, bound=bound, proof=proof
        )
        license_claims = self._license(terms, device, now) if with_license else None
        return self._answer(
            tx, draft, license_claims, kem, now, proof.key,
            known_bundle=None, terms=terms, group=group,
        )  # fmt: skip

    def draft(
        self,
        terms: Terms,
        device: DeviceRow,
        now: datetime,
        *,
        seq: int,
        nonce: str,
        prev: str | None,
        bound: bool,
        proof: Proof,
        span: Within | None = None,
        ent: list[Entitlement] | None = None,
    ) -> LeaseClaims:
        """The claims of the next lease, without its keys.

        ``span`` is what ``within`` gives and ``ent`` what ``entitlements_at`` does, where known.
        """
        context, plan = self._context, terms.plan
        issued_at = to_numeric(now)
        ends = issued_at + (span or within(terms, now)).seconds
        if proof.end is not None and plan.enforcement != "online":
            ends = min(ends, issued_at + _seconds(proof.end))
        return self._claims(
            device, now, pv=terms.license.plan_version, jti=context.new_id("lea", now),
            exp=ends, renew_after_at=min(ends, issued_at + self._renew_after(plan)), seq=seq,
            request_nonce=nonce, enforcement=enforcement_of(plan, proof), level=proof.level,
            prev=prev, bound=bound, hardware=None if plan.enforcement == "online" else proof.end,
            ent=entitlements_at(plan, now) if ent is None else ent,
        )  # fmt: skip

    def _claims(self, device: DeviceRow, at: datetime, **told: Any) -> LeaseClaims:
        context, issued_at = self._context, to_numeric(at)
        return LeaseClaims(
            iss=context.server_id,
            aud=context.product,
            sub=device.device_id,
            lic=device.license_id,
            product=context.product,
            iat=issued_at,
            nbf=issued_at,
            cnf=Confirmation(jkt=device.jkt),
            keys=[],
            status=_status(context, device),
            delegation=_delegation(context),
            **told,
        )

    def again(
        self,
        tx: Connection,
        terms: Terms,
        device: DeviceRow,
        kem: KemPublicKey,
        now: datetime,
        *,
        nonce: str,
        with_license: bool,
        proof: Proof = NOTHING,
    ) -> Answer:
        """The last lease once more: a lost reply to ``nonce``.

        ``with_license``: a license token comes along, a fresh one where the first answer had none.
        Raises ``IdempotencyMismatch`` for other keys.
        """
        then, version = terms_then(tx, terms, device.under)
        known = (device.answer or {}).get("hardware")
        hardware = None if known is None else P256PublicKey(known["jwk"])
        if device.recipient != recipient_of(kem):
            raise IdempotencyMismatch("the same nonce came with another KEM key")
        if proof.key is not None and hardware is not None and proof.key.kid != hardware.kid:
            raise IdempotencyMismatch("the same nonce came with another key in hardware")
        license_claims = self._license_again(tx, terms, device)
        if with_license and license_claims is None:
            license_claims = self._license(terms, device, now)
        draft = self._draft_again(then.plan, version, device, nonce)
        return self._answer(
            tx, draft, license_claims, kem, now, hardware,
            known_bundle=device.bundle, terms=terms,
        )  # fmt: skip

    def _draft_again(self, plan: Plan, version: int, device: DeviceRow, nonce: str) -> LeaseClaims:
        kept = device.answer or {}
        if "whole" in kept:
            return msgspec.convert(kept["whole"]["lease"], LeaseClaims)
        if device.lease_iat is None or device.lease_exp is None or device.renew_after_at is None:
            raise InternalError("a stored answer is not readable")
        end = kept.get("hardware", {}).get("end")
        return self._claims(
            device, device.lease_iat, pv=version, jti=device.lease_id,
            ent=entitlements_at(plan, device.lease_iat),
            exp=kept.get("exp", to_numeric(device.lease_exp)),
            renew_after_at=to_numeric(device.renew_after_at), seq=device.lease_seq,
            request_nonce=nonce, enforcement=device.enforcement, level=device.level,
            prev=device.prev, bound=device.bound,
            hardware=None if end is None else msgspec.convert(end, HardwareEnd),
        )  # fmt: skip

    def _license_again(
        self, tx: Connection, terms: Terms, device: DeviceRow
    ) -> LicenseClaims | None:
        kept = device.answer or {}
        told, whole = kept.get("license"), kept.get("whole", {}).get("license")
        if told is None:
            return None if whole is None else msgspec.convert(whole, LicenseClaims)
        if device.license_iat is None:
            raise InternalError("a stored answer is not readable")
        jti, starts, ends, *under = told
        mark = packing.under(*under) if under else device.under
        then, version = terms_then(tx, terms, mark)
        return self._license_claims(
            then, device, device.license_iat, jti=jti, nbf=starts, exp=ends, pv=version
        )

    def _answer(
        self,
        tx: Connection,
        draft: LeaseClaims,
        license_claims: LicenseClaims | None,
        kem: KemPublicKey,
        now: datetime,
        hardware: P256PublicKey | None,
        *,
        known_bundle: str | None,
        terms: Terms,
        group: Group | None = None,
    ) -> Answer:
        context, group = self._context, group or Group(tx)
        trust = group.once("trust", lambda: context.trusted.within(tx))
        # A lost reply is signed by keys that were valid at the time it names.
        signers = context.signers("lease", from_numeric(draft.iat), trust)
        granted = NO_KEYS
        if draft.enforcement != "online":
            facts = facts_of(draft.ent)
            keys = group.once(
                ("keys", terms.license.plan_id, terms.license.plan_version, draft.level, facts),
                lambda: self._grants.collect(tx, trust, facts, draft.level, now, plan=terms.plan),
            )
            granted = self._grants.seal(
                tx, keys, kem, binding_of(draft), ends_at=from_numeric(draft.exp),
                signatures=len(signers), known_bundle=known_bundle, hardware=hardware,
            )  # fmt: skip
        license_token = None
        if license_claims is not None:
            by = context.signers("license", from_numeric(license_claims.iat), trust)
            license_token = tokens.sign(license_claims, by)
        return signed(draft, license_claims, license_token, granted, kem, hardware, signers)

    def wants_license(
        self, trust: Trust, claims: RequestClaims, device: DeviceRow, terms: Terms, now: datetime
    ) -> bool:
        """True when the device's license token is missing, changed, half used up where the license
        never ends, or was signed before the key that signs now.
        """
        if claims.lic is None or device.license_iat is None:
            return True
        if device.license_rev != terms.license.rev:
            return True
        if terms.license.ends_at is None:
            half = timedelta(seconds=NEVER_AGAIN_SECONDS)
            if now - device.license_iat > half:
                return True
        listed = trust.keys(Use.LICENSE)
        return device.license_iat < max(key.not_before for key in listed) + CLOCK_MARGIN

    def _license(self, terms: Terms, device: DeviceRow, now: datetime) -> LicenseClaims:
        row = terms.license
        return self._license_claims(
            terms, device, now, jti=self._context.new_id("lic", now),
            nbf=to_numeric(min(row.starts_at or now, now)), exp=to_numeric(terms.ends_at(now)),
            pv=row.plan_version,
        )  # fmt: skip

    def _license_claims(
        self, terms: Terms, device: DeviceRow, at: datetime, **told: Any
    ) -> LicenseClaims:
        context, plan = self._context, terms.plan
        return LicenseClaims(
            iss=context.server_id,
            aud=context.product,
            sub=terms.license.license_id,
            iat=to_numeric(at),
            product=context.product,
            plan=terms.plan_name,
            ent=entitlements_of(terms.entitlements(), at),
            cnf=Confirmation(jkt=device.jkt),
            lease_max_seconds=plan.lease.max_seconds,
            status=_status(context, device),
            delegation=_delegation(context),
            eula=None if plan.eula is None else Eula(plan.eula.digest, plan.eula.uri),
            channels=[] if tuple(plan.channels) == STABLE else plan.channels,
            min_releases=plan.min_releases,
            on_expiry=plan.on_expiry,
            memory=plan.memory,
            **told,
        )

    def _renew_after(self, plan: Plan) -> int:
        """The plan's time to renew, up to a sixteenth of it later, so that fleets spread out."""
        seconds = plan.lease.renew_seconds
        spread = seconds // _JITTER
        drawn = int.from_bytes(self._context.drawn(4), "big")
        return seconds + (drawn % (spread + 1))


def signed(
    draft: LeaseClaims,
    license_claims: LicenseClaims | None,
    license_token: str | None,
    granted: Granted,
    kem: KemPublicKey,
    hardware: P256PublicKey | None,
    signers: Sequence[Signer],
) -> Answer:
    """The lease of ``draft`` with what was granted, and what is kept to give it again."""
    claims = msgspec.structs.replace(draft, keys=granted.keys, bundle=granted.bundle)
    kept: dict[str, Any] = {}
    if license_claims is not None:
        kept["license"] = [license_claims.jti, license_claims.nbf, license_claims.exp]
    if hardware is not None and draft.hardware is not None:
        kept["hardware"] = {"jwk": hardware.jwk, "end": plain(draft.hardware)}
    return Answer(tokens.sign(claims, signers), license_token, claims, recipient_of(kem), kept)


def has_license(device: DeviceRow) -> bool:
    """True when a license token came along with the device's newest lease."""
    kept = device.answer or {}
    return "license" in kept or kept.get("whole", {}).get("license") is not None


def recipient_of(kem: KemPublicKey) -> bytes:
    """A KEM key as a device's row remembers it."""
    return packing.mark(kem.kid)


def terms_then(tx: Connection, terms: Terms, mark: bytes | None) -> tuple[Terms, int]:
    """The terms under which something was given, and the version of their plan, whatever plan the
    license has now.
    """
    row = terms.license
    if mark is None or mark == packing.under(row.plan_id, row.plan_version):
        return terms, row.plan_version
    known = plan_store.under(tx, mark)
    found = None if known is None else plan_store.terms(tx, *known)
    if known is None or found is None:
        raise InternalError("a device's plan is missing")
    return Terms(row, found[0], terms_of(found[1])), known[1]


def entitlements_then(
    tx: Connection, terms: Terms, device: DeviceRow
) -> tuple[EntitlementFact, ...]:
    """What the device's newest lease granted; nothing where it was adopted, not given."""
    if device.asked_seq is None or device.lease_iat is None:
        return ()
    whole = (device.answer or {}).get("whole")
    if whole is not None:
        return facts_of(msgspec.convert(whole["lease"], LeaseClaims).ent)
    then, _version = terms_then(tx, terms, device.under)
    return facts_of(entitlements_of(then.entitlements(), device.lease_iat))


def entitlements_at(plan: Plan, at: datetime) -> list[Entitlement]:
    """What a lease of ``plan`` that is given at ``at`` grants."""
    return entitlements_of(judging.entitlements(plan), at)


def within(terms: Terms, now: datetime) -> Within:
    """How long a lease that is given now may live, and how many resets of a TPM it may see."""
    issued_at, lease = to_numeric(now), terms.plan.lease
    ends = min(issued_at + lease.max_seconds, to_numeric(terms.ends_at(now)))
    return Within(ends - issued_at, lease.power_cuts)


def enforcement_of(plan: Plan, proof: Proof) -> EnforcementName:
    """How the end of a lease is held: better than the plan demands where that was proved."""
    proved = proof.key is not None and plan.enforcement != "online"
    return "hardware" if proved else plan.enforcement


def _seconds(end: HardwareEnd) -> int:
    return (end.clock_limit_ms - end.clock_ms) // 1000


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


def _status(context: Context, device: DeviceRow) -> StatusRef:
    """The device's own place; what a relay gives stands at the place of its delegation."""
    if context.delegation is not None:
        return context.delegation.claims.status
    return StatusRef(idx=device.status_idx, uri=statuses.path(device.status_list))


def _delegation(context: Context) -> str | None:
    return None if context.delegation is None else context.delegation.token


def entitlements_of(facts: tuple[EntitlementFact, ...], now: datetime) -> list[Entitlement]:
    """What is granted at ``now``, as tokens tell it."""
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
