"""The facts of a decision, from rows and request. ``license.decide`` judges them, here as there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from modelseal.device import OPERATOR, is_operator, operator_moved, tolerance
from modelseal.device.tolerance import Match
from modelseal.license.claims import RequestClaims, TraitDigest
from modelseal.license.facts import (
    DeviceFacts,
    EntitlementFact,
    LicenseFacts,
    MatchFacts,
)
from modelseal.license.plans import Binding, Plan
from modelseal.server.services.proving import NOTHING, Proof
from modelseal.server.store import packing
from modelseal.server.store.rows import DeviceRow, LicenseRow
from modelseal.types import from_numeric


def match(
    enrolled: Sequence[TraitDigest], presented: Sequence[TraitDigest], binding: Binding
) -> Match:
    """How far the presented traits match the enrolled ones under the plan."""
    return tolerance.match(enrolled, presented, binding)


def traits(stored: bytes) -> tuple[TraitDigest, ...]:
    """Stored trait digests."""
    return packing.unpack_traits(stored)


def stored(digests: Sequence[TraitDigest]) -> bytes:
    """Trait digests as they are stored."""
    return packing.pack_traits(digests)


def enrolled(
    row: DeviceRow, claims: RequestClaims, packed: bytes | None = None
) -> Sequence[TraitDigest]:
    """The device's enrolled traits; the very list of the request where that says the same.

    ``packed`` is what ``stored`` gives for the request's, where that was asked already.
    """
    packed = stored(claims.traits) if packed is None else packed
    return claims.traits if row.traits == packed else traits(row.traits)


def entitlements(plan: Plan) -> tuple[EntitlementFact, ...]:
    """What the plan grants."""
    return tuple(
        EntitlementFact(
            id=item.id,
            min_level=item.min_level,
            expires_at=None if item.exp is None else from_numeric(item.exp),
        )
        for item in plan.entitlements
    )


def license_facts(row: LicenseRow, plan: Plan, product: str) -> LicenseFacts:
    """The license as the server's store knows it."""
    return LicenseFacts(
        id=row.license_id,
        product=product,
        entitlements=entitlements(plan),
        state=row.state,  # type: ignore[arg-type]
        reason=row.reason or "",
        starts_at=row.starts_at,
        expires_at=row.ends_at,
        late_payment_seconds=plan.late_payment_seconds,
        **_terms(plan),
    )


def trial_facts(plan: Plan, product: str, now: datetime, ends_at: datetime | None) -> LicenseFacts:
    """The terms under which a trial would be given."""
    return LicenseFacts(
        id="trial",
        product=product,
        entitlements=entitlements(plan),
        starts_at=now,
        expires_at=ends_at,
        **_terms(plan),
    )


def _terms(plan: Plan) -> dict[str, Any]:
    return {
        "enforcement": plan.enforcement,
        "min_level": plan.binding.min_level,
        "memory": plan.memory,
        "eula_digest": plan.eula.digest if plan.eula else None,
        "eula_uri": plan.eula.uri if plan.eula else None,
        "allow_unbound": plan.binding.allow_unbound,
        "allow_vm": plan.allow.vm,
        "allow_container": plan.allow.container,
        "floating": plan.floating,
        "trial_once_per_device": plan.trial_once_per_device,
    }


def device_facts(
    claims: RequestClaims,
    plan: Plan,
    row: DeviceRow | None,
    proof: Proof = NOTHING,
    *,
    known: Sequence[TraitDigest] | None = None,
) -> DeviceFacts:
    """The device as it asks, beside what the store knows of it; ``known`` is what ``enrolled``
    gives, where that was asked already.

    ``hardware`` enforcement and any level count only as ``proof`` shows them. Drift is
    what happened *without* contact, and this is contact: with the enrolled key proved, a changed
    computer is accepted and the change recorded (``moved``).
    """
    if known is None:
        known = claims.traits if row is None else enrolled(row, claims)
    found = match(known, claims.traits, plan.binding)
    state = "new" if row is None else ("forked" if row.held else row.state)
    offered = claims.enforcement or ["online", "software"]
    moved = [str(kind) for kind in found.moved]
    named = is_operator(claims.traits)
    if named and operator_moved(known, claims.traits):
        moved.append(OPERATOR)
    return DeviceFacts(
        state=state,  # type: ignore[arg-type]
        reason=(row.reason or "") if row is not None else "",
        jkt=claims.iss if row is None else row.jkt,
        proved_jkt=claims.iss,
        unbound=found.unbound,
        operator_identity=named,
        moved=tuple(moved),
        missing=tuple([f"{item.kind}: {item.why}" for item in claims.missing]),
        match=MatchFacts(
            score=round(found.score, 4),
            enrolled_weight=found.enrolled_weight,
            live=found.live,
            same_computer=found.same_computer,
        ),
        level=proof.level,
        level_why=proof.why,
        memory=claims.memory,
        enforcement=tuple(
            [kind for kind in offered if kind != "hardware" or proof.key is not None]
        ),
        eula_digest=claims.eula,
        vm=claims.vm,
        container=claims.container,
    )
