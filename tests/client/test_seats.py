"""Seats: taken, replaced, given back, forgotten."""

from __future__ import annotations

import pytest
from tests.client.activated import MODEL, keys_of
from tests.client.world import START, seal

from modelseal.errors import (
    AnotherLicense,
    DeviceReturned,
    NoFreeSeat,
    NotActivated,
    ServerUnreachable,
)


def test_a_second_state_folder_finds_no_free_seat_and_may_replace(world, active, key, tmp_path):
    """The old folder then learns that its seat is gone, and opens nothing more."""
    with world.client(tmp_path / "second") as second:
        with pytest.raises(NoFreeSeat) as caught:
            second.activate(key)
        holder = caught.value.params["devices"][0]
        assert "workshop" in caught.value.message
        assert holder["label"] == "workshop"
        assert second.status().state == "NOT_ACTIVATED"
        second.activate(key, replace=holder["device_id"])
        assert second.status().state == "ACTIVE"
        assert keys_of(second) == MODEL.keys
    with pytest.raises(DeviceReturned):
        active.renew()
    assert active.status().state == "RETURNED"
    with pytest.raises(DeviceReturned):
        keys_of(active)


def test_the_same_key_again_on_the_same_device_keeps_its_seat(active, world, key):
    active.activate(key)
    assert active.status().state == "ACTIVE"
    assert len(world.server.devices) == 1


def test_another_license_on_the_same_device_takes_its_place(active, world):
    other = seal("restore.onnx", entitlement="face.restore")
    world.server.publish(other)
    active.activate(world.server.issue("face.restore"), switch=True)
    assert active.status().entitlements == ["face.restore"]
    assert keys_of(active, other) == other.keys


def test_a_refused_second_license_leaves_the_first_in_force(active, world):
    taken = world.server.issue("face.restore")
    world.server.license_of(taken).state = "revoked"
    with pytest.raises(AnotherLicense):
        active.activate(taken)
    assert active.status().state == "ACTIVE"
    assert keys_of(active) == MODEL.keys


# -- giving the seat back


def test_given_back_the_seat_is_free_and_nothing_opens(active, world, key, tmp_path):
    returned = active.deactivate()
    assert returned.seat_free_at == START
    left = {p.name for p in world.state.iterdir()}
    assert not left & {"lease.jwt", "lease.key", "license.jwt", "lease.bundle"}
    assert active.status().state == "RETURNED"
    with pytest.raises(DeviceReturned):
        keys_of(active)
    with world.client(tmp_path / "second") as second:
        second.activate(key)


def test_offline_the_seat_is_kept_and_the_lease_goes_on(active, world):
    world.server.down = True
    with pytest.raises(ServerUnreachable):
        active.deactivate()
    assert keys_of(active) == MODEL.keys
    world.server.down = False
    active.deactivate()


def test_forgotten_nothing_is_left_even_offline(active, world):
    world.server.down = True
    assert active.deactivate(forget=True).seat_free_at is None
    assert {p.name for p in world.state.iterdir()} <= {"journal", "lock", "trust.json", "catalog"}
    assert active.status().state == "NOT_ACTIVATED"


def test_without_an_activation_there_is_nothing_to_renew_or_give_back(client):
    for act in (client.renew, client.deactivate):
        with pytest.raises(NotActivated):
            act()
    with pytest.raises(NotActivated):
        client.keys_for(MODEL.file_id, [0])
