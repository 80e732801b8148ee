"""Seats: one conditional write each. What the sum of leases may be, under every way to cheat."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Connection
from tests.server.world import START, Clock, Computer, Shop, denied, hardware, run_machine, scaled

from modelseal import admin
from modelseal.errors import ModelsealError, NotFound, Refused, StorageFailed
from modelseal.license.plans import Binding, LeaseTerms
from modelseal.server.services import recorder, seating
from modelseal.server.services.actors import LOCAL
from modelseal.server.store import devices as device_store
from modelseal.server.store.licenses import spent
from modelseal.server.store.seats import of_license


def test_no_free_seat_names_the_holders_by_label_and_last_contact(shop: Shop) -> None:
    shop.plan()
    issued = shop.license(seats=2)
    for name in ("edit room", "laptop"):
        Computer(shop, name).activate(issued.license_key, label=name)
    error, denial = denied(lambda: Computer(shop, "third").activate(issued.license_key), shop)
    assert error.code == "no_free_seat" and denial.params["seats"] == 2
    devices = denial.params["devices"]
    assert isinstance(devices, list)
    assert {d["label"] for d in devices if isinstance(d, dict)} == {"edit room", "laptop"}
    assert "laptop" in str(denial.params["holders"])
    event = shop.events("lease_denied")[-1]
    assert "laptop" not in str(event.params) and "edit room" not in str(event.params)


def test_no_free_seat_is_a_denial_however_many_hold_seats_and_however_they_are_called(
    shop: Shop,
) -> None:
    """A denial has room for some of them: those that were silent longest."""
    shop.plan(seats=24)
    key = shop.license().license_key
    for number in range(24):
        Computer(shop, str(number)).activate(key, label=f"{number:02d}" + "\N{OX}" * 62)
        shop.clock.pass_(seconds=1)
    error, denial = denied(lambda: Computer(shop, "more").activate(key), shop)
    assert error.code == "no_free_seat" and denial.params["seats"] == 24
    told = denial.params["devices"]
    assert isinstance(told, list) and len(told) >= 8
    labels = [each["label"][:2] for each in told if isinstance(each, dict)]  # type: ignore[index]
    assert labels == [f"{number:02d}" for number in range(len(told))]


def test_a_returned_seat_is_free_at_once_as_often_as_the_plan_allows(shop: Shop) -> None:
    shop.plan("basic", binding=Binding(instant_returns_per_90d=1))
    issued = shop.license(seats=1)
    first, second, third = (Computer(shop, name) for name in "abc")
    first.activate(issued.license_key)
    assert first.give_back().seat_free_at == START
    shop.clock.pass_(days=8)
    lease = second.activate(issued.license_key)
    back = second.give_back()
    assert int(back.seat_free_at.timestamp()) == lease.exp
    error, denial = denied(lambda: third.activate(issued.license_key), shop)
    assert error.code == "no_free_seat" and denial.params["free_at"] == "2026-03-16T12:00:00Z"
    shop.clock.pass_(days=7)
    third.activate(issued.license_key)


def test_returning_twice_is_returning_once(shop: Shop, computer: Computer) -> None:
    shop.plan()
    computer.activate(shop.license().license_key)
    first = computer.give_back()
    shop.clock.pass_(days=1)
    assert computer.give_back() == first
    assert len(shop.events("device_returned")) == 1


def test_the_seat_of_an_online_lease_is_free_at_once_and_costs_nothing(shop: Shop) -> None:
    shop.plan("online", enforcement="online", binding=Binding(instant_returns_per_90d=0))
    issued = shop.license("online", seats=1)
    for name in "abcd":
        device = Computer(shop, name)
        device.activate(issued.license_key)
        assert device.give_back().seat_free_at == START


def test_a_returned_device_may_come_back_under_its_own_key(shop: Shop, computer: Computer) -> None:
    shop.plan("basic", binding=Binding(instant_returns_per_90d=0))
    issued = shop.license(seats=1)
    first = computer.activate(issued.license_key)
    computer.give_back()
    again = computer.activate(issued.license_key)
    assert again.sub == first.sub and again.seq > first.seq
    assert shop.admin.show_license(issued.license_id).seats_used == 1


def test_replace_moves_the_seat_at_once_and_ends_the_old_device(shop: Shop) -> None:
    shop.plan()
    issued = shop.license(seats=1)
    old, new = Computer(shop, "old"), Computer(shop, "new")
    old.activate(issued.license_key)
    new.activate(issued.license_key, replace=old.device_id)
    error, denial = denied(old.renew, shop)
    assert error.code == "device_returned" and denial.state == "RETURNED"
    replaced = shop.events("device_replaced")[0]
    assert replaced.subjects["device"] == old.device_id
    assert replaced.params["by"] == new.device_id and replaced.params["spent"] == "rebind"
    assert shop.admin.show_device(old.device_id or "").state == "replaced"
    new.renew()


def test_a_seat_never_has_more_than_two_live_leases(shop: Shop) -> None:
    shop.plan("basic", binding=Binding(rebinds_per_90d=100))
    issued = shop.license(seats=1)
    first, second, third = (Computer(shop, name) for name in "abc")
    lease = first.activate(issued.license_key)
    second.activate(issued.license_key, replace=first.device_id)
    error, denial = denied(
        lambda: third.activate(issued.license_key, replace=second.device_id), shop
    )
    assert error.code == "replace_pending"
    shop.clock.now = START + timedelta(seconds=lease.exp - lease.iat)
    third.activate(issued.license_key, replace=second.device_id)
    assert denial.params["free_at"] == "2026-03-08T12:00:00Z"


def test_moving_costs_a_rebind_but_the_same_computer_is_free_once_in_90_days(shop: Shop) -> None:
    shop.plan("basic", binding=Binding(rebinds_per_90d=1), lease=LeaseTerms(max_seconds=3600))
    issued = shop.license(seats=1)
    current = Computer(shop, "same")
    current.activate(issued.license_key)
    spent = []
    for _ in range(3):
        shop.clock.pass_(hours=2)
        following = Computer(shop, "same")
        try:
            following.activate(issued.license_key, replace=current.device_id)
        except ModelsealError as error:
            assert error.code == "rebinds_used_up" and error.params["limit"] == 1
            break
        spent.append(shop.events("device_replaced")[-1].params["spent"])
        current = following
    assert spent == ["free_rebind", "rebind"]
    shop.clock.pass_(days=91)
    Computer(shop, "other").activate(issued.license_key, replace=current.device_id)


def test_an_unbound_device_is_never_moved_for_free(shop: Shop) -> None:
    shop.plan("basic", binding=Binding(rebinds_per_90d=0))
    issued = shop.license(seats=1)
    old = Computer(shop, traits=hardware("same", "mac", "cpu_class"))
    old.activate(issued.license_key)
    new = Computer(shop, traits=hardware("same", "mac", "cpu_class"))
    error, _ = denied(lambda: new.activate(issued.license_key, replace=old.device_id), shop)
    assert error.code == "rebinds_used_up"


def test_only_a_device_of_the_license_can_be_replaced(shop: Shop, computer: Computer) -> None:
    shop.plan()
    mine, theirs = shop.license(seats=1), shop.license(seats=1)
    computer.activate(theirs.license_key)
    other = Computer(shop, "b")
    with pytest.raises(NotFound):
        other.activate(mine.license_key, replace=computer.device_id)
    assert shop.admin.show_license(mine.license_id).seats_used == 0
    computer.renew()


def test_a_floating_seat_is_free_when_its_lease_has_ended(shop: Shop) -> None:
    shop.plan("floating", floating=True, lease=LeaseTerms(max_seconds=3600))
    issued = shop.license("floating", seats=1)
    first, second = Computer(shop, "a"), Computer(shop, "b")
    first.activate(issued.license_key)
    denied(lambda: second.activate(issued.license_key), shop)
    shop.clock.pass_(minutes=30)
    first.renew()
    shop.clock.pass_(minutes=59)
    assert denied(lambda: second.activate(issued.license_key), shop)[0].code == "no_free_seat"
    shop.clock.pass_(minutes=1)
    second.activate(issued.license_key)
    assert denied(first.renew, shop)[0].code == "no_free_seat"
    shop.clock.pass_(hours=1)
    first.renew()


def test_a_lapsed_floating_seat_is_taken_anew_and_not_kept(shop: Shop) -> None:
    shop.plan("floating", floating=True, lease=LeaseTerms(max_seconds=3600))
    issued = shop.license("floating", seats=2)
    first, second = Computer(shop, "a"), Computer(shop, "b")
    for device in (first, second):
        device.activate(issued.license_key)
    shop.clock.pass_(hours=2)
    shop.admin.change_license(issued.license_id, admin.LicenseChange(seats=1))
    second.activate(issued.license_key)
    assert denied(lambda: first.activate(issued.license_key), shop)[0].code == "no_free_seat"
    assert shop.admin.show_license(issued.license_id).seats_used == 1


def test_replacing_a_device_whose_floating_seat_lapsed_takes_a_free_one(shop: Shop) -> None:
    shop.plan("floating", floating=True, lease=LeaseTerms(max_seconds=3600))
    issued = shop.license("floating", seats=2)
    first, second = Computer(shop, "a"), Computer(shop, "b")
    first.activate(issued.license_key)
    shop.clock.pass_(hours=2)
    second.activate(issued.license_key)
    third = Computer(shop, "c")
    third.activate(issued.license_key, replace=first.device_id)
    assert shop.admin.show_device(first.device_id or "").state == "active"
    assert shop.admin.show_license(issued.license_id).seats_used == 2


def test_a_fork_on_a_lapsed_floating_seat_is_not_healed_for_nothing(shop: Shop) -> None:
    terms = {"lease": LeaseTerms(max_seconds=3600), "binding": Binding(rebinds_per_90d=0)}
    shop.plan("floating", floating=True, **terms)
    issued = shop.license("floating", seats=1)
    device, other = Computer(shop, "a"), Computer(shop, "b")
    device.activate(issued.license_key)
    copy = device.copy()
    device.renew()
    denied(copy.renew, shop)
    for _ in range(2):
        error, _denial = denied(lambda: device.activate(issued.license_key), shop)
        assert error.code == "rebinds_used_up"
        shop.clock.pass_(hours=2)
        other.activate(issued.license_key)


def test_fewer_seats_keep_the_holders_and_let_nobody_new_in(shop: Shop) -> None:
    shop.plan()
    issued = shop.license(seats=3)
    devices = [Computer(shop, name) for name in "abc"]
    for device in devices:
        device.activate(issued.license_key)
    shop.admin.change_license(issued.license_id, admin.LicenseChange(seats=1))
    for device in devices:
        device.renew()
    devices[0].give_back()
    denied(lambda: Computer(shop, "d").activate(issued.license_key), shop)
    devices[1].give_back()
    shop.clock.pass_(days=8)
    denied(lambda: Computer(shop, "d").activate(issued.license_key), shop)
    shop.admin.change_license(issued.license_id, admin.LicenseChange(seats=2))
    Computer(shop, "d").activate(issued.license_key)


def test_a_revoked_device_frees_its_seat_when_its_lease_has_ended(
    shop: Shop, computer: Computer
) -> None:
    shop.plan()
    issued = shop.license(seats=1)
    computer.activate(issued.license_key)
    shop.admin.revoke_device(computer.device_id or "", "stolen")
    assert denied(lambda: computer.activate(issued.license_key), shop)[0].code == "device_revoked"
    other = Computer(shop, "b")
    denied(lambda: other.activate(issued.license_key), shop)
    shop.clock.pass_(days=7)
    other.activate(issued.license_key)


class Farming(RuleBasedStateMachine):
    """Devices that return, replace, renew and wait as they like; leases are counted outside."""

    devices: Bundle[Computer] = Bundle("devices")
    shop: Shop
    SEATS = 2
    FLOATING = False

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[str, int] = {}
        self.seats = self.SEATS

    @initialize()
    def open(self) -> None:
        clock = Clock(self.shop.clock())
        self.shop.clock = clock
        self.shop.server.context.clock = clock
        terms = {
            "lease": LeaseTerms(max_seconds=86400),
            "binding": Binding(rebinds_per_90d=3),
            "floating": self.FLOATING,
        }
        name = f"farm{id(self)}"
        self.shop.plan(name, **terms)
        issued = self.shop.license(name, seats=self.SEATS, never=True)
        self.key, self.license_id = issued.license_key, issued.license_id

    def _try(self, act: object, *args: object, **more: object) -> None:
        self.shop.clock.pass_(seconds=2)
        try:
            lease = act(*args, **more)  # type: ignore[operator]
        except (Refused, NotFound):
            return
        if hasattr(lease, "exp"):
            self.live[lease.sub] = lease.exp

    @rule(target=devices, seed=st.sampled_from(["x", "y", "z"]))
    def arrive(self, seed: str) -> Computer:
        device = Computer(self.shop, seed)
        self._try(device.activate, self.key)
        return device

    @rule(device=devices)
    def enter_again(self, device: Computer) -> None:
        self._try(device.activate, self.key)

    @rule(device=devices, other=devices)
    def replace(self, device: Computer, other: Computer) -> None:
        self._try(device.activate, self.key, replace=other.device_id)

    @rule(device=devices)
    def renew(self, device: Computer) -> None:
        if device.device_id:
            self._try(device.renew)

    @rule(device=devices)
    def give_back(self, device: Computer) -> None:
        if device.device_id:
            self._try(device.give_back)

    @rule(device=devices)
    def revoke(self, device: Computer) -> None:
        if device.device_id:
            self._try(self.shop.admin.revoke_device, device.device_id, "stolen")

    @rule(seats=st.sampled_from([1, 2]))
    def change_seats(self, seats: int) -> None:
        self.seats = seats
        self.shop.admin.change_license(self.license_id, admin.LicenseChange(seats=seats))

    @rule(hours=st.sampled_from([1, 12, 25, 24 * 40]))
    def wait(self, hours: int) -> None:
        self.shop.clock.pass_(hours=hours)

    @invariant()
    def live_leases_stay_within_seats_and_declared_overage(self) -> None:
        if not hasattr(self, "license_id"):
            return
        now = self.shop.clock().timestamp()
        alive = [exp for exp in self.live.values() if exp > now]
        shown = self.shop.admin.show_license(self.license_id)
        assert len(alive) <= 2 * self.SEATS
        assert len(alive) <= self.SEATS + shown.overage
        assert shown.overage <= shown.seats_used <= self.SEATS

    @invariant()
    def the_numbers_of_seats_leave_none_out(self) -> None:
        if hasattr(self, "license_id"):
            seats = self.shop.server.context.store.read(of_license, self.license_id)
            assert [seat.seat_no for seat in seats] == list(range(1, len(seats) + 1))

    @invariant()
    def allowances_are_kept(self) -> None:
        if not hasattr(self, "license_id"):
            return
        limits = {"rebind": 3, "free_rebind": 1, "instant_return": 2}
        since = self.shop.clock() - timedelta(days=90)
        for kind, limit in limits.items():
            used = self.shop.server.context.store.read(spent, self.license_id, kind, since)
            assert used <= limit, kind

    def teardown(self) -> None:
        """With every lease ended and given back, all seats and no more can be taken."""
        if not hasattr(self, "license_id"):
            return
        for device in self.shop.admin.list_devices(self.license_id).items:
            if device.state == "active":
                self.shop.admin.revoke_device(device.device_id)
        self.shop.clock.pass_(days=2)
        for _ in range(self.seats):
            Computer(self.shop, "new").activate(self.key)
        denied(lambda: Computer(self.shop, "new").activate(self.key), self.shop)


@pytest.mark.parametrize("floating", [False, True])
def test_under_return_farming_live_leases_never_exceed_seats_plus_overlap(
    shop: Shop, store: str, floating: bool
) -> None:
    run_machine(Farming, shop, examples=scaled(store, 15), steps=40, FLOATING=floating)


@pytest.mark.soak
@pytest.mark.parametrize("floating", [False, True])
def test_under_long_return_farming_live_leases_never_exceed_seats_plus_overlap(
    shop: Shop, floating: bool
) -> None:
    run_machine(Farming, shop, examples=400, steps=80, FLOATING=floating)


def test_an_act_over_a_row_that_moved_on_is_never_half_done(shop: Shop, computer: Computer) -> None:
    """On a database where transactions overlap, a renewal may slip in after the row was read."""
    shop.plan()
    computer.activate(shop.license().license_key)
    store = shop.server.context.store
    stale = store.read(device_store.get, computer.device_id or "")
    assert stale is not None
    computer.renew()

    def revoke(tx: Connection) -> None:
        known = recorder.fresh(shop.server.context, shop.clock())
        shop.server.inventory._revoke(tx, LOCAL, stale, "stolen", known, shop.clock())

    for act in (revoke, lambda tx: seating.retire(tx, stale, shop.clock(), "evt_x")):
        with pytest.raises(StorageFailed):
            store.write(act)
    assert shop.admin.show_device(computer.device_id or "").state == "active"
    assert not shop.events("device_revoked")
    computer.renew()
