"""The one law: every step refuses with its code, in order, and at the exact second."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.license.good import DAY, SECOND, SERVER, USES, code, facts
from tests.license.world import NOW

from modelseal.errors import AssuranceNotReached, Misuse, Refused, by_code
from modelseal.license.decide import STEPS, decide, explain, granted, narrowed
from modelseal.license.facts import (
    Action,
    Chain,
    DenialFacts,
    EntitlementFact,
    LeaseFacts,
    MeterFacts,
    SeatFacts,
)


@pytest.mark.parametrize("action", Action)
def test_the_facts_of_a_good_customer_are_allowed(action):
    decision = decide(facts(action))
    assert (decision.allowed, decision.code, decision.step, decision.params) == (
        True,
        "allowed",
        0,
        {},
    )
    with pytest.raises(Misuse):
        decision.error()


# code -> the changes that bring it about (one case per way), and the actions that ask
CASES: dict[str, tuple[list[dict], tuple[Action, ...]]] = {
    "unknown_product": ([{"asked_product": "other"}, {"license__product": "other"}], SERVER),
    "wrong_product": ([{"section__product": "other"}], USES),
    "unknown_license_key": ([{"license": None}], (Action.ACTIVATE, Action.LOOKUP)),
    "not_activated": (
        [{"license": None}, {"device__state": "new"}],
        (Action.RENEW, Action.RELEASE, Action.RETURN, Action.LOAD),
    ),
    "wrong_device": (
        [{"device__proved_jkt": None}, {"device__proved_jkt": "k" * 43}, {"device__jkt": ""}],
        (Action.RENEW, Action.RELEASE, Action.RETURN, Action.LOAD),
    ),
    "clock_set_back": ([{"clock_floor": NOW + 301 * SECOND}], (Action.LOAD,)),
    "license_revoked": (
        [{"license__state": "revoked"}, {"status": 1}],
        (Action.ACTIVATE, Action.LOOKUP, Action.RENEW, Action.RELEASE, Action.LOAD),
    ),
    "device_revoked": (
        [{"device__state": "revoked"}],
        tuple(action for action in Action if action is not Action.LOOKUP),
    ),
    "device_returned": (
        [{"device__state": "returned"}, {"device__state": "replaced"}],
        (Action.RENEW, Action.RELEASE, Action.LOAD),
    ),
    "license_suspended": (
        [{"license__state": "suspended"}, {"status": 2}],
        (Action.ACTIVATE, Action.RENEW, Action.RELEASE, Action.LOAD),
    ),
    "forked": (
        [{"chain": Chain.FORK}, {"device__state": "forked"}],
        (Action.RENEW, Action.RELEASE, Action.RETURN, Action.LOAD),
    ),
    "license_not_yet_valid": (
        [{"license__starts_at": NOW + 301 * SECOND}],
        (Action.ACTIVATE, Action.TRIAL, Action.RENEW, Action.RELEASE, Action.LOAD),
    ),
    "license_expired": (
        [{"license__expires_at": NOW}],
        (Action.ACTIVATE, Action.TRIAL, Action.RENEW, Action.RELEASE, Action.LOAD),
    ),
    "device_changed": ([{"device__drift": 3}], (Action.RENEW, Action.RELEASE, Action.LOAD)),
    "device_unbound": (
        [{"device__unbound": True, "license__allow_unbound": False}],
        (Action.ACTIVATE, Action.TRIAL, Action.RENEW),
    ),
    "platform_not_allowed": (
        [
            {"license__allow_vm": False},
            {"license__allow_vm": False, "device__vm": True},
            {"license__allow_container": False, "device__container": True},
        ],
        (Action.ACTIVATE, Action.TRIAL, Action.RENEW),
    ),
    "eula_not_accepted": (
        [{"device__eula_digest": None}, {"device__eula_digest": "f" * 43}],
        (Action.ACTIVATE, Action.TRIAL),
    ),
    "trial_used": ([{"trial_used": True}], (Action.ACTIVATE, Action.TRIAL)),
    "enforcement_not_reached": (
        [{"license__enforcement": "hardware"}],
        (Action.ACTIVATE, Action.TRIAL, Action.RENEW),
    ),
    "lease_superseded": ([{"lease__superseded": True}], USES),
    "lease_expired": ([{"lease": None}, {"lease__expires_at": NOW}], USES),
    "release_too_old": ([{"section__min_release": 4}], USES),
    "not_entitled": (
        [
            {"section__alternatives": (("face.age",),)},
            {"section__alternatives": (("face.swap", "face.age"),)},
            {"lease__entitlements": ()},
            {"license__entitlements": ()},
            {"lease__entitlements": (EntitlementFact(id="face.swap", expires_at=NOW),)},
        ],
        USES,
    ),
    "level_not_reached": (
        [
            {"license__min_level": 3},
            {"section__min_level": 3},
            {"section__alternatives": (("face.restore",),), "device__level": 1},
        ],
        USES,
    ),
    "memory_not_reached": ([{"license__memory": "secret"}, {"section__memory": "secret"}], USES),
    "meter_exceeded": (
        [{"meters": (MeterFacts(name="swaps", used=5, limit=5),)}],
        (Action.RENEW, Action.RELEASE),
    ),
    "rebinds_used_up": (
        [{"seat": SeatFacts(outcome="rebinds_used_up", limit=3)}],
        (Action.ACTIVATE, Action.TRIAL, Action.RENEW),
    ),
    "replace_pending": (
        [{"seat": SeatFacts(outcome="replace_pending", free_at=NOW)}],
        (Action.ACTIVATE, Action.TRIAL, Action.RENEW),
    ),
    "no_free_seat": (
        [{"seat": SeatFacts(outcome="none", holders=("dev_1",))}],
        (Action.ACTIVATE, Action.TRIAL, Action.RENEW),
    ),
    "together_missing": ([{"section__together_missing": ("nsfw",)}], (Action.LOAD,)),
    "key_not_in_lease": ([{"section__key_present": False}], (Action.LOAD,)),
}
PAIRS = [
    pytest.param(action, name, change, id=f"{name} {action} {number}")
    for name, (changes, actions) in CASES.items()
    for number, change in enumerate(changes)
    for action in actions
]


@pytest.mark.parametrize(("action", "name", "change"), PAIRS)
def test_a_reason_to_refuse_is_refused_with_its_code_in_every_action_that_asks(
    action, name, change
):
    decision = decide(facts(action, **change))
    assert decision.code == name
    assert STEPS[decision.step - 1].code == name
    refusal = decision.error("ABCD1234")
    assert type(refusal) is by_code(name)
    assert refusal.reference == "ABCD1234"


def test_every_step_is_in_the_table_and_numbered_in_order():
    assert [step.number for step in STEPS] == list(range(1, len(STEPS) + 1))
    codes = [step.code for step in STEPS]
    assert len(set(codes)) == len(codes)
    assert set(codes) == set(CASES) | {"(denial)"}
    for step in STEPS:
        if step.code != "(denial)":
            asked = set(step.actions)
            assert set(CASES[step.code][1]) <= asked
            assert by_code(step.code) is not None


@pytest.mark.parametrize("action", Action)
def test_with_every_reason_at_once_the_earliest_step_decides(action):
    """Reasons are taken away in the order of the steps; each time the next one decides."""
    reasons = [
        {"license__product": "other"}, {"section__product": "other"}, {"license__state": "revoked"},
        {"device__proved_jkt": "x"}, {"clock_floor": NOW + DAY}, {"device__state": "revoked"},
        {"chain": Chain.FORK}, {"license__starts_at": NOW + 2 * DAY}, {"device__drift": 9},
        {"lease__superseded": True}, {"section__min_release": 9}, {"license__memory": "secret"},
        {"meters": (MeterFacts(name="m", used=1, limit=1),)}, {"section__key_present": False},
        {"trial_used": True}, {"seat": SeatFacts(outcome="none")},
    ]  # fmt: skip
    present = [r for r in reasons if not (_part(r) in ("lease", "section") and action not in USES)]
    last = 0
    while present:
        merged = {}
        for reason in present:
            merged |= reason
        decision = decide(facts(action, **merged))
        if decision.allowed:
            break
        assert decision.step >= last
        last = decision.step
        present = [r for r in present if _alone(action, r) != last]
    assert last


def _part(reason: dict) -> str:
    return next(iter(reason)).partition("__")[0]


def _alone(action: Action, reason: dict) -> int:
    return decide(facts(action, **reason)).step


@pytest.mark.parametrize(
    "end",
    [
        datetime(2026, 3, 8, 12, tzinfo=UTC),
        datetime(2028, 2, 29, 0, 0, 0, tzinfo=UTC),
        datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC),
        datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC),
        datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
        datetime(2100, 2, 28, 23, 59, 59, tzinfo=UTC),
    ],
    ids=str,
)
@pytest.mark.parametrize("what", ["license", "lease", "entitlement"])
def test_at_exp_it_has_ended_and_a_second_before_it_has_not(end, what):
    ending = EntitlementFact(id="face.swap", expires_at=end)
    changes = {
        "license": {"license__expires_at": end, "lease__expires_at": end + DAY},
        "lease": {"license__expires_at": end + DAY, "lease__expires_at": end},
        "entitlement": {
            "license__expires_at": None,
            "lease__expires_at": end + DAY,
            "license__entitlements": (ending,),
        },
    }[what]
    wanted = {"license": "license_expired", "lease": "lease_expired", "entitlement": "not_entitled"}
    for action in USES:
        for offset, ended in ((-1, False), (0, True), (1, True)):
            found = code(action, now=end + offset * SECOND, **changes)
            assert found == (wanted[what] if ended else "allowed")
    almost = end - timedelta(microseconds=1)
    assert code(Action.LOAD, now=almost, **changes) == "allowed"


def test_late_payment_moves_the_end_to_the_second():
    end = NOW + 30 * DAY
    late = {"license__late_payment_seconds": 3 * 86400}
    assert code(Action.RENEW, now=end, **late) == "allowed"
    assert code(Action.RENEW, now=end + 3 * DAY - SECOND, **late) == "allowed"
    assert code(Action.RENEW, now=end + 3 * DAY, **late) == "license_expired"


def test_a_license_without_end_runs_and_one_without_start_has_begun():
    far = NOW + 36500 * DAY
    assert code(Action.RENEW, now=far, license__expires_at=None) == "allowed"
    assert code(Action.RENEW, license__starts_at=None) == "allowed"


def test_the_server_judges_the_start_exactly_and_a_device_forgives_five_minutes():
    begin = {"license__starts_at": NOW}
    assert code(Action.RENEW, now=NOW - SECOND, **begin) == "license_not_yet_valid"
    assert code(Action.RENEW, now=NOW, **begin) == "allowed"
    assert code(Action.LOAD, now=NOW - 300 * SECOND, **begin) == "allowed"
    assert code(Action.LOAD, now=NOW - 301 * SECOND, **begin) == "license_not_yet_valid"


def test_a_clock_behind_by_five_minutes_loads_but_keeps_no_ended_lease_alive():
    floor = NOW + 7 * DAY
    assert code(Action.LOAD, now=floor - 200 * SECOND, clock_floor=floor) == "lease_expired"
    assert code(Action.LOAD, now=NOW - 300 * SECOND, clock_floor=NOW) == "allowed"
    assert code(Action.LOAD, now=NOW - 301 * SECOND, clock_floor=NOW) == "clock_set_back"


def test_a_server_never_refuses_for_a_floor():
    for action in SERVER:
        assert code(action, clock_floor=NOW + SECOND * 600) == "allowed"


@pytest.mark.parametrize(
    ("denied", "expected"),
    [
        ("license_revoked", "license_revoked"),
        ("forked", "forked"),
        ("meter_exceeded", "meter_exceeded"),
        ("level_not_reached", "level_not_reached"),
        ("refused", "refused"),
        ("a_code_of_a_later_release", "refused"),
        ("server_unreachable", "refused"),
        ("token_signature", "refused"),
        ("error", "refused"),
        ("", "refused"),
    ],
)
def test_a_denial_refuses_with_its_own_code_and_reference(denied, expected):
    decision = decide(facts(Action.LOAD, denial=DenialFacts(code=denied, reference="REF12345")))
    assert (decision.code, decision.step) == (expected, 4)
    error = decision.error()
    assert error.reference == "REF12345"
    assert isinstance(error, (Refused, AssuranceNotReached))


def test_a_denial_tells_why_even_when_the_license_is_gone():
    gone = facts(Action.LOAD, license=None, lease=None, denial=DenialFacts(code="license_revoked"))
    assert decide(gone).code == "license_revoked"


def test_the_listed_end_of_a_lease_counts_on_the_device_only():
    assert code(Action.LOAD, status=3) == "lease_superseded"
    assert code(Action.RELEASE, status=3) == "allowed"
    assert code(Action.LOAD, status=0) == "allowed"


def test_entering_the_key_again_ends_a_fork_and_healing_passes():
    assert code(Action.ACTIVATE, device__state="forked", chain=Chain.FORK) == "allowed"
    assert code(Action.RENEW, device__state="forked", chain=Chain.HEAL) == "allowed"


def test_giving_back_a_seat_is_allowed_twice_and_for_ended_licenses():
    for change in (
        {"device__state": "returned"},
        {"device__state": "replaced"},
        {"license__state": "revoked"},
        {"license__state": "suspended"},
        {"license__expires_at": NOW - DAY},
    ):
        assert code(Action.RETURN, **change) == "allowed"


def test_floating_plans_and_operator_given_identity_may_be_unbound():
    unbound = {"device__unbound": True, "license__allow_unbound": False}
    assert code(Action.ACTIVATE, **unbound, license__floating=True) == "allowed"
    assert code(Action.ACTIVATE, **unbound, device__operator_identity=True) == "allowed"
    assert code(Action.ACTIVATE, device__unbound=True) == "allowed"


def test_a_platform_that_is_excluded_must_be_denied_in_so_many_words():
    excluded = {"license__allow_vm": False, "license__allow_container": False}
    honest = {"device__vm": False, "device__container": False}
    assert code(Action.ACTIVATE, **excluded, **honest) == "allowed"
    decision = decide(facts(Action.ACTIVATE, **excluded, **(honest | {"device__vm": None})))
    assert decision.params == {"platform": ["vm"]}


def test_two_drifts_are_accepted_and_the_third_is_not():
    assert code(Action.LOAD, device__drift=2) == "allowed"
    third = decide(facts(Action.LOAD, device__drift=3, device__missing=("mac",)))
    assert (third.code, third.params) == ("device_changed", {"traits": ["mac"]})


def test_a_meter_is_used_up_at_its_limit():
    meters = (MeterFacts(name="a", used=0, limit=1), MeterFacts(name="b", used=3, limit=4))
    assert code(Action.RENEW, meters=meters) == "allowed"
    full = (*meters, MeterFacts(name="c", used=4, limit=4))
    assert decide(facts(Action.RENEW, meters=full)).params == {"meter": "c", "limit": 4}


def test_either_alternative_is_enough_and_the_cheapest_lack_is_named():
    either = {"section__alternatives": (("face.age", "face.enhance"), ("face.swap", "face.age"))}
    decision = decide(facts(Action.LOAD, **either))
    assert decision.params == {
        "entitlement": "face.age",
        "granted": ["face.restore", "face.swap"],
    }
    both = {"section__alternatives": (("face.age",), ("face.restore", "face.swap"))}
    assert code(Action.LOAD, **both) == "allowed"


def test_a_level_names_what_is_reached_and_the_lowest_that_opens():
    needs = {"section__alternatives": (("face.restore",),), "device__level": 1}
    assert decide(facts(Action.LOAD, **needs)).params == {
        "level": "L1",
        "needed": "L2",
        "entitlement": "face.restore",
    }
    both = {"section__alternatives": (("face.restore", "face.swap"),), "device__level": 1}
    assert decide(facts(Action.LOAD, **both)).params["needed"] == "L2"
    either = {"section__alternatives": (("face.restore",), ("face.swap",)), "device__level": 0}
    assert code(Action.LOAD, **either) == "allowed"


def test_what_a_proof_lacked_is_named_beside_what_is_missing():
    lacking = {"license__enforcement": "hardware", "device__level_why": "ek_root_unknown"}
    for action in (Action.ACTIVATE, Action.TRIAL, Action.RENEW, Action.RELEASE):
        decision = decide(facts(action, **lacking))
        assert decision.code == "enforcement_not_reached"
        assert decision.params == {"needed": "hardware", "verdict": "ek_root_unknown"}
        assert decision.error().exit_code == 6
    low = {"license__min_level": 2, "device__level": 0, "device__level_why": "credential_wrong"}
    decision = decide(facts(Action.RENEW, **low))
    assert (decision.code, decision.params["verdict"]) == ("level_not_reached", "credential_wrong")
    assert decide(facts(Action.RELEASE, device__enforcement=("hardware", "software"))).allowed


def test_what_is_demanded_and_no_more_is_enough():
    for memory in ("none", "locked", "secret"):
        same = {"device__memory": memory, "section__memory": memory, "license__memory": memory}
        assert code(Action.LOAD, **same) == "allowed"
    for level in range(6):
        same = {"device__level": level, "section__min_level": level, "license__min_level": level}
        assert code(Action.LOAD, **same) == "allowed"


def test_what_needs_nothing_opens_for_every_licensee():
    assert code(Action.LOAD, section__alternatives=(), license__entitlements=()) == "allowed"
    assert code(Action.LOAD, section=None) == "allowed"


def test_a_lease_can_only_narrow_the_license():
    wide = (
        EntitlementFact(id="a"),
        EntitlementFact(id="b", min_level=1, expires_at=NOW + DAY),
        EntitlementFact(id="c"),
    )
    narrow = (
        EntitlementFact(id="b", min_level=3, expires_at=NOW + 2 * DAY),
        EntitlementFact(id="a", expires_at=NOW),
        EntitlementFact(id="z"),
    )
    assert narrowed(wide, narrow) == (
        EntitlementFact(id="a", expires_at=NOW),
        EntitlementFact(id="b", min_level=3, expires_at=NOW + DAY),
    )
    assert set(narrowed(narrow, wide)) == set(narrowed(wide, narrow))
    assert granted(narrowed(wide, narrow), NOW) == {"b"}
    assert granted(narrowed(wide, narrow), NOW, 2) == set()
    assert granted(narrowed(wide, narrow), NOW, 3) == {"b"}


def test_params_name_what_a_person_needs_and_nothing_empty():
    seat = SeatFacts(outcome="none", seats=2, holders=("dev_1", "dev_2"))
    assert decide(facts(Action.ACTIVATE, seat=seat)).params == {
        "seats": 2,
        "holders": ["dev_1", "dev_2"],
    }
    expired = decide(facts(Action.LOAD, now=NOW + 40 * DAY))
    assert expired.params == {"expires_at": "2026-03-31T12:00:00Z"}
    why = decide(facts(Action.LOAD, license__state="revoked", license__reason="chargeback"))
    assert why.params == {"why": "chargeback"}
    assert "chargeback" in why.error().reason


@pytest.mark.parametrize(
    ("action", "change"),
    [
        (Action.RENEW, {"asked_product": None}),
        (Action.LOOKUP, {"asked_product": None}),
        (Action.ACTIVATE, {"seat": None}),
        (Action.RENEW, {"seat": None}),
        (Action.TRIAL, {"seat": None}),
        (Action.TRIAL, {"license": None}),
    ],
)
def test_an_absent_answer_never_counts_as_a_good_one(action, change):
    with pytest.raises(Misuse):
        decide(facts(action, **change))
    with pytest.raises(Misuse):
        explain(facts(action, **change))


@pytest.mark.parametrize("name", ["now", "clock_floor"])
def test_naive_times_are_refused(name):
    with pytest.raises(Misuse):
        facts(Action.LOAD, **{name: NOW.replace(tzinfo=None)})
    for build in (
        lambda at: EntitlementFact(id="a", expires_at=at),
        lambda at: LeaseFacts(expires_at=at, entitlements=()),
        lambda at: SeatFacts(outcome="none", free_at=at),
    ):
        with pytest.raises(Misuse):
            build(NOW.replace(tzinfo=None))


def test_explaining_shows_every_step_and_the_one_that_decided():
    asked = facts(Action.LOAD, license__state="suspended", section__key_present=False)
    outcomes = explain(asked)
    assert len(outcomes) == len(STEPS)
    refused = [outcome.number for outcome in outcomes if outcome.refused]
    assert refused[0] == decide(asked).step
    assert [STEPS[number - 1].code for number in refused] == [
        "license_suspended",
        "key_not_in_lease",
    ]
    assert not any(outcome.asked for outcome in outcomes if "seat" in outcome.code)


@pytest.mark.parametrize("action", Action)
def test_explaining_goes_to_the_end_without_a_license_too(action):
    if action is not Action.TRIAL:
        assert any(outcome.refused for outcome in explain(facts(action, license=None))) or (
            action is Action.RETURN
        )
