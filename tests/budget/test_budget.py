"""An attested relay gives leases by itself within its budget, and the server books them."""

from __future__ import annotations

import pytest
from tests.client.real_shop import opens

from modelseal.admin import BudgetState
from modelseal.errors import RelayBudgetSpent, RelayWaiting
from modelseal.server.relay.given import Given


def test_two_devices_activate_renew_and_open_without_any_line(site):
    by = site.ask()
    assert (by.seats, by.renewals, by.level, by.attested.kinds) == (2, 3, 3, ["tpm2"])
    with site.open():
        for name in ("laptop", "desktop"):
            device = site.device(name)
            device.activate(site.key)
            lease = device.standing().lease
            assert (lease.seq, lease.delegation is not None, lease.status) == (1, True, by.status)
            assert opens(device, site.shop.swap)
            assert device.renew().state == "ACTIVE"
            assert device.standing().lease.seq == 2
            assert opens(device, site.shop.swap)
    assert site.events("device_activated")[0].params.get("delegation") is None  # the relay's own
    assert len(site.events("device_activated")) == 1


def test_what_is_used_up_is_said_by_name_and_the_question_waits_for_the_server(site):
    site.ask()
    with site.open():
        devices = [site.device(name) for name in ("a", "b", "c")]
        for device in devices[:2]:
            device.activate(site.key)
        for _ in range(3):
            devices[0].renew()
        with pytest.raises(RelayBudgetSpent) as renewal:
            devices[0].renew()
        with pytest.raises(RelayBudgetSpent) as third:
            devices[2].activate(site.key)
        assert renewal.value.code == third.value.code == "relay_budget_spent"
        assert opens(devices[0], site.shop.swap)
        with site.box() as box:
            assert len(box.questions()) == 2
        site.sync()
        devices[2].activate(site.key)  # the server's own answer, carried
        assert devices[2].standing().lease.delegation is None
        devices[0].renew()
        assert devices[0].standing().lease.delegation is None


def test_the_server_books_what_was_given_and_the_chain_goes_on_there(site):
    site.ask()
    with site.open():
        laptop = site.device("laptop")
        laptop.activate(site.key)
        laptop.renew()
    site.sync()
    activated = site.events("device_activated")[-1]
    renewed = site.events("lease_renewed")[-1]
    assert activated.actor.startswith("relay:rly_") and activated.params["number"] == 1
    assert (activated.params["seq"], renewed.params["seq"]) == (1, 2)
    record = site.record()
    assert (record.seats_spent, record.renewals_spent, record.overdrawn) == (1, 1, 0)
    assert record.state is BudgetState.ACTIVE
    device_id = laptop.status().device_id
    shown = site.shop.server.admin.show_device(device_id)
    assert (shown.state, shown.seq, shown.enforcement) == ("active", 2, "software")
    again = site.sync()
    assert (again.state.value, site.record().renewals_spent) == ("follows", 1)
    direct = site.device("laptop", site.shop.server.url)
    direct.renew()
    lease = direct.standing().lease
    assert (lease.seq, lease.delegation, lease.sub) == (3, None, device_id)
    assert direct.standing().license.delegation is None


def test_without_a_word_in_the_plan_no_relay_gets_a_budget(other_site):
    from modelseal.errors import BudgetRefused

    with pytest.raises(BudgetRefused) as found:
        other_site.ask()
    assert found.value.params["why"] == "plan"
    assert not other_site.events("delegation_given")


def test_a_wrong_license_key_opens_nothing_at_a_relay(site):
    other, _ = site.shop.issue("site")
    site.ask()
    with site.open():
        stranger = site.device("stranger")
        with pytest.raises(RelayWaiting):
            stranger.activate(other)
        with site.box() as box:
            assert Given(box).spent("seats") == 0
            assert len(box.questions()) == 1  # sealed to the server, which knows the key
        site.sync()
        stranger.activate(other)
        assert stranger.standing().lease.delegation is None
