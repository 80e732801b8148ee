"""What a relay reports undoes nothing at the server, and no honest relay is accused."""

from __future__ import annotations

import io
from typing import Any

import pytest
from tests.attested.services.conftest import makers, shop, template
from tests.budget.broken import DAY, Hand, issued, terms
from tests.server.world import Computer, Shop, denied

from modelseal.admin import BudgetState, LicenseChange, PlanDraft
from modelseal.errors import NotFound, TokenClaims
from modelseal.license.plans import RelayTerms
from modelseal.license.status import Status
from modelseal.server.services import open_server, restore
from modelseal.server.store import devices

__all__ = ["makers", "shop", "template"]


@pytest.fixture
def hand(shop: Shop, makers: Any) -> Hand:
    return Hand(shop, makers, issued(shop))


def row(hand: Hand, device: Computer) -> Any:
    return hand.shop.server.context.store.read(devices.get, device.device_id)


def test_a_device_that_was_revoked_stays_revoked_when_a_relay_activated_it(hand: Hand) -> None:
    device = Computer(hand.shop, "a")
    device.activate(hand.license.license_key)
    before = row(hand, device)
    hand.shop.admin.revoke_device(device.device_id or "")
    booked = hand.books(hand.gives(device))
    assert (booked.state, booked.goes_on) == ("booked", False)
    after = row(hand, device)
    assert (after.state, after.status_value) == ("revoked", Status.REVOKED)
    assert (after.status_list, after.status_idx) == (before.status_list, before.status_idx)
    error, denial = denied(device.renew, hand.shop)
    assert (error.code, denial.seq) == ("device_revoked", device.seq + 1)


def test_one_that_has_a_new_id_there_stays_revoked_too(hand: Hand) -> None:
    device = Computer(hand.shop, "a")
    device.activate(hand.license.license_key)
    hand.shop.admin.revoke_device(device.device_id or "")
    there = Computer(hand.shop, "a", key=device.key)
    assert not hand.books(hand.gives(there)).goes_on
    error, _denial = denied(there.renew, hand.shop)
    assert error.code == "device_revoked"


def test_a_fork_is_not_healed_for_nothing_at_a_relay(hand: Hand) -> None:
    device = Computer(hand.shop, "a")
    device.activate(hand.license.license_key)
    other = device.copy()
    device.renew()
    denied(other.renew, hand.shop)
    assert row(hand, device).held
    assert not hand.books(hand.gives(device)).goes_on
    assert row(hand, device).held


def test_no_relay_speaks_for_another_key_or_takes_another_devices_id(hand: Hand) -> None:
    device = Computer(hand.shop, "a")
    device.activate(hand.license.license_key)
    stranger = Computer(hand.shop, "s")
    before = row(hand, device)
    stranger.device_id, stranger.seq, stranger.prev = device.device_id, device.seq, device.prev
    for op in ("renew", "activate"):
        wrong = hand.gives(stranger, op, sub=device.device_id)
        assert (hand.books(wrong).state, hand.record.state) == ("overdrawn", BudgetState.OVERDRAWN)
    assert row(hand, device) == before
    device.renew()


def test_a_device_id_of_another_license_is_refused_without_a_failure(hand: Hand) -> None:
    other = Computer(hand.shop, "a")
    other.activate(hand.shop.license("site").license_key)
    stranger = Computer(hand.shop, "s")
    told = hand.books(hand.gives(stranger, sub=other.device_id))
    assert (told.state, told.why) == ("overdrawn", "device_taken")
    other.renew()


@pytest.mark.parametrize("wrong", [{"sub": "x"}, {"jti": "y"}, {"sub": "lic_x"}])
def test_ids_of_another_form_are_refused(hand: Hand, wrong: dict[str, str]) -> None:
    with pytest.raises(TokenClaims):
        hand.books(hand.gives(Computer(hand.shop, "s"), **wrong))


def test_a_seat_that_was_promised_is_the_devices_though_the_license_is_suspended(
    hand: Hand,
) -> None:
    device = Computer(hand.shop, "a")
    act = hand.gives(device)
    hand.shop.admin.suspend_license(hand.license.license_id)
    assert hand.books(act).state == "booked"
    hand.shop.admin.resume_license(hand.license.license_id)
    device.renew()
    assert row(hand, device).seat_no is not None
    assert hand.shop.admin.show_license(hand.license.license_id).seats_used == 2


