"""Key release: data keys for one run, sealed to a key that never leaves that run's memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.crypto.hpke_p256 import P256PublicKey
from modelseal.errors import InternalError, TokenClaims
from modelseal.license import lease_keys, tokens
from modelseal.license.claims import (
    Attested,
    Confirmation,
    ReleaseClaims,
    RequestClaims,
)
from modelseal.license.decide import Decision, decide, narrowed
from modelseal.license.facts import (
    Action,
    Chain,
    Facts,
    LeaseFacts,
)
from modelseal.server.services import acting, duplicates, intake, judging, metering, recorder
from modelseal.server.services.adoption import adopt, knows
from modelseal.server.services.context import Context
from modelseal.server.services.denials import Refusal
from modelseal.server.services.granting import Granted, Grants, KeyMap
from modelseal.server.services.issuing import Terms, entitlements_then
from modelseal.server.services.proving import Proof, Proving, Within
from modelseal.server.store import devices as device_store
from modelseal.server.store.rows import DeviceRow
from modelseal.strict_json import JsonInvalid, b64u, unb64u
from modelseal.types import to_numeric


class Released(Struct, frozen=True, kw_only=True):
    """The answer to a key release."""

    release: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Proved:
    """Digests of the transcript and of the result under which attested keys are released."""

    transcript: bytes
    result: bytes
    kinds: list[str]

    def claim(self) -> Attested:
        """How the release tells it."""
        return Attested(
            transcript=b64u(self.transcript), result=b64u(self.result), kinds=self.kinds
        )


class Releasing:
    """Handing out keys under a lease in force. It names the lease and does not advance it."""

    def __init__(self, context: Context, grants: Grants, prover: Proving) -> None:
        self._context = context
        self._grants = grants
        self._prover = prover

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
        proof = self._prover.judge(claims, device, within_lease(terms, device, now), now)
        facts = Facts(
            action=Action.RELEASE,
            now=now,
            product=product,
            asked_product=claims.product,
            license=judging.license_facts(terms.license, terms.plan, product),
            device=judging.device_facts(claims, terms.plan, device, proof=proof),
            chain=Chain.NEXT,
            lease=lease_facts(tx, claims, device, terms),
            meters=metering.told(tx, terms, device.device_id, claims, now),
        )
        decision = decide(facts)
        if not decision.allowed:
            duplicates.refuse(tx, claims, device)
            return acting.refuse(
                self._context, tx, facts, claims=claims, license_row=terms.license,
                device=device, kind=EventKind.LEASE_DENIED,
            )  # fmt: skip
        return self._seal(tx, claims, device, terms, wanted, facts, decision, proof)

    def _seal(
        self,
        tx: Connection,
        claims: RequestClaims,
        device: DeviceRow,
        terms: Terms,
        wanted: dict[bytes, frozenset[int]] | None,
        facts: Facts,
        decision: Decision,
        proof: Proof,
    ) -> Released:
        context, now = self._context, facts.now
        if facts.lease is None:
            raise InternalError("a release without a lease")
        device_store.hold(tx, device)
        known = recorder.fresh(context, now)
        trust = context.trusted.within(tx)
        signers = context.signers("lease", now, trust)
        ends_at = facts.lease.expires_at
        grants = narrowed(terms.entitlements(), facts.lease.entitlements)
        keys = self._grants.collect(tx, trust, grants, proof.level, now, wanted, plan=terms.plan)
        granted, release = for_one_run(
            context, self._grants, tx, claims, device, keys, event_id=known.event_id, now=now,
            ends_at=ends_at, level=proof.level, hardware=proof.key, signatures=len(signers),
        )  # fmt: skip
        acting.record(
            tx, known, EventKind.KEYS_RELEASED, facts, decision, claims=claims,
            license_row=terms.license, device_id=device.device_id,
            more={"release": release.jti, "files": granted.files, "seq": release.seq,
                  "level": proof.level or None, "evidence": proof.found},
        )  # fmt: skip
        return Released(release=tokens.sign(release, signers), event_id=known.event_id)


def for_one_run(
    context: Context,
    grants: Grants,
    tx: Connection,
    claims: RequestClaims,
    device: DeviceRow,
    keys: KeyMap,
    *,
    event_id: str,
    now: datetime,
    ends_at: datetime,
    level: int,
    hardware: P256PublicKey | None,
    signatures: int,
    proved: Proved | None = None,
) -> tuple[Granted, ReleaseClaims]:
    """``keys`` sealed to the KEM key of the question and bound to it, and the claims they stand in.

    ``proved`` is for which transcript and by which verdict; None for a plain release.
    """
    binding = lease_keys.Binding(
        label="release" if proved is None else "attested-release",
        product=context.product,
        license=device.license_id,
        device=device.device_id,
        lease=device.lease_id or "",
        seq=device.lease_seq or 0,
        exp=to_numeric(ends_at),
        level=level,
        jkt=device.jkt,
        nonce=claims.nonce,
        transcript=None if proved is None else proved.transcript,
        result=None if proved is None else proved.result,
    )
    granted = grants.seal(
        tx, keys, intake.kem_key(claims), binding, ends_at=ends_at, signatures=signatures,
        hardware=hardware,
    )  # fmt: skip
    release = ReleaseClaims(
        iss=context.server_id,
        aud=context.product,
        sub=device.device_id,
        lic=device.license_id,
        product=context.product,
        jti=event_id,
        iat=to_numeric(now),
        exp=binding.exp,
        lease=binding.lease,
        seq=binding.seq,
        request_nonce=claims.nonce,
        cnf=Confirmation(jkt=device.jkt),
        keys=granted.keys,
        level=level,
        bundle=granted.bundle,
        attested=None if proved is None else proved.claim(),
    )
    return granted, release


def lease_facts(
    tx: Connection, claims: RequestClaims, device: DeviceRow, terms: Terms
) -> LeaseFacts | None:
    """The lease in force as it was given out; superseded when the device names an older one."""
    if device.lease_exp is None:
        return None
    return LeaseFacts(
        expires_at=device.lease_exp,
        entitlements=entitlements_then(tx, terms, device),
        enforcement=device.enforcement,  # type: ignore[arg-type]
        superseded=claims.seq < (device.lease_seq or 0),
    )


def within_lease(terms: Terms, device: DeviceRow, now: datetime) -> Within:
    """How long a key in hardware may live that is made for this run: as long as the lease."""
    left = 0 if device.lease_exp is None else int((device.lease_exp - now).total_seconds())
    return Within(left, terms.plan.lease.power_cuts)


def _wanted(claims: RequestClaims) -> dict[bytes, frozenset[int]] | None:
    """The files and sections asked for; None asks for all that is granted."""
    if not claims.want:
        return None
    try:
        return {unb64u(wish.file): frozenset(wish.sections) for wish in claims.want}
    except JsonInvalid:
        raise TokenClaims("want names a file that is no base64url") from None
