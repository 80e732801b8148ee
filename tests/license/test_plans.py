"""Plans are data: closed, with defaults, and wrong ones say what is wrong."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal.errors import ConfigInvalid
from modelseal.license import plans
from modelseal.license.plans import Plan, PlanEntitlement

SMALL = {"entitlements": [{"id": "face.swap"}]}
FULL = {
    "entitlements": [
        {"id": "face.swap", "min_level": 2, "exp": 1900000000},
        {"id": "face.restore"},
    ],
    "seats": 5,
    "floating": True,
    "starts": "first_activation",
    "period_seconds": 7 * 86400,
    "late_payment_seconds": 3 * 86400,
    "trial_once_per_device": True,
    "lease": {"max_seconds": 400 * 86400, "renew_after_seconds": 3600},
    "enforcement": "online",
    "binding": {
        "min_level": 1,
        "weights": {"tpm_ek": 5},
        "min_score": 0.75,
        "rebinds_per_90d": 1,
        "instant_returns_per_90d": 0,
        "allow_unbound": False,
    },
    "on_fork": "suspend",
    "on_expiry": "stop_now",
    "eula": {"digest": "d" * 43, "uri": "https://example.com/eula"},
    "meters": [{"name": "swaps", "limit": 1000, "per": "month"}],
    "memory": "locked",
    "channels": ["stable", "beta"],
    "allow": {"vm": False, "container": False},
    "anomalies": [{"rule": "fork", "limit": 3, "per_seconds": 86400, "action": "suspend"}],
}


def test_a_plan_of_one_entitlement_has_the_documented_defaults():
    plan = plans.parse(SMALL)
    assert plan == Plan(entitlements=[PlanEntitlement(id="face.swap")])
    assert (plan.seats, plan.floating, plan.starts, plan.enforcement) == (
        1,
        False,
        "issue",
        "software",
    )
    assert (plan.lease.max_seconds, plan.lease.renew_seconds) == (604800, 201600)
    assert (plan.period_seconds, plan.late_payment_seconds) == (None, 0)
    assert (plan.on_fork, plan.on_expiry, plan.memory) == ("hold", "stop_new", "none")
    assert (plan.binding.min_score, plan.binding.allow_unbound) == (0.6, True)
    assert (plan.binding.rebinds_per_90d, plan.binding.instant_returns_per_90d) == (3, 2)
    assert (plan.channels, plan.allow.vm, plan.allow.container) == (["stable"], True, True)
    assert json.loads(plans.encode(plan)) == SMALL | {"channels": ["stable"]}


def test_every_member_of_a_full_plan_is_kept():
    plan = plans.parse(FULL)
    assert json.loads(plans.encode(plan)) == FULL
    assert plans.parse(plans.encode(plan)) == plan
    assert plans.parse(json.dumps(FULL)) == plan
    assert plans.check(plan) is plan
    assert plan.lease.renew_seconds == 3600


def _changed(path: str, value: object) -> dict:
    changed = json.loads(json.dumps(FULL))
    at = changed
    *parents, last = path.split(".")
    for name in parents:
        at = at[int(name)] if name.isdigit() else at[name]
    at[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("entitlements", []),
        ("entitlements", "face.swap"),
        ("entitlements", [{"id": f"e{n}"} for n in range(257)]),
        ("entitlements", [{"id": "a"}, {"id": "a"}]),
        ("entitlements.0.id", "Face Swap"),
        ("entitlements.0.id", "a+b"),
        ("entitlements.0.id", ""),
        ("entitlements.0.min_level", 6),
        ("entitlements.0.min_level", "2"),
        ("entitlements.0.exp", -1),
        ("entitlements.0.exp", "2030"),
        ("entitlements.0.extra", 1),
        ("seats", 0),
        ("seats", 1_000_001),
        ("seats", True),
        ("seats", 1.5),
        ("floating", "yes"),
        ("starts", "never"),
        ("period_seconds", 0),
        ("period_seconds", None),
        ("late_payment_seconds", -1),
        ("lease.max_seconds", 0),
        ("lease.max_seconds", 400 * 86400 + 1),
        ("lease.renew_after_seconds", 400 * 86400),
        ("lease.renew_after_seconds", -1),
        ("enforcement", "hard"),
        ("binding.min_score", 0),
        ("binding.min_score", 1.01),
        ("binding.min_score", float("nan")),
        ("binding.weights", {"tpm_ek": 101}),
        ("binding.weights", {"TPM EK": 1}),
        ("binding.rebinds_per_90d", -1),
        ("binding.everything", True),
        ("on_fork", "ignore"),
        ("on_expiry", "stop"),
        ("eula", {"digest": "short", "uri": "x"}),
        ("eula", {"digest": "d" * 43}),
        ("meters.0.limit", 0),
        ("meters.0.per", "hour"),
        (
            "meters",
            [{"name": "a", "limit": 1, "per": "day"}, {"name": "a", "limit": 2, "per": "week"}],
        ),
        ("memory", "sealed"),
        ("channels", []),
        ("channels", ["stable", "stable"]),
        ("channels", ["a\n"]),
        ("allow.gpu", True),
        ("anomalies.0.rule", "gut feeling"),
        ("anomalies.0.action", "shoot"),
        ("nothing_we_know", 1),
    ],
)
def test_a_wrong_member_is_refused_with_our_error(path, value):
    with pytest.raises(ConfigInvalid) as found:
        plans.parse(_changed(path, value))
    assert found.value.detail.startswith("plan: ")


def test_late_payment_without_a_period_is_refused():
    with pytest.raises(ConfigInvalid):
        plans.parse(SMALL | {"late_payment_seconds": 1})


@pytest.mark.parametrize(
    "terms", [b"", b"{", b"[]", "null", b"\xff", "1" * 5000, b"{" * 60000, b"x" * 70000]
)
def test_no_plan_at_all_is_refused_with_our_error(terms):
    with pytest.raises(ConfigInvalid):
        plans.parse(terms)


def test_a_plan_built_in_code_is_checked_like_one_that_was_read():
    for plan in (
        Plan(entitlements=[]),
        Plan(entitlements=[PlanEntitlement(id="face.swap")], seats=0),
        Plan(entitlements=[PlanEntitlement(id="face.swap")], seats=object()),
        Plan(entitlements=[PlanEntitlement(id="\ud800")]),
    ):
        with pytest.raises(ConfigInvalid):
            plans.check(plan)


@given(life=st.integers(1, plans.MAX_LEASE_SECONDS))
def test_a_lease_is_always_renewed_before_it_ends(life):
    terms = msgspec.convert({"max_seconds": life}, plans.LeaseTerms)
    assert 0 <= terms.renew_seconds < life
