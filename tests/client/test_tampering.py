"""A text editor and a clock: no key that should not be had, no paying user locked out.

What is believed is signed; ``state.json`` is a note. Whoever edits it may annoy himself, and one
renewal, or at worst the license key entered again, puts everything right.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from tests.client.world import World, computer, seal

from modelseal.errors import ClockSetBack, LeaseExpired, ModelsealError

SWAP, RESTORE = seal("swap.onnx"), seal("restore.onnx", entitlement="face.restore")
DAY = 86400
FILES = ("license.jwt", "lease.jwt", "lease.key", "device.key", "state.json")


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    made.server.publish(SWAP, RESTORE)
    return made


@pytest.fixture
def key(world):
    made = world.server.issue("face.swap", seats=2)
    with world.client() as client:
        client.activate(made)
    return made


def _opens(client, model=SWAP):
    return client.keys_for(model.file_id, [1])[1].reveal() == model.keys[1]


def _refused(world, model=SWAP, state=None):
    """The code with which a fresh run refuses to open ``model``."""
    with world.client(state) as client, pytest.raises(ModelsealError) as caught:
        client.keys_for(model.file_id, [1])
    return caught.value.code


def _edit(world, **changes):
    place = world.state / "state.json"
    value = json.loads(place.read_bytes())
    value.update(changes)
    text = json.dumps({n: v for n, v in value.items() if v is not None}, sort_keys=True)
    place.write_text(text.replace(", ", ",").replace(": ", ":"))


NOTES = {
    "seq ahead": {"seq": 900},
    "seq behind": {"seq": 0, "prev": None},
    "another device": {"device_id": "dev_01890a5d-ac96-774b-bcce-b302099a8057"},
    "another license": {"license_id": "lic_01890a5d-ac96-774b-bcce-b302099a8057"},
    "another server": {"server": "https://evil.example"},
    "returned": {"returned": True},
    "copyable": {"copyable": True},
    "heard of tomorrow": {"heard_at": 4_000_000_000},
    "seen next century": {"last_seen": 4_000_000_000, "last_contact": 4_000_000_000},
    "seen never": {"last_seen": 0, "heard_at": 0},
    "listed as revoked": {
        "status": {"number": 1, "value": 1, "idx": 0, "checked_at": 1, "exp": 4_000_000_000}
    },
    "a list of the future": {
        "status": {"number": 2**52, "value": 0, "idx": 0, "checked_at": 1, "exp": 4_000_000_000}
    },
    "a refusal": {"last_refusal": {"code": "license_revoked", "at": 1}},
    "a refusal nobody knows": {"last_refusal": {"code": "no_such_code", "at": 1}},
}


@pytest.mark.parametrize("note", NOTES)
def test_an_edited_note_locks_nobody_out_for_longer_than_one_renewal(world, key, note):
    _edit(world, **NOTES[note])
    with world.client() as client:
        client.status()
        client.renew()
        assert client.status().state == "ACTIVE"
        assert _opens(client)
    assert [d.state for d in world.server.devices.values()] == ["active"]


@pytest.mark.parametrize("note", NOTES)
def test_an_edited_note_opens_nothing_that_is_refused(world, key, note):
    world.server.license_of(key).state = "revoked"
    with world.client() as client, pytest.raises(ModelsealError):
        client.renew()
    _edit(world, **NOTES[note])
    world.server.down = True
    assert _refused(world)


def test_a_denial_that_is_deleted_brings_nothing_back(world, key):
    world.server.license_of(key).state = "suspended"
    with world.client() as client, pytest.raises(ModelsealError):
        client.renew()
    (world.state / "denial.jwt").unlink()
    (world.state / "journal").unlink()
    assert _refused(world) == "license_suspended"
    world.server.license_of(key).state = "active"
    with world.client() as client:
        client.renew()
        assert _opens(client)


def test_after_a_refusal_the_note_may_be_lost_and_a_resumed_license_still_works(world, key):
    world.server.license_of(key).state = "suspended"
    with world.client() as client, pytest.raises(ModelsealError):
        client.renew()
    (world.state / "state.json").unlink()
    world.server.license_of(key).state = "active"
    with world.client() as client:
        assert client.renew().state == "ACTIVE"
        assert _opens(client)


def test_without_its_note_and_lease_the_license_key_is_enough(world, key):
    for name in ("state.json", "lease.jwt"):
        (world.state / name).unlink()
    with world.client() as client:
        client.activate(key)
        assert _opens(client)
    assert [d.state for d in world.server.devices.values()] == ["active"]


# -- tokens of other times and places


def test_a_license_of_better_times_grants_nothing_that_the_lease_does_not(world, key):
    world.server.license_of(key).entitlements = ["face.swap", "face.restore"]
    with world.client() as client:
        client.renew()
        assert _opens(client, RESTORE)
    better = (world.state / "license.jwt").read_bytes()
    world.server.license_of(key).entitlements = ["face.swap"]
    with world.client() as client:
        client.renew()
    (world.state / "license.jwt").write_bytes(better)
    world.server.down = True
    assert _refused(world, RESTORE) == "key_not_in_lease"
    with world.client() as client:
        assert client.status().entitlements == ["face.swap"]
        assert _opens(client)


def test_a_license_of_somebody_else_opens_nothing_and_a_renewal_heals(world, key, tmp_path):
    other = world.server.issue("face.swap", "face.restore")
    world.traits, mine = computer("another"), world.traits
    with world.client(tmp_path / "other") as client:
        client.activate(other)
    world.traits = mine
    shutil.copy2(tmp_path / "other" / "license.jwt", world.state / "license.jwt")
    assert _refused(world, RESTORE)
    with world.client() as client:
        client.renew()
        assert client.status().entitlements == ["face.swap"]
        assert _opens(client)


@pytest.mark.parametrize("taken", [
    ["lease.jwt"], ["lease.key"], ["lease.jwt", "lease.key"], ["license.jwt", "lease.jwt"],
    ["license.jwt", "lease.jwt", "lease.key"], ["device.key"], ["device.key", "lease.key"],
    ["device.key", "lease.key", "lease.jwt"],
])  # fmt: skip
def test_files_of_another_activation_on_this_computer_open_nothing_more(
    world, key, tmp_path, taken
):
    """Mixing two activations of one computer: at most what one of them grants."""
    other = world.server.issue("face.restore")
    with world.client(tmp_path / "other") as client:
        client.activate(other)
    for name in taken:
        shutil.copy2(tmp_path / "other" / name, world.state / name)
    world.server.down = True
    opened = [model for model in (SWAP, RESTORE) if _quietly(world, model)]
    assert len(opened) <= 1
    world.server.down = False
    with world.client() as client:
        client.activate(key)
        assert _opens(client)


def _quietly(world, model):
    try:
        with world.client() as client:
            return _opens(client, model)
    except ModelsealError:
        return False


def test_a_lease_of_a_former_number_does_not_open_and_the_next_renewal_is_no_fork(world, key):
    old = (world.state / "lease.jwt").read_bytes()
    with world.client() as client:
        client.renew()
    (world.state / "lease.jwt").write_bytes(old)
    world.server.down = True
    assert _refused(world) == "state_damaged"
    world.server.down = False
    with world.client() as client:
        assert _opens(client)
    assert [d.state for d in world.server.devices.values()] == ["active"]


# -- the clock


def test_a_year_ahead_and_back_needs_one_contact_and_no_key(world, key):
    """Ahead the lease has ended and its keys are erased; back in time the next load renews."""
    world.server.down = True
    world.clock.set(365 * DAY)
    assert _refused(world) == "lease_expired"
    world.clock.set(-365 * DAY)
    world.server.down = False
    with world.client() as client:
        assert client.status().state == "ACTIVE"
        assert _opens(client)
    assert [d.state for d in world.server.devices.values()] == ["active"]


def test_a_year_ahead_while_running_and_back_the_heartbeat_puts_it_right(world, key):
    with world.client() as client:
        assert _opens(client)
        world.server.down = True
        world.clock.set(365 * DAY)
        client._keeper.beat()
        with pytest.raises(LeaseExpired):
            _opens(client)
        world.clock.set(-365 * DAY)
        world.server.down = False
        world.clock.pass_(16)
        assert _opens(client)
        assert client.status().state == "ACTIVE"


def test_contact_with_a_clock_a_year_ahead_is_forgotten_with_the_next(world, key):
    world.clock.set(365 * DAY)
    real, world.server.clock = world.clock, _Real(world.clock, -365 * DAY)
    with world.client() as client:
        client.renew()
    real.set(-365 * DAY)
    with world.client() as client:
        assert client.status().state == "ACTIVE"
        assert _opens(client)
        client._keeper.beat()  # the clock went back: a reason to ask, no lock
        assert client.status().clock.set_back is False


@dataclass
class _Right:
    """The server's own clock, which stays as it is."""

    at: datetime


