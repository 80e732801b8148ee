"""Copies of the state folder, edited files, other computers, other products."""

from __future__ import annotations

import shutil

import pytest
from tests.client.activated import MODEL, keys_of
from tests.client.world import computer, foundation

from modelseal import errors
from modelseal.errors import (
    ConfigInvalid,
    DeviceChanged,
    Forked,
    NoFreeSeat,
    ServerUnreachable,
    WrongDevice,
)


def test_a_copied_folder_on_another_computer_does_not_unlock(world, active, tmp_path):
    shutil.copytree(world.state, tmp_path / "copy")
    world.traits = computer("another")
    with world.client(tmp_path / "copy") as thief:
        assert thief.status().state == "ACTIVE"
        with pytest.raises(DeviceChanged) as caught:
            keys_of(thief)
        assert set(caught.value.params["traits"]) >= {"smbios_uuid", "machine_id"}
        with pytest.raises(DeviceChanged):
            thief.renew()


def test_a_refused_activation_on_another_computer_puts_the_old_state_back(
    world, active, key, tmp_path
):
    home = world.traits
    world.traits = computer("another")
    with world.client() as moved, pytest.raises(NoFreeSeat):
        moved.activate(key)
    world.traits = home
    with world.client() as back:
        assert keys_of(back) == MODEL.keys


def test_the_second_of_two_copies_is_told_that_it_is_one(world, active, key, tmp_path):
    """Found at the copy's first renewal; the key entered again heals it."""
    shutil.copytree(world.state, tmp_path / "copy")
    active.renew()
    with world.client(tmp_path / "copy") as copy:
        with pytest.raises(Forked):
            copy.renew()
        assert copy.status().state == "FORKED"
        with pytest.raises(Forked):
            keys_of(copy)
    with pytest.raises(Forked):
        active.renew()
    active.activate(key)
    assert keys_of(active) == MODEL.keys


def test_a_backup_restored_in_the_middle_of_a_question_is_no_fork(world, active, tmp_path):
    """The pending question lies in the backup, and the server gives its answer again."""
    world.server.hooks.append(_once("before", "PUT", ServerUnreachable("down")))
    with pytest.raises(ServerUnreachable):
        active.renew()
    shutil.copytree(world.state, tmp_path / "backup")
    active.renew()
    shutil.rmtree(world.state)
    shutil.copytree(tmp_path / "backup", world.state)
    with world.client() as restored:
        restored.renew()
        assert restored.status().lease.seq == 2
        assert keys_of(restored) == MODEL.keys


def _once(when, method, error):
    left = [error]

    def hook(moment, verb, path):
        if (moment, verb) == (when, method) and left:
            raise left.pop()

    return hook


FILES = ["license.jwt", "lease.jwt", "lease.key", "device.key", "state.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "huge", "noise"])
def test_an_edited_file_is_named_and_the_way_out_works(world, active, key, name, damage):
    place = world.state / name
    data = place.read_bytes()
    middle = len(data) // 2
    place.write_bytes({
        "empty": b"",
        "cut": data[:middle],
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "huge": data * 1 + b" " * (5 << 20),
        "noise": b"\xff\xfe\x00" * 50,
    }[damage])  # fmt: skip
    world.server.down = True
    with world.client() as client:
        with pytest.raises(errors.InvalidBytes) as caught:
            client.status()
            keys_of(client)
        assert caught.value.code == "state_damaged"
        assert name in caught.value.params["path"]
        assert caught.value.next_step
        world.server.down = False
        world.server.license_of(key).seats = 2
        client.activate(key)
        assert keys_of(client) == MODEL.keys


@pytest.mark.parametrize("damage", [b"", b"noise" * 30])
def test_keys_that_are_gone_are_fetched_by_the_load_that_needs_them(world, active, damage):
    """Erased while the clock was wrong, or damaged: one renewal, and a note in the journal."""
    (world.state / "lease.key").write_bytes(damage)
    with world.client() as client:
        assert keys_of(client) == MODEL.keys
        assert client.status().lease.seq == 2
        kinds = [(entry["kind"], entry.get("file")) for entry in client.journal.read()]
        assert ("state_damaged", "lease.key") in kinds


@pytest.mark.parametrize("name", ["license.jwt", "lease.jwt", "lease.key", "state.json"])
def test_a_deleted_file_comes_back_with_a_renewal(world, active, name):
    (world.state / name).unlink()
    with world.client() as client:
        client.renew()
        assert client.status().state == "ACTIVE"
        assert keys_of(client) == MODEL.keys


def test_a_lease_of_another_device_is_not_taken(world, active, key, tmp_path):
    world.server.license_of(key).seats = 2
    with world.client(tmp_path / "second") as second:
        second.activate(key)
    (world.state / "lease.jwt").write_bytes((tmp_path / "second" / "lease.jwt").read_bytes())
    with pytest.raises(WrongDevice):
        keys_of(active)


def test_a_trust_of_another_publisher_in_the_folder_is_not_believed(world, active):
    stranger = foundation.__wrapped__()
    (world.state / "trust.json").write_bytes(stranger.trust.raw)
    with world.client() as client:
        assert client.trust.raw == foundation().trust.raw
        assert keys_of(client) == MODEL.keys


def test_a_state_folder_of_another_product_is_refused(world, active):
    other = foundation("another").trust.raw
    from modelseal.client import Client

    with (
        Client(state=world.state, trust=other, ports=world.ports(), background=False) as client,
        pytest.raises(ConfigInvalid),
    ):
        client.status()


def test_the_state_remembers_server_and_trust(world, active):
    from modelseal.client import Client

    with Client(state=world.state, ports=world.ports(), background=False) as client:
        assert client.status().product == "facefusion"
        client.renew()
        assert keys_of(client) == MODEL.keys