def test_what_was_given_in_time_and_is_told_after_the_end_accuses_nobody(hand: Hand) -> None:
    device = Computer(hand.shop, "a")
    act = hand.gives(device)
    hand.shop.clock.pass_(days=21)
    hand.shop.server.budgets.release_ended()
    for name in ("p", "q", "r", "s", "t"):
        Computer(hand.shop, name).activate(hand.license.license_key)
    booked = hand.books(act)
    assert (booked.state, booked.goes_on) == ("booked", False)
    assert hand.record.state is BudgetState.ACTIVE
    error, denial = denied(device.renew, hand.shop)
    assert (error.code, denial.seq) == ("device_returned", device.seq + 1)


def test_what_an_earlier_delegation_let_is_within_it_though_the_plan_is_smaller_now(
    hand: Hand,
) -> None:
    acts = [hand.gives(Computer(hand.shop, name)) for name in ("a", "b")]
    less = terms(relay=RelayTerms(seats=1, renewals=1, max_seconds=9 * DAY))
    hand.shop.admin.create_plan(PlanDraft(name="less", terms=less))
    hand.shop.admin.change_license(hand.license.license_id, LicenseChange(plan="less"))
    hand.ask()
    assert hand.record.seats == 1
    assert [hand.books(act).state for act in acts] == ["booked", "booked"]


def test_after_a_change_of_the_plan_what_was_given_under_the_old_one_is_answered_again(
    hand: Hand,
) -> None:
    act = hand.gives(device := Computer(hand.shop, "a"))
    for _ in range(3):
        hand.shop.admin.update_plan("site", PlanDraft(name="site", terms=terms()))
    hand.shop.admin.create_plan(PlanDraft(name="other", terms=terms()))
    hand.shop.admin.change_license(hand.license.license_id, LicenseChange(plan="other"))
    assert hand.books(act).state == "booked"
    device.release()


def test_a_device_that_asked_the_server_in_between_does_not_accuse_its_relay(hand: Hand) -> None:
    device = hand.enters("a")
    copy = device.copy()
    device.renew()
    told = hand.books(hand.gives(copy, "renew"))
    assert (told.state, told.goes_on) == ("forked", False)
    assert (hand.record.state, hand.record.renewals_spent) == (BudgetState.ACTIVE, 1)
    device.renew()


def test_a_relay_that_gives_one_place_of_a_chain_twice_is_found(hand: Hand) -> None:
    device = hand.enters("a")
    copy = device.copy()
    assert hand.books(hand.gives(device, "renew")).state == "booked"
    told = hand.books(hand.gives(copy, "renew"))
    assert (told.state, told.why) == ("overdrawn", "chain")


def test_a_server_that_was_restored_accuses_no_relay_of_what_itself_forgot(
    hand: Hand, makers: Any
) -> None:
    shop = hand.shop
    first = hand.enters("a")
    copy = io.BytesIO()
    shop.clock.pass_(hours=1)
    shop.server.backup(copy)
    shop.clock.pass_(hours=1)
    second = hand.enters("b")
    assert hand.books(hand.gives(first, "renew")).state == "booked"
    hand.ask()
    shop.clock.pass_(hours=10)
    shop.server.close()
    copy.seek(0)
    restore(shop.home, copy, lost=None, replace=True, now=shop.clock)
    with open_server(shop.home, now=shop.clock) as server:
        shop.server = server
        for device in (first, second):
            assert hand.books(hand.gives(device, "renew")).state == "booked"
        assert hand.record.state is BudgetState.ACTIVE
        for device in (first, second):
            device.renew()
        assert shop.admin.show_license(hand.license.license_id).seats_used == 3


def test_nobody_else_gets_a_delegation_for_a_relay_that_has_one(hand: Hand, makers: Any) -> None:
    other = Hand(hand.shop, makers, hand.shop.license("site"))
    with pytest.raises(NotFound):
        other.ask(hand.relay)
