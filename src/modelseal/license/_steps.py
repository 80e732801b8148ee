"""The steps of ``decide``, in order. The number in a comment is the number in a decision.

A step gets the facts of an action that concerns it and answers None or a refusal. Append-only
rules: a code never changes its meaning; a new step gets the next place where its answer matters
most to the person who reads it, and the tables in ``docs/spec/tokens.md`` are made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelseal.errors import AssuranceNotReached, Refused, by_code
from modelseal.license import clock
from modelseal.license.facts import Action, Chain, EntitlementFact, Facts, LicenseFacts
from modelseal.types import EntitlementExpression

ALLOWED = "allowed"
MAX_DRIFT = 2
Params = dict[str, object]
Judge = Callable[[Facts], Params | None]

ACTIVATE, TRIAL, LOOKUP = Action.ACTIVATE, Action.TRIAL, Action.LOOKUP
RENEW, RELEASE, RETURN, LOAD = Action.RENEW, Action.RELEASE, Action.RETURN, Action.LOAD
_MEMORY = ("none", "locked", "secret")


@dataclass(frozen=True, slots=True)
class Step:
    """One question. ``code`` is the refusal's; ``(denial)`` stands for the denial's own."""

    number: int
    code: str
    question: str
    actions: tuple[Action, ...]
    judge: Judge


STEPS: list[Step] = []


def _step(code: str, question: str, *actions: Action) -> Callable[[Judge], Judge]:
    def add(judge: Judge) -> Judge:
        STEPS.append(Step(len(STEPS) + 1, code, question, actions, judge))
        return judge

    return add


# 1
@_step(
    "unknown_product",
    "Is the question about a product of this server?",
    *(ACTIVATE, TRIAL, LOOKUP, RENEW, RELEASE, RETURN),
)
def _product(facts: Facts) -> Params | None:
    asked = {facts.asked_product, facts.license.product if facts.license else facts.product}
    return None if asked == {facts.product} else {"product": facts.asked_product}


# 2
@_step("wrong_product", "Is the sealed model of the license's product?", RELEASE, LOAD)
def _model_product(facts: Facts) -> Params | None:
    products = {facts.product, facts.license.product if facts.license else facts.product}
    if facts.section is not None:
        products.add(facts.section.product)
    return None if len(products) == 1 else {"product": max(products - {facts.product})}


# 3
@_step("unknown_license_key", "Is there a license of this license key?", ACTIVATE, LOOKUP)
def _key(facts: Facts) -> Params | None:
    return {"product": facts.product} if facts.license is None else None


# 4: the denial's own code; one that is no refusal counts as ``refused``
@_step("(denial)", "Is there no denial with a higher number than the lease?", LOAD)
def _denied(facts: Facts) -> Params | None:
    if facts.denial is None:
        return None
    cls = by_code(facts.denial.code)
    refusal = cls is not None and issubclass(cls, (Refused, AssuranceNotReached))
    code = facts.denial.code if refusal else Refused.code
    return {"code": code, "reference": facts.denial.reference}


# 5
@_step("not_activated", "Is the device activated?", RENEW, RELEASE, RETURN, LOAD)
def _activated(facts: Facts) -> Params | None:
    return {} if facts.license is None or facts.device.state == "new" else None


# 6
@_step("wrong_device", "Is the enrolled device key proved?", RENEW, RELEASE, RETURN, LOAD)
def _device_key(facts: Facts) -> Params | None:
    device = facts.device
    return None if device.jkt and device.proved_jkt == device.jkt else {}


# 7: a server trusts its own clock
@_step("clock_set_back", "Is the clock not behind a time that is certain?", LOAD)
def _clock(facts: Facts) -> Params | None:
    if not clock.judge(facts.now, facts.clock_floor).set_back:
        return None
    return {"now": _text(facts.now), "floor": _text(facts.clock_floor)}


# 8
@_step("license_revoked", "Is the license not revoked?", ACTIVATE, LOOKUP, RENEW, RELEASE, LOAD)
def _revoked(facts: Facts) -> Params | None:
    reason = _license(facts).reason
    return {"why": reason} if _license(facts).state == "revoked" or facts.status == 1 else None


# 9
@_step(
    "device_revoked",
    "Is the device not revoked?",
    *(ACTIVATE, TRIAL, RENEW, RELEASE, RETURN, LOAD),
)
def _device_revoked(facts: Facts) -> Params | None:
    return {"why": facts.device.reason} if facts.device.state == "revoked" else None


# 10: giving back twice is giving back
@_step("device_returned", "Does the device still hold its seat?", RENEW, RELEASE, LOAD)
def _returned(facts: Facts) -> Params | None:
    return {} if facts.device.state in ("returned", "replaced") else None


# 11
@_step("license_suspended", "Is the license not suspended?", ACTIVATE, RENEW, RELEASE, LOAD)
def _suspended(facts: Facts) -> Params | None:
    reason = _license(facts).reason
    return {"why": reason} if _license(facts).state == "suspended" or facts.status == 2 else None


# 12: entering the license key again ends a fork, so activating does not ask
@_step("forked", "Is there one copy of the activation?", RENEW, RELEASE, RETURN, LOAD)
def _forked(facts: Facts) -> Params | None:
    forked = facts.chain is Chain.FORK or (
        facts.device.state == "forked" and facts.chain is not Chain.HEAL
    )
    return {"traits": list(facts.device.moved)} if forked else None


# 13: a device's clock may be behind by what step 7 lets pass
@_step(
    "license_not_yet_valid",
    "Has the license begun?",
    *(ACTIVATE, TRIAL, RENEW, RELEASE, LOAD),
)
def _begun(facts: Facts) -> Params | None:
    starts_at = _license(facts).starts_at
    slack = timedelta(seconds=clock.SET_BACK_SECONDS if facts.action is LOAD else 0)
    if starts_at is None or judged_at(facts) + slack >= starts_at:
        return None
    return {"starts_at": _text(starts_at)}


# 14: RFC 7519, section 4.1.4: at ``exp`` it has ended
@_step("license_expired", "Does the license still run?", ACTIVATE, TRIAL, RENEW, RELEASE, LOAD)
def _expired(facts: Facts) -> Params | None:
    expires_at = _license(facts).expires_at
    if expires_at is None:
        return None
    late = timedelta(seconds=_license(facts).late_payment_seconds)
    return None if judged_at(facts) - late < expires_at else {"expires_at": _text(expires_at)}


# 15: accepted drift starts at zero again with every contact
@_step("device_changed", "Is it still the computer that was enrolled?", RENEW, RELEASE, LOAD)
def _changed(facts: Facts) -> Params | None:
    if facts.device.drift <= MAX_DRIFT:
        return None
    return {"traits": list(facts.device.moved or facts.device.missing)}


# 16
@_step(
    "device_unbound",
    "Can the device be told from others, where the plan wants that?",
    *(ACTIVATE, TRIAL, RENEW),
)
def _bound(facts: Facts) -> Params | None:
    terms, device = _license(facts), facts.device
    excused = terms.allow_unbound or terms.floating or device.operator_identity
    return {"traits": list(device.missing)} if device.unbound and not excused else None


# 17: a device that does not say what it is may be anything
@_step(
    "platform_not_allowed",
    "Does the plan allow this kind of computer?",
    *(ACTIVATE, TRIAL, RENEW),
)
def _platform(facts: Facts) -> Params | None:
    terms, device = _license(facts), facts.device
    pairs = (
        ("vm", terms.allow_vm, device.vm),
        ("container", terms.allow_container, device.container),
    )
    excluded = [name for name, allowed, is_one in pairs if not allowed and is_one is not False]
    return {"platform": excluded} if excluded else None


# 18
@_step("eula_not_accepted", "Has the plan's agreement been accepted?", ACTIVATE, TRIAL)
def _eula(facts: Facts) -> Params | None:
    terms = _license(facts)
    if terms.eula_digest is None or facts.device.eula_digest == terms.eula_digest:
        return None
    return {"digest": terms.eula_digest, "uri": terms.eula_uri}


# 19
@_step("trial_used", "Is this the computer's first trial?", ACTIVATE, TRIAL)
def _trial(facts: Facts) -> Params | None:
    return {} if _license(facts).trial_once_per_device and facts.trial_used else None


# 20
@_step(
    "enforcement_not_reached",
    "Can the end of a lease be held here as the plan wants?",
    *(ACTIVATE, TRIAL, RENEW, RELEASE),
)
def _enforcement(facts: Facts) -> Params | None:
    needed, device = _license(facts).enforcement, facts.device
    return None if needed in device.enforcement else {"needed": needed, "verdict": device.level_why}


# 21
@_step("lease_superseded", "Is the lease the newest answer?", RELEASE, LOAD)
def _superseded(facts: Facts) -> Params | None:
    newer = facts.lease is not None and facts.lease.superseded
    return {} if newer or (facts.action is LOAD and facts.status == 3) else None


# 22
@_step("lease_expired", "Does the lease still run?", RELEASE, LOAD)
def _lease(facts: Facts) -> Params | None:
    if facts.lease is None:
        return {}
    if judged_at(facts) < facts.lease.expires_at:
        return None
    return {"expires_at": _text(facts.lease.expires_at)}


# 23
@_step("release_too_old", "Is the model's release not withdrawn?", RELEASE, LOAD)
def _release(facts: Facts) -> Params | None:
    section = facts.section
    if section is None or section.release >= section.min_release:
        return None
    return {"release": section.release, "min_release": section.min_release}


# 24: the license grants, the lease can only narrow
@_step("not_entitled", "Is what the section demands granted?", RELEASE, LOAD)
def _entitled(facts: Facts) -> Params | None:
    wanted = _expression(facts)
    names = granted(_both(facts), judged_at(facts))
    if wanted is None or wanted.satisfied_by(names):
        return None
    lacking = min((sorted(group - names) for group in wanted.alternatives), key=_fewest)
    return {"entitlement": "+".join(lacking), "granted": sorted(names)}


# 25: of the device where the plan demands one, of the section and of what grants it
@_step(
    "level_not_reached",
    "Has the server verified the level that is demanded?",
    *(ACTIVATE, TRIAL, RENEW, RELEASE, LOAD),
)
def _level(facts: Facts) -> Params | None:
    needed, device = _license(facts).min_level, facts.device
    wanted = _expression(facts)
    if facts.section is not None:
        needed = max(needed, facts.section.min_level)
    if wanted is not None:
        needed = max(needed, _lowest_level(wanted, _both(facts), judged_at(facts)))
    if device.level >= needed:
        return None
    texts = None if wanted is None else " or ".join(wanted.texts())
    told: Params = {"level": f"L{device.level}", "needed": f"L{needed}", "entitlement": texts}
    return {**told, "verdict": device.level_why}


# 26
@_step(
    "memory_not_reached",
    "Is the memory protected as demanded?",
    *(ACTIVATE, TRIAL, RENEW, RELEASE, LOAD),
)
def _protection(facts: Facts) -> Params | None:
    demands = [_license(facts).memory, facts.section.memory if facts.section else "none"]
    needed = max(demands, key=_MEMORY.index)
    if _MEMORY.index(facts.device.memory) >= _MEMORY.index(needed):
        return None
    return {"reached": facts.device.memory, "needed": needed}


# 27
@_step("meter_exceeded", "Is no meter used up?", ACTIVATE, RENEW, RELEASE)
def _meters(facts: Facts) -> Params | None:
    full = next((meter for meter in facts.meters if meter.used >= meter.limit), None)
    if full is None:
        return None
    return {"meter": full.name, "limit": full.limit, "resets_at": _text(full.resets_at)}


# 28
@_step("rebinds_used_up", "May the seat be moved now?", ACTIVATE, TRIAL, RENEW)
def _rebinds(facts: Facts) -> Params | None:
    return _seat(facts, "rebinds_used_up")


# 29
@_step("replace_pending", "Is no other move of the seat under way?", ACTIVATE, TRIAL, RENEW)
def _pending(facts: Facts) -> Params | None:
    return _seat(facts, "replace_pending")


# 30
@_step("no_free_seat", "Is a seat held or free?", ACTIVATE, TRIAL, RENEW)
def _free_seat(facts: Facts) -> Params | None:
    return _seat(facts, "none")


# 31
@_step("together_missing", "Are the models present that must be beside it?", LOAD)
def _together(facts: Facts) -> Params | None:
    missing = facts.section.together_missing if facts.section is not None else ()
    return {"model": list(missing)} if missing else None


# 32
@_step("key_not_in_lease", "Does the lease carry the key?", LOAD)
def _key_present(facts: Facts) -> Params | None:
    return None if facts.section is None or facts.section.key_present else {}


def judged_at(facts: Facts) -> datetime:
    """The instant the rules are judged at: ``now``, but never before what is certain."""
    return clock.judge(facts.now, facts.clock_floor).at


def granted(
    entitlements: Iterable[EntitlementFact], at: datetime, level: int = 5
) -> frozenset[str]:
    """The ids of ``entitlements`` that run at ``at`` and are open at the verified ``level``."""
    return frozenset(item.id for item in at_level(entitlements, at, level))


def at_level(
    entitlements: Iterable[EntitlementFact], at: datetime, level: int = 5
) -> tuple[EntitlementFact, ...]:
    """Those of ``entitlements`` that run at ``at`` and are open at the verified ``level``."""
    return tuple(
        item
        for item in entitlements
        if item.min_level <= level and (item.expires_at is None or at < item.expires_at)
    )


def narrowed(
    wide: Iterable[EntitlementFact], narrow: Iterable[EntitlementFact]
) -> tuple[EntitlementFact, ...]:
    """What both grant: the later level, the earlier end."""
    second = {item.id: item for item in narrow}
    both = []
    for item in wide:
        other = second.get(item.id)
        if other is not None:
            ends = [end for end in (item.expires_at, other.expires_at) if end is not None]
            level = max(item.min_level, other.min_level)
            both.append(
                EntitlementFact(id=item.id, min_level=level, expires_at=min(ends, default=None))
            )
    return tuple(both)


def _license(facts: Facts) -> LicenseFacts:
    """Steps after 5 have a license."""
    return facts.license or _NO_LICENSE


_NO_LICENSE = LicenseFacts(id="", product="", entitlements=())


def _both(facts: Facts) -> tuple[EntitlementFact, ...]:
    lease = facts.lease
    mine = _license(facts).entitlements
    return mine if lease is None else narrowed(mine, lease.entitlements)


def _expression(facts: Facts) -> EntitlementExpression | None:
    if facts.section is None or not facts.section.alternatives:
        return None
    return EntitlementExpression(tuple(frozenset(group) for group in facts.section.alternatives))


def _lowest_level(
    wanted: EntitlementExpression, entitlements: Iterable[EntitlementFact], at: datetime
) -> int:
    """The lowest level at which a granted alternative opens; 5 when none is granted."""
    levels = {item.id: item.min_level for item in at_level(entitlements, at)}
    return min(max(levels.get(name, 5) for name in group) for group in wanted.alternatives)


def _fewest(names: list[str]) -> tuple[int, list[str]]:
    return len(names), names


def _seat(facts: Facts, outcome: str) -> Params | None:
    seat = facts.seat
    if seat is None or seat.outcome != outcome:
        return None
    return {
        "seats": seat.seats,
        "holders": list(seat.holders),
        "free_at": _text(seat.free_at) if seat.free_at else None,
        "limit": seat.limit or None,
    }


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds").replace("+00:00", "Z")
