"""The matching rule: 60 % of the enrolled weight, three live traits, and nothing added hurts."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.device.world import digest

from modelseal import device
from modelseal.device import WEIGHTS, TraitKind, drift, match
from modelseal.device.drift import NO_DRIFT, Drift
from modelseal.errors import DeviceChanged, DeviceUnbound, Misuse
from modelseal.license.claims import MissingTrait, TraitDigest
from modelseal.license.plans import Binding

DIGESTS = st.lists(
    st.builds(digest, st.sampled_from([k.value for k in TraitKind]), st.integers(0, 3)),
    max_size=14,
)


@dataclass
class Rule:
    weights: dict[str, int] = field(default_factory=dict)
    min_score: float = 0.6


def laptop(**changed: int) -> list[TraitDigest]:
    kinds = ["disk_serial", "mac", "machine_id", "cpu_class"]
    return [digest(kind, changed.get(kind, 1)) for kind in kinds]


def test_an_unchanged_computer_matches_wholly() -> None:
    found = match(laptop(), laptop())
    assert (found.score, found.enrolled_weight, found.live) == (1.0, 7, 4)
    assert found.same_computer and not found.unbound and found.moved == ()


def test_a_new_disk_is_named_and_leaves_the_same_computer() -> None:
    found = match(laptop(), laptop(disk_serial=2))
    assert found.moved == (TraitKind.DISK_SERIAL,) and found.gone == ()
    assert found.same_computer and found.score == 5 / 7


def test_a_disk_that_is_gone_is_named_as_gone() -> None:
    found = match(laptop(), laptop()[1:])
    assert found.moved == found.gone == (TraitKind.DISK_SERIAL,)


def test_two_traits_of_a_laptop_make_a_new_device() -> None:
    assert not match(laptop(), laptop(disk_serial=2, mac=2)).same_computer


def test_exactly_the_minimum_score_is_enough() -> None:
    enrolled = [digest("machine_id"), digest("mac"), digest("cpu_class")]
    presented = [digest("machine_id"), digest("mac", 9), digest("cpu_class")]
    assert match(enrolled, presented).same_computer
    assert match(enrolled, presented, Rule(min_score=0.6)).score == 0.6
    assert not match(enrolled, presented, Rule(min_score=0.61)).same_computer


def test_fewer_than_three_live_traits_are_unbound_and_never_the_same_computer() -> None:
    two = [digest("machine_id"), digest("mac"), digest("mac", 2)]
    found = match(two, two)
    assert found.unbound and found.live == 2 and not found.same_computer


def test_nothing_enrolled_matches_nothing() -> None:
    found = match([], laptop())
    assert (found.score, found.enrolled_weight, found.same_computer) == (0.0, 0, False)


def test_what_only_an_administrator_reads_does_not_count_for_a_user() -> None:
    root_only = [digest("smbios_uuid", 1, True), digest("board_serial", 1, True)]
    found = match([*root_only, *laptop()], laptop())
    assert (found.score, found.enrolled_weight, found.moved) == (1.0, 7, ())
    as_root = match([*root_only, *laptop()], [digest("smbios_uuid", 1, True), *laptop()])
    assert as_root.enrolled_weight == 13 and as_root.moved == (TraitKind.BOARD_SERIAL,)


def test_a_plans_own_weights_and_score_decide() -> None:
    rule = Rule({"mac": 0, "machine_id": 10}, 0.9)
    assert match(laptop(), laptop(mac=9, cpu_class=1), rule).same_computer
    assert not match(laptop(), laptop(machine_id=9), rule).same_computer
    assert match(laptop(), laptop(mac=9), Binding()).same_computer


@pytest.mark.parametrize(
    "rule",
    [Rule({"fingers": 1}), Rule({"mac": -1}), Rule({"mac": 101}), Rule({"mac": True}),
     Rule(min_score=0.0), Rule(min_score=1.01), Rule(min_score=float("nan"))],
)  # fmt: skip
def test_a_rule_without_sense_is_refused(rule: Rule) -> None:
    with pytest.raises(Misuse):
        match(laptop(), laptop(), rule)


def test_kinds_of_later_releases_are_ignored() -> None:
    assert match([*laptop(), digest("retina")], [*laptop(), digest("aura")]).score == 1.0


@given(enrolled=DIGESTS, presented=DIGESTS, added=DIGESTS)
def test_added_hardware_never_lowers_the_score(
    enrolled: list[TraitDigest], presented: list[TraitDigest], added: list[TraitDigest]
) -> None:
    before, after = match(enrolled, presented), match(enrolled, presented + added)
    assert after.score >= before.score
    assert not before.same_computer or after.same_computer
    assert set(after.moved) <= set(before.moved)


@given(enrolled=DIGESTS, presented=DIGESTS, data=st.data())
def test_order_and_repetition_change_nothing(
    enrolled: list[TraitDigest], presented: list[TraitDigest], data: st.DataObject
) -> None:
    plain = match(enrolled, presented)
    assert plain == match(enrolled * 2, presented * 3)
    assert plain == match(
        data.draw(st.permutations(enrolled)), data.draw(st.permutations(presented))
    )


@given(enrolled=DIGESTS, presented=DIGESTS)
def test_score_moved_and_weight_fit_each_other(
    enrolled: list[TraitDigest], presented: list[TraitDigest]
) -> None:
    found = match(enrolled, presented)
    lost = sum(WEIGHTS[kind] for kind in found.moved)
    assert 0 <= found.score <= 1 and set(found.gone) <= set(found.moved)
    if found.enrolled_weight:
        kept = found.enrolled_weight - lost
        assert found.score == kept / found.enrolled_weight
        assert found.same_computer == (10 * kept >= 6 * found.enrolled_weight and found.live >= 3)


@given(presented=DIGESTS)
def test_every_computer_with_three_traits_is_the_same_as_itself(
    presented: list[TraitDigest],
) -> None:
    found = match(presented, presented)
    assert found.same_computer == (not found.unbound)


def test_an_unbound_device_is_refused_only_where_the_plan_says_so() -> None:
    missing = [MissingTrait(kind="mac", why="locally_administered")]
    few = laptop()[:2]
    assert device.check_bound(laptop(), [], allow_unbound=False)
    assert not device.check_bound(few, missing, allow_unbound=True)
    assert not device.check_bound(few, missing, allow_unbound=False, floating=True)
    assert not device.check_bound(few, missing, allow_unbound=False, operator_identity=True)
    with pytest.raises(DeviceUnbound) as caught:
        device.check_bound(few, missing, allow_unbound=False)
    assert caught.value.params["traits"] == ["mac: locally_administered"]


ALL = tuple(TraitKind)


def test_the_third_single_change_without_contact_is_refused() -> None:
    one = drift.step(NO_DRIFT, [TraitKind.MAC], ALL)
    two = drift.step(one, [TraitKind.CPU_CLASS], ALL)
    assert (one.steps, two.steps) == (1, 2)
    with pytest.raises(DeviceChanged) as caught:
        drift.step(two, [TraitKind.DISK_SERIAL], ALL)
    assert caught.value.params["traits"] == ["cpu_class", "disk_serial", "mac"]


def test_the_same_trait_moving_again_is_a_step_too() -> None:
    state = NO_DRIFT
    for _change in range(2):
        state = drift.step(state, [TraitKind.MAC], ALL)
    with pytest.raises(DeviceChanged):
        drift.step(state, [TraitKind.MAC], ALL)


def test_runs_without_a_change_are_no_steps() -> None:
    state = drift.step(NO_DRIFT, [TraitKind.MAC], ALL)
    for _run in range(10):
        state = drift.step(state, [], ALL)
    assert state == Drift(1, frozenset({TraitKind.MAC}))


def test_two_steps_never_add_up_to_another_computer() -> None:
    kinds = (TraitKind.DISK_SERIAL, TraitKind.MAC, TraitKind.MACHINE_ID, TraitKind.CPU_CLASS)
    one = drift.step(NO_DRIFT, [TraitKind.DISK_SERIAL], kinds)
    with pytest.raises(DeviceChanged):
        drift.step(one, [TraitKind.MAC], kinds)


@given(
    changes=st.lists(st.sets(st.sampled_from(ALL), max_size=3), max_size=6),
    enrolled=st.sets(st.sampled_from(ALL), min_size=1),
)
def test_whatever_drifts_keeps_sixty_percent_of_the_last_contact(
    changes: list[set[TraitKind]], enrolled: set[TraitKind]
) -> None:
    state = NO_DRIFT
    for moved in changes:
        try:
            state = drift.step(state, moved & enrolled, enrolled)
        except DeviceChanged:
            break
    total = sum(WEIGHTS[kind] for kind in enrolled)
    kept = sum(WEIGHTS[kind] for kind in enrolled - state.moved)
    assert state.steps <= 2 and 10 * kept >= 6 * total
