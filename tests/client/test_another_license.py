"""One state folder holds one seat: another license's key is not entered over it in silence."""

from __future__ import annotations

import pytest
from tests.client.real_shop import opens

from modelseal.errors import AnotherLicense, LicenseRevoked, NoFreeSeat


def seats(shop, license_id):
    return shop.server.admin.show_license(license_id).seats_used


def test_another_license_key_is_refused_and_nothing_changes(shop, make):
    client, (key, mine) = make(), shop.issue()
    other, theirs = shop.issue("pro")
    client.activate(key)
    with pytest.raises(AnotherLicense) as caught:
        client.activate(other)
    assert caught.value.params["license_id"] == mine and caught.value.exit_code == 2
    assert client.status().license_id == mine and opens(client, shop.swap)
    assert (seats(shop, mine), seats(shop, theirs)) == (1, 0)


def test_switching_gives_the_old_seat_back_first(shop, make):
    client, (key, mine) = make(), shop.issue()
    other, theirs = shop.issue("pro")
    client.activate(key)
    status = client.activate(other, switch=True)
    assert (status.license_id, status.plan) == (theirs, "pro") and opens(client, shop.restore)
    assert (seats(shop, mine), seats(shop, theirs)) == (0, 1)


def test_a_license_that_will_be_refused_costs_no_seat(shop, make):
    client, (key, mine) = make(), shop.issue()
    client.activate(key)
    gone, gone_id = shop.issue("pro")
    shop.server.admin.revoke_license(gone_id)
    with pytest.raises(LicenseRevoked):
        client.activate(gone, switch=True)
    full, _id = shop.issue("pro", seats=1)
    make(state="other", on="other").activate(full)
    with pytest.raises(NoFreeSeat):
        client.activate(full, switch=True)
    assert client.status().state == "ACTIVE" and opens(client, shop.swap)
    assert seats(shop, mine) == 1


def test_the_same_license_is_entered_again_and_after_a_rekey_too(shop, make):
    client, (key, mine) = make(), shop.issue()
    client.activate(key)
    assert client.activate(key).license_id == mine
    again = shop.server.admin.rekey_license(mine).license_key
    assert client.activate(again).license_id == mine
    assert seats(shop, mine) == 1


def test_a_device_whose_seat_went_to_another_is_not_told_of_another_license(shop, make):
    """It still runs on its lease and does not know; the new key is one of the same license."""
    client, (key, mine) = make(), shop.issue(seats=1)
    client.activate(key)
    again = shop.server.admin.rekey_license(mine).license_key
    make(state="other", on="other").activate(again, replace=client.status().device_id)
    with pytest.raises(NoFreeSeat):
        client.activate(again)


def test_after_giving_the_seat_back_any_key_is_entered(shop, make):
    client, (key, _mine) = make(), shop.issue()
    other, theirs = shop.issue("pro")
    client.activate(key)
    client.deactivate()
    assert client.activate(other).license_id == theirs
