"""Key release: data keys for one run, sealed to a key that never leaves that run's memory."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.errors import InternalError, TokenClaims
from modelseal.license import lease_keys, tokens
from modelseal.license.claims import Confirmation, LeaseClaims, ReleaseClaims, RequestClaims
from modelseal.license.decide import Decision, decide, narrowed
from modelseal.license.facts import (
    Action,
    Chain,
    EntitlementFact,
    Facts,
    LeaseFacts,
    entitlement_facts,
)
from modelseal.server.services import acting, duplicates, intake, judging, metering, recorder
from modelseal.server.services.adoption import adopt, knows
from modelseal.server.services.context import Context
from modelseal.server.services.denials import Refusal
from modelseal.server.services.granting import Grants
from modelseal.server.services.issuing import Terms
from modelseal.server.store import devices as device_store
from modelseal.server.store.rows import DeviceRow
from modelseal.strict_json import JsonInvalid, unb64u
from modelseal.types import to_numeric


class Released(Struct, frozen=True, kw_only=True):
    """The answer to a key release."""

    release: str
    event_id: str


class Releasing:
    """Handing out keys under a lease in force. It names the lease and does not advance it."""

    def __init__(self, context: Context, grants: Grants) -> None:
        self._context = context
        self._grants = grants

    def release(
        self, claims: RequestClaims, device_id: str, row: DeviceRow | None
    ) -> Released | Refusal:
        """Keys of what is granted among what is wanted; may be repeated after any crash."""
        intake.kem_key(claims)
        wanted = _wanted(claims)
        now = self._context.now()
        if not knows(row, claims):
            adopt(self._context, claims, device_id, now)

        def act(tx: Connection) -> Released | Refusal:
            device = acting.device(tx, device_id)
            terms = acting.terms(tx, acting.license_of(tx, device))
            return self._release(tx, claims, device, terms, wanted, now)

        return self._context.store.write(act)

    def _release(
        self,
        tx: Connection,
        claims: RequestClaims,
        device: DeviceRow,
        terms: Terms,
        wanted: dict[bytes, frozenset[int]] | None,
        now: datetime,
    ) -> Released | Refusal:
        product = self._context.product
        facts = Facts(
            action=Action.RELEASE,
            now=now,
            product=product,
            asked_product=claims.product,
            license=judging.license_facts(terms.license, terms.plan, product),
            device=judging.device_facts(claims, terms.plan, device),
            chain=Chain.NEXT,
            lease=_lease_facts(claims, device),
            meters=metering.told(tx, terms, device.device_id, claims, now),
        )
        decision = decide(facts)
        if not decision.allowed:
            duplicates.refuse(tx, claims, device)
            return acting.refuse(
                self._context, tx, facts, claims=claims, license_row=terms.license,
                device=device, kind=EventKind.LEASE_DENIED,
            )  # fmt: skip
        return self._seal(tx, claims, device, terms, wanted, facts, decision)

    def _seal(
        self,
        tx: Connection,
        claims: RequestClaims,
        device: DeviceRow,
        terms: Terms,
        wanted: dict[bytes, frozenset[int]] | None,
        facts: Facts,
        decision: Decision,
    ) -> Released:
        context, now = self._context, facts.now
        if facts.lease is None:
            raise InternalError("a release without a lease")
        device_store.hold(tx, device)
        known = recorder.fresh(context, now)
        signers = context.signers("lease", now, tx)
        ends_at = facts.lease.expires_at
        grants = narrowed(terms.entitlements(), facts.lease.entitlements)
        keys = self._grants.collect(tx, grants, judging.LEVEL, now, wanted)
        binding = lease_keys.Binding(
            label="release",
            product=context.product,
            license=device.license_id,
            device=device.device_id,
            lease=device.lease_id or "",
            seq=device.lease_seq or 0,
            exp=to_numeric(ends_at),
            level=judging.LEVEL,
            jkt=device.jkt,
            nonce=claims.nonce,
        )
        granted = self._grants.seal(
            tx, keys, intake.kem_key(claims), binding, ends_at=ends_at, signatures=len(signers)
        )
        release = ReleaseClaims(
            iss=context.server_id,
            aud=context.product,
            sub=device.device_id,
            lic=device.license_id,
            product=context.product,
            jti=known.event_id,
            iat=to_numeric(now),
            exp=binding.exp,
            lease=binding.lease,
            seq=binding.seq,
            request_nonce=claims.nonce,
            cnf=Confirmation(jkt=device.jkt),
            keys=granted.keys,
            level=judging.LEVEL,
            bundle=granted.bundle,
        )
        acting.record(
            tx, known, EventKind.KEYS_RELEASED, facts, decision, claims=claims,
            license_row=terms.license, device_id=device.device_id,
            more={"release": release.jti, "files": granted.files, "seq": binding.seq},
        )  # fmt: skip
        return Released(release=tokens.sign(release, signers), event_id=known.event_id)


def _lease_facts(claims: RequestClaims, device: DeviceRow) -> LeaseFacts | None:
    """The lease in force as it was given out; superseded when the device names an older one."""
    kept = (device.answer or {}).get("lease")
    if device.lease_exp is None:
        return None
    entitlements: tuple[EntitlementFact, ...] = ()
    if kept is not None:
        entitlements = entitlement_facts(msgspec.convert(kept, LeaseClaims).ent)
    return LeaseFacts(
        expires_at=device.lease_exp,
        entitlements=entitlements,
        enforcement=device.enforcement,  # type: ignore[arg-type]
        superseded=claims.seq < (device.lease_seq or 0),
    )


def _wanted(claims: RequestClaims) -> dict[bytes, frozenset[int]] | None:
    """The files and sections asked for; None asks for all that is granted."""
    if not claims.want:
        return None
    try:
        return {unb64u(wish.file): frozenset(wish.sections) for wish in claims.want}
    except JsonInvalid:
        raise TokenClaims("want names a file that is no base64url") from None