class _Real:
    def __init__(self, clock, offset):
        self._clock, self._offset = clock, offset

    @property
    def at(self):
        return self._clock.at + timedelta(seconds=self._offset)


def test_back_and_forth_by_years_never_bricks_and_never_prolongs(world, key):
    ends, world.server.clock = None, _Right(world.clock.at)
    for jump in (-400, 900, -1000, 30, 475, -5):
        world.clock.set(jump * DAY)
        with world.client() as client:
            ends = client.status().lease.expires_at
            try:
                assert _opens(client)
            except (ClockSetBack, LeaseExpired, ModelsealError) as error:
                assert error.next_step
    assert ends is not None
    with world.client() as client:
        client.renew()
        assert _opens(client)


def test_set_back_before_the_lease_began_contact_is_all_it_takes(world, key):
    world.clock.set(-30 * DAY)
    world.server.clock = _Real(world.clock, 30 * DAY)
    assert _refused(world) == "clock_set_back"
    world.clock.set(30 * DAY)
    with world.client() as client:
        assert _opens(client)


def test_a_server_a_year_ahead_bricks_nobody_once_it_is_right(world, key):
    """What it signed meanwhile lies in the future; the next load asks, without being told to."""
    for license_ in world.server.licenses.values():
        license_.ends_at = None
    world.server.clock = _Real(world.clock, 365 * DAY)
    with world.client() as client:
        client.renew()
    world.server.down = True
    assert _refused(world) == "clock_set_back"
    world.server.down, world.server.clock = False, world.clock
    with world.client() as client:
        assert _opens(client)
        assert client.status().clock.set_back is False


# -- the whole folder


def test_the_whole_folder_on_another_computer_gives_no_key_whatever_is_edited(world, key, tmp_path):
    world.traits = computer("the thief's")
    for name in (None, *FILES):
        copy = tmp_path / f"copy-{name}"
        shutil.copytree(world.state, copy)
        if name is not None:
            (copy / name).unlink()
        assert _refused(world, state=copy)
    _edit(world, copyable=True)
    assert _refused(world) == "device_changed"
