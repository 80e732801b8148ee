"""A computer that changes a little, much, or too often: what still opens, and what heals it."""

from __future__ import annotations

import shutil

import pytest
from tests.client.world import World, computer, seal

from modelseal import device
from modelseal.device import TraitKind, TraitReading, TraitValue
from modelseal.errors import DeviceChanged, NoFreeSeat

MODEL = seal()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    made.server.publish(MODEL)
    return made


@pytest.fixture(autouse=True)
def key(world):
    """The license key with which the computer of every test is activated."""
    made = world.server.issue("face.swap")
    with world.client() as client:
        client.activate(made)
    return made


def _swap(traits, kind, text):
    """The same computer with another value of one kind."""
    others = [r for r in traits.readings if r.kind != kind]
    return device.gather([*others, TraitReading(kind, TraitValue(text.encode()))])


def _opens(world, state=None):
    with world.client(state) as client:
        return client.keys_for(MODEL.file_id, [0, 1])[1].reveal() == MODEL.keys[1]


def test_one_changed_trait_changes_nothing_for_the_user_even_offline(world):
    """The key is wrapped anew, so that the next run finds nothing changed."""
    world.server.down = True
    world.traits = _swap(world.traits, TraitKind.MACHINE_ID, "reinstalled")
    before = (world.state / "device.key").read_bytes()
    assert _opens(world)
    after = (world.state / "device.key").read_bytes()
    assert after != before
    assert _opens(world)
    assert (world.state / "device.key").read_bytes() == after


def test_the_third_change_in_a_row_without_contact_is_refused_and_contact_heals(world):
    world.server.down = True
    for step in ("first", "second"):
        world.traits = _swap(world.traits, TraitKind.MACHINE_ID, step)
        assert _opens(world)
    world.traits = _swap(world.traits, TraitKind.MACHINE_ID, "third")
    with pytest.raises(DeviceChanged) as caught:
        _opens(world)
    assert caught.value.params["traits"] == ["machine_id"]
    assert caught.value.next_step
    world.server.down = False
    assert _opens(world)
    world.server.down = True
    world.traits = _swap(world.traits, TraitKind.MACHINE_ID, "fourth")
    assert _opens(world)


def test_the_same_change_in_many_runs_is_one_step(world):
    world.server.down = True
    world.traits = _swap(world.traits, TraitKind.MACHINE_ID, "once")
    assert all(_opens(world) for _ in range(5))


def test_in_a_folder_that_cannot_be_written_a_changed_trait_still_opens(world):
    """What cannot be wrapped anew is compared with the old enrolment again at the next run."""
    world.server.down = True
    world.traits = _swap(world.traits, TraitKind.MACHINE_ID, "reinstalled")
    (world.state / "lock").unlink()
    (world.state / "lock").mkdir()
    assert _opens(world)
    assert _opens(world)


def test_another_computer_is_refused_and_the_server_is_not_even_asked(world):
    asked = len(world.server.asked)
    world.traits = computer("another")
    with pytest.raises(DeviceChanged):
        _opens(world)
    assert len(world.server.asked) == asked


def test_a_key_that_is_lost_takes_its_seat_back_by_replace(world, key):
    """The new key is a new device; what the old one held opens nothing any more."""
    (world.state / "device.key").unlink()
    with world.client() as client:
        with pytest.raises(NoFreeSeat) as caught:
            client.activate(key)
        chosen = caught.value.params["devices"][0]["device_id"]
        client.activate(key, replace=chosen)
        assert client.status().device_id != chosen
    assert _opens(world)


def test_a_disk_moved_to_another_computer_is_activated_there_with_replace(world, key, tmp_path):
    """The folder of the old computer opens nothing; the license key and `replace` move the seat."""
    moved = tmp_path / "moved"
    shutil.copytree(world.state, moved)
    world.traits = computer("another")
    with pytest.raises(DeviceChanged):
        _opens(world, moved)
    with world.client(moved) as client:
        with pytest.raises(NoFreeSeat) as caught:
            client.activate(key)
        client.activate(key, replace=caught.value.params["devices"][0]["device_id"])
    assert _opens(world, moved)
    assert not (moved / "previous").exists()


def test_a_computer_without_enough_traits_is_activated_and_shown_as_copyable(tmp_path):
    world = World(tmp_path / "bare", traits=device.gather([]))
    world.server.publish(MODEL)
    with world.client() as client:
        client.activate(world.server.issue("face.swap"))
        assert client.status().binding == "copyable"
    assert _opens(world)


def test_the_server_never_sees_a_raw_trait(world):
    for request in world.server.requests:
        told = str(request.traits) + str(request.missing)
        for reading in world.traits.readings:
            assert reading.value.reveal().decode() not in told
        assert len(request.traits) == 3
