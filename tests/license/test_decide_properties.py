"""Laws of the law: narrowing never helps, facts can be stored and judged again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.license.world import PRODUCT

from modelseal.errors import InvalidBytes, Misuse
from modelseal.license import facts as facts_module
from modelseal.license.claims import Entitlement
from modelseal.license.decide import STEPS, decide
from modelseal.license.facts import (
    Action,
    Chain,
    DenialFacts,
    DeviceFacts,
    EntitlementFact,
    Facts,
    LeaseFacts,
    LicenseFacts,
    MatchFacts,
    MeterFacts,
    SeatFacts,
    SectionFacts,
    from_json,
)

BASE = datetime(2026, 3, 1, tzinfo=UTC)
TIMES = st.integers(-1000, 1000).map(lambda n: BASE + timedelta(seconds=n * 100))
NAMES = st.sampled_from(["a", "b", "c"])
MEMORY = st.sampled_from(["none", "locked", "secret"])
LEVEL = st.integers(0, 5)
ENTITLEMENTS = st.lists(
    st.builds(EntitlementFact, id=NAMES, min_level=LEVEL, expires_at=st.none() | TIMES),
    max_size=3,
    unique_by=lambda item: item.id,
).map(tuple)
PRODUCTS = st.sampled_from([PRODUCT, PRODUCT, PRODUCT, "other"])
OFTEN = st.sampled_from([True, True, True, False])
LICENSES = st.builds(
    LicenseFacts,
    id=st.just("lic_1"),
    product=PRODUCTS,
    entitlements=ENTITLEMENTS,
    state=st.sampled_from(["active", "active", "suspended", "revoked"]),
    starts_at=st.none() | TIMES,
    expires_at=st.none() | TIMES,
    late_payment_seconds=st.sampled_from([0, 3600]),
    enforcement=st.sampled_from(["software", "software", "online", "hardware"]),
    min_level=st.sampled_from([0, 0, 2]),
    memory=st.sampled_from(["none", "none", "locked"]),
    eula_digest=st.sampled_from([None, "e"]),
    allow_unbound=OFTEN,
    allow_vm=OFTEN,
    allow_container=OFTEN,
    floating=st.booleans(),
    trial_once_per_device=st.booleans(),
)
DEVICES = st.builds(
    DeviceFacts,
    state=st.sampled_from(["active", "active", "active", "new", "returned", "replaced", "forked"]),
    jkt=st.just("j"),
    proved_jkt=st.sampled_from(["j", "j", "j", "k", None]),
    unbound=st.booleans(),
    operator_identity=st.booleans(),
    drift=st.integers(0, 4),
    moved=st.lists(NAMES, max_size=2).map(tuple),
    match=st.none()
    | st.builds(
        MatchFacts,
        score=st.floats(0, 1),
        enrolled_weight=st.integers(0, 20),
        live=st.integers(0, 8),
        same_computer=st.booleans(),
    ),
    level=LEVEL,
    memory=MEMORY,
    enforcement=st.sampled_from([("online", "software"), ("online", "software", "hardware"), ()]),
    eula_digest=st.sampled_from([None, "e"]),
    vm=st.sampled_from([None, True, False]),
    container=st.sampled_from([None, True, False]),
)
SEATS = st.builds(
    SeatFacts,
    outcome=st.sampled_from(["held", "free", "none", "replace_pending", "rebinds_used_up"]),
    holders=st.lists(NAMES, max_size=2).map(tuple),
    free_at=st.none() | TIMES,
)
LEASES = st.builds(
    LeaseFacts, expires_at=TIMES, entitlements=ENTITLEMENTS, superseded=OFTEN.map(lambda b: not b)
)
SECTIONS = st.builds(
    SectionFacts,
    product=PRODUCTS,
    model=st.just("m"),
    alternatives=st.lists(st.lists(NAMES, min_size=1, max_size=2).map(tuple), max_size=2).map(
        tuple
    ),
    min_level=LEVEL,
    memory=MEMORY,
    release=st.integers(0, 3),
    min_release=st.integers(0, 2),
    together_missing=st.sampled_from([(), (), ("x",)]),
    key_present=OFTEN,
)
FACTS = st.builds(
    Facts,
    action=st.sampled_from(list(Action)),
    now=TIMES,
    product=st.just(PRODUCT),
    asked_product=PRODUCTS,
    license=st.one_of(LICENSES, LICENSES, LICENSES, st.none()),
    device=DEVICES,
    chain=st.sampled_from(list(Chain)),
    seat=SEATS,
    lease=st.one_of(LEASES, LEASES, st.none()),
    denial=st.one_of(st.none(), st.none(), st.builds(DenialFacts, code=st.just("forked"))),
    status=st.sampled_from([None, 0, 0, 1, 2, 3]),
    clock_floor=st.none() | TIMES,
    trial_used=st.booleans(),
    meters=st.lists(
        st.builds(MeterFacts, name=NAMES, used=st.integers(0, 3), limit=st.integers(1, 4)),
        max_size=2,
    ).map(tuple),
    section=st.none() | SECTIONS,
)


def judged(facts: Facts):
    try:
        return decide(facts)
    except Misuse:
        return None


def replaced(struct, **changes):
    return None if struct is None else msgspec.structs.replace(struct, **changes)


def _later_by(facts: Facts, seconds: int) -> Facts:
    return replaced(facts, now=facts.now + timedelta(seconds=seconds))


# Each makes the case of the asker worse in one respect, or leaves it as it is.
NARROWINGS = {
    "license suspended": lambda f: (
        replaced(f, license=replaced(f.license, state="suspended"))
        if f.license and f.license.state == "active"
        else f
    ),
    "license revoked": lambda f: replaced(f, license=replaced(f.license, state="revoked")),
    "license gone": lambda f: f if f.action is Action.TRIAL else replaced(f, license=None),
    "license ends earlier": lambda f: replaced(
        f,
        license=replaced(f.license, expires_at=BASE)
        if f.license and (f.license.expires_at is None or f.license.expires_at > BASE)
        else f.license,
    ),
    "no late payment": lambda f: replaced(f, license=replaced(f.license, late_payment_seconds=0)),
    "license begins later": lambda f: replaced(
        f, license=replaced(f.license, starts_at=f.now + timedelta(days=9)) if f.license else None
    ),
    "fewer entitlements": lambda f: (
        replaced(f, license=replaced(f.license, entitlements=f.license.entitlements[1:]))
        if f.license
        else f
    ),
    "fewer in the lease": lambda f: (
        replaced(f, lease=replaced(f.lease, entitlements=f.lease.entitlements[1:]))
        if f.lease
        else f
    ),
    "a higher level wanted": lambda f: replaced(f, license=replaced(f.license, min_level=5)),
    "more memory wanted": lambda f: replaced(f, license=replaced(f.license, memory="secret")),
    "enforcement hardware": lambda f: (
        replaced(f, license=replaced(f.license, enforcement="hardware"))
        if "hardware" not in f.device.enforcement
        or (f.license and f.license.enforcement == "hardware")
        else f
    ),
    "unbound not allowed": lambda f: replaced(f, license=replaced(f.license, allow_unbound=False)),
    "no virtual machines": lambda f: replaced(f, license=replaced(f.license, allow_vm=False)),
    "no containers": lambda f: replaced(f, license=replaced(f.license, allow_container=False)),
    "an agreement": lambda f: replaced(f, license=replaced(f.license, eula_digest="new")),
    "device revoked": lambda f: replaced(f, device=replaced(f.device, state="revoked")),
    "device returned": lambda f: (
        f
        if f.action in (Action.RETURN, Action.ACTIVATE, Action.TRIAL, Action.LOOKUP)
        or f.device.state == "new"
        else replaced(f, device=replaced(f.device, state="returned"))
    ),
    "key not proved": lambda f: replaced(f, device=replaced(f.device, proved_jkt=None)),
    "unbound": lambda f: replaced(f, device=replaced(f.device, unbound=True)),
    "no operator identity": lambda f: replaced(
        f, device=replaced(f.device, operator_identity=False)
    ),
    "more drift": lambda f: replaced(f, device=replaced(f.device, drift=f.device.drift + 1)),
    "lower level": lambda f: replaced(
        f, device=replaced(f.device, level=max(0, f.device.level - 1))
    ),
    "no memory protection": lambda f: replaced(f, device=replaced(f.device, memory="none")),
    "fewer enforcements": lambda f: replaced(
        f, device=replaced(f.device, enforcement=f.device.enforcement[1:])
    ),
    "agreement not accepted": lambda f: replaced(f, device=replaced(f.device, eula_digest=None)),
    "says nothing of vm": lambda f: replaced(f, device=replaced(f.device, vm=None)),
    "fork": lambda f: replaced(f, chain=Chain.FORK),
    "no seat": lambda f: replaced(f, seat=replaced(f.seat, outcome="none")),
    "lease gone": lambda f: (
        replaced(f, lease=None) if f.action in (Action.LOAD, Action.RELEASE) else f
    ),
    "lease superseded": lambda f: replaced(f, lease=replaced(f.lease, superseded=True)),
    "lease ends earlier": lambda f: (
        replaced(f, lease=replaced(f.lease, expires_at=f.lease.expires_at - timedelta(seconds=77)))
        if f.lease
        else f
    ),
    "denied": lambda f: replaced(f, denial=DenialFacts(code="forked")),
    "listed revoked": lambda f: replaced(f, status=1),
    "listed suspended": lambda f: replaced(f, status=2) if f.status in (None, 0) else f,
    "listed ended": lambda f: replaced(f, status=3) if f.status in (None, 0) else f,
    "floor higher": lambda f: (
        replaced(f, clock_floor=(f.clock_floor or f.now) + timedelta(days=1))
        if f.license is None or f.license.starts_at is None or f.license.starts_at <= f.now
        else f
    ),
    "trial used": lambda f: replaced(f, trial_used=True),
    "meter full": lambda f: replaced(f, meters=(*f.meters, MeterFacts(name="m", used=9, limit=9))),
    "more wanted": lambda f: (
        replaced(
            f,
            section=replaced(
                f.section, alternatives=tuple((*group, "c") for group in f.section.alternatives)
            ),
        )
        if f.section
        else f
    ),
    "section level": lambda f: replaced(f, section=replaced(f.section, min_level=5)),
    "section memory": lambda f: replaced(f, section=replaced(f.section, memory="secret")),
    "release withdrawn": lambda f: replaced(f, section=replaced(f.section, min_release=9)),
    "key absent": lambda f: replaced(f, section=replaced(f.section, key_present=False)),
    "model absent": lambda f: replaced(f, section=replaced(f.section, together_missing=("x",))),
    "another product": lambda f: replaced(f, asked_product="other"),
    "another model's product": lambda f: replaced(f, section=replaced(f.section, product="other")),
}


@settings(max_examples=150)
@given(facts=FACTS)
def test_narrowing_any_input_never_turns_a_refusal_into_a_grant(facts):
    before = judged(facts)
    if before is None or before.allowed:
        return
    for name, narrow in NARROWINGS.items():
        after = judged(narrow(facts))
        assert after is None or not after.allowed, name


@settings(max_examples=100)
@given(facts=FACTS, first=st.integers(0, 10**6), second=st.integers(0, 10**6))
def test_what_has_ended_stays_ended_as_time_goes_on(facts, first, second):
    ends = {"license_expired", "lease_expired"}
    before = judged(_later_by(facts, first))
    after = judged(_later_by(facts, first + second))
    if before is not None and before.code in ends and after is not None:
        assert not after.allowed


@settings(max_examples=100)
@given(facts=FACTS)
def test_stored_facts_give_the_same_decision_again(facts):
    again = from_json(facts.to_json())
    assert again == facts
    assert from_json(facts.to_builtins()) == facts
    assert from_json(facts.to_json().decode()) == facts
    assert again.to_json() == facts.to_json()
    assert judged(again) == judged(facts)


@given(facts=FACTS)
def test_a_decision_is_one_of_the_closed_list(facts):
    decision = judged(facts)
    if decision is None:
        return
    assert decision.allowed == (decision.code == "allowed") == (decision.step == 0)
    if not decision.allowed:
        step = STEPS[decision.step - 1]
        assert step.code in (decision.code, "(denial)")
        assert facts.action in step.actions
        assert msgspec.json.encode(decision.params)


@given(facts=FACTS, hours=st.integers(-14, 14))
def test_the_same_instant_in_another_zone_is_the_same_question(facts, hours):
    moved = replaced(facts, now=facts.now.astimezone(timezone(timedelta(hours=hours))))
    assert judged(moved) == judged(facts)
    assert moved.to_json() == facts.to_json()


def test_entitlements_of_a_token_become_facts():
    found = facts_module.entitlement_facts([Entitlement("a"), Entitlement("b", 2, 1772323200)])
    assert found == (EntitlementFact(id="a"), EntitlementFact(id="b", min_level=2, expires_at=BASE))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"action":"load"}',
        b'{"action":"eat","now":"2026-03-01T00:00:00Z","product":"p"}',
        b'{"action":"load","now":"2026-03-01T00:00:00","product":"p"}',
        b'{"action":"load","now":1,"product":"p"}',
        b'{"action":"load","now":"2026-03-01T00:00:00Z","product":"p","more":1}',
        b'{"action":"load","now":"2026-03-01T00:00:00Z","product":"p","status":4}',
        b'{"action":"load","now":"2026-03-01T00:00:00Z","product":"p",'
        b'"section":{"product":"p","model":"m","alternatives":[[]]}}',
        b'{"action":"load","now":"2026-03-01T00:00:00Z","product":"p","device":{"state":"?"}}',
        b"x" * (facts_module.MAX_BYTES + 1),
        b"[" * 100_000,
        {"action": "load"},
        {1: 2},
    ],
)
def test_what_are_no_facts_is_refused_with_our_error(data):
    with pytest.raises(InvalidBytes):
        from_json(data)
