"""A lease through its life, and clocks that are set back and ahead."""

from __future__ import annotations

import pytest
from tests.client.activated import DAY, MODEL, keys_of

from modelseal import errors
from modelseal.client import keys
from modelseal.client.leasekey import LeaseKeys
from modelseal.errors import (
    ClockSetBack,
    LeaseExpired,
    ModelsealError,
)


def test_the_state_follows_the_lease_through_its_life(world, active):
    third = 7 * DAY // 3
    seen = []
    for seconds in (0, third + 1, third + 1, third):
        world.clock.pass_(seconds)
        seen.append(active.status().state)
    assert seen == ["ACTIVE", "RENEW_DUE", "OVERDUE", "EXPIRED"]


def test_an_ended_lease_is_renewed_once_at_a_load(world, active):
    world.clock.pass_(8 * DAY)
    assert keys_of(active) == MODEL.keys
    assert active.status().lease.seq == 2


def test_many_loads_of_an_ended_lease_ask_the_server_once(world, active, key):
    world.server.license_of(key).state = "expired"
    world.clock.pass_(8 * DAY)
    before = len(world.server.asked)
    for _ in range(20):
        with pytest.raises(errors.LicenseExpired):
            keys_of(active)
    assert len(world.server.asked) == before + 1


def test_an_ended_lease_offline_is_refused_and_its_keys_are_erased(world, active):
    world.clock.pass_(8 * DAY)
    world.server.down = True
    with pytest.raises(LeaseExpired):
        keys_of(active)
    world.clock.set(-8 * DAY)
    with pytest.raises(ModelsealError):
        world.client().keys_for(MODEL.file_id, [0])
    world.clock.set(8 * DAY)
    world.server.down = False
    assert keys_of(world.client()) == MODEL.keys


def test_a_clock_set_back_is_refused_and_recovers_by_itself(world, active):
    world.clock.set(-3600)
    world.server.down = True
    with world.client() as client:
        with pytest.raises(ClockSetBack):
            keys_of(client)
        found = client.status().clock
        assert (found.set_back, found.behind_seconds) == (True, 3600)
        world.clock.set(3600)
        assert keys_of(client) == MODEL.keys


def test_a_clock_behind_the_trusted_keys_is_named_at_the_first_activation(world, client):
    key = world.server.issue("face.swap")
    world.clock.set(-20 * DAY)
    for ask in (client.activate, client.lookup):
        with pytest.raises(ClockSetBack) as raised:
            ask(key)
        assert raised.value.params["floor"] > raised.value.params["now"]
    world.clock.set(20 * DAY - 200)
    client.activate(key)


def test_five_minutes_behind_are_forgiven(world, active):
    world.clock.set(-299)
    with world.client() as client:
        assert keys_of(client) == MODEL.keys


def test_within_a_run_the_clock_cannot_be_set_back(world, active):
    world.clock.pass_(6 * DAY)
    world.clock.set(-6 * DAY)
    assert active.status().state == "OVERDUE"


def test_keys_that_a_clock_ahead_erased_are_an_ended_lease_and_no_damage(world, active):
    """Offline the next step is to connect; with the server there the load itself helps."""
    world.clock.set(8 * DAY)
    world.server.down = True
    with world.client() as client, pytest.raises(LeaseExpired):
        keys_of(client)
    world.clock.set(-8 * DAY)
    with world.client() as client:
        assert client.status().state == "ACTIVE"
        with pytest.raises(LeaseExpired, match="erased") as caught:
            keys_of(client)
    assert "lease renew" in caught.value.next_step
    world.server.down = False
    with world.client() as client:
        assert keys_of(client) == MODEL.keys


def test_a_clock_far_ahead_bricks_nothing(world, active):
    world.clock.set(400 * DAY)
    with world.client() as client:
        assert client.status().state == "EXPIRED"
    world.clock.set(-400 * DAY)
    with world.client() as client:
        client.renew()
        assert keys_of(client) == MODEL.keys


def test_the_keys_of_a_lease_are_opened_once_per_run(world, active, monkeypatch):
    opened = []
    real = keys.open_claims
    monkeypatch.setattr(keys, "open_claims", lambda *given: (opened.append(1), real(*given))[1])
    assert [keys_of(active) for _ in range(3)] == [MODEL.keys] * 3
    assert len(opened) == 1
    active.renew()
    assert keys_of(active) == MODEL.keys
    assert len(opened) == 2
    world.clock.pass_(8 * DAY)
    world.server.down = True
    with pytest.raises(LeaseExpired):
        keys_of(active)
    assert active._core.run_keys.lease is None


def test_keys_that_another_process_erased_are_not_used_on(world, active):
    assert keys_of(active) == MODEL.keys
    core = active._core
    core.store.write_lease_keys(core.unlock(), LeaseKeys())
    world.server.down = True
    with pytest.raises(LeaseExpired):
        keys_of(active)
    assert core.run_keys.lease is None
