"""Budgets of relays in the store: seats that wait, places in the status list, what is listed."""

from __future__ import annotations

import pytest
from tests.server.world import DAY, Computer, Shop

from modelseal.admin import BudgetState
from modelseal.errors import NoFreeSeat, NotFound
from modelseal.license.status import Status
from modelseal.server.store import delegations, devices
from modelseal.server.store.rows import DelegationRow

RELAY = "rly_019ca945-0a00-713e-aa37-c7c879c30fc9"


@pytest.fixture
def row(shop: Shop) -> DelegationRow:
    """Two of three seats of a license wait for a relay."""
    shop.plan("site", "face.swap", seats=3)
    issued = shop.license("site")
    now = shop.clock()
    made = DelegationRow(
        license_id=issued.license_id, relay=RELAY, device_id="dev_0", delegation_id="dlg_0",
        number=1, state="active", seats=2, renewals=5, seats_spent=0, renewals_spent=0, reserved=2,
        overdrawn=0, level=3, issued_at=now, ends_at=now + 9 * DAY, status_list=1, status_idx=77,
        status_value=0, event_id="evt_0",
    )  # fmt: skip
    shop.server.context.store.write(delegations.add, made)
    shop.key = issued.license_key  # type: ignore[attr-defined]
    return made


def test_seats_that_wait_for_a_relay_are_nobody_elses_until_it_ends(
    shop: Shop, row: DelegationRow
) -> None:
    Computer(shop, "a").activate(shop.key)
    with pytest.raises(NoFreeSeat):
        Computer(shop, "b").activate(shop.key)
    shop.server.budgets.release_ended()
    with pytest.raises(NoFreeSeat):
        Computer(shop, "b").activate(shop.key)
    shop.clock.pass_(days=9)
    shop.server.budgets.release_ended()
    for name in ("b", "c"):
        Computer(shop, name).activate(shop.key)
    assert shop.server.context.store.read(delegations.ended, shop.clock()) == []


def test_a_revoked_budget_and_a_suspended_license_stand_in_the_status_list(
    shop: Shop, row: DelegationRow
) -> None:
    def listed() -> dict[int, int]:
        return dict(shop.server.context.store.read(devices.statuses, 1))

    assert shop.server.context.store.read(devices.taken, 1, [76, 77]) == {77}
    assert shop.admin.revoke_budget(RELAY, "stolen").state is BudgetState.REVOKED
    assert listed()[77] == Status.REVOKED
    shop.admin.suspend_license(row.license_id)
    assert listed()[77] == Status.REVOKED
    assert shop.admin.restore_budget(RELAY).state is BudgetState.ACTIVE
    assert listed()[77] == Status.SUSPENDED
    shop.admin.resume_license(row.license_id)
    assert 77 not in listed()
    shop.admin.revoke_license(row.license_id)
    assert listed()[77] == Status.REVOKED


def test_budgets_are_listed_and_one_that_is_not_there_is_not_found(
    shop: Shop, row: DelegationRow
) -> None:
    [shown] = shop.admin.list_budgets().items
    assert (shown.relay, shown.seats, shown.seats_spent, shown.number) == (RELAY, 2, 0, 1)
    for act in (shop.admin.show_budget, shop.admin.revoke_budget, shop.admin.restore_budget):
        with pytest.raises(NotFound):
            act("rly_no")
