"""The disk fills up before any write: our own error, the old state usable, and all well with room.

``FullDisk`` fails as the operating system does; a real full disk is in ``test_end_to_end.py``.
"""

from __future__ import annotations

import errno
import os

import pytest
from tests.client.world import World, seal

from modelseal.client.folder import Folder
from modelseal.errors import DiskFull, LicenseRevoked, LicenseSuspended, ModelsealError

MODEL = seal()
MOST = 40


class Disk:
    """Room for ``left`` more writes; None for as many as one likes."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.refused = 0

    def take(self) -> None:
        if self.left is None:
            return
        if self.left == 0:
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= 1


class FullDisk(Folder):
    def __init__(self, path, disk):
        super().__init__(path)
        self.disk = disk

    def _write_through(self, path, data):
        self.disk.take()
        path.write_bytes(data)

    def _sync(self):
        pass


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def world(tmp_path, disk):
    made = World(tmp_path / "home", make_folder=lambda path: FullDisk(path, disk))
    made.server.publish(MODEL)
    return made


def _opens(client):
    return client.keys_for(MODEL.file_id, [1])[1].reveal() == MODEL.keys[1]


def _at_every_write(disk, act):
    """Does ``act`` with room for 0, 1, 2, ... writes until it needs no more; yields its errors."""
    for room in range(MOST):
        disk.left, disk.refused = room, 0
        error = act()
        disk.left = None
        yield error
        if not disk.refused:
            return
    raise AssertionError("it never ended")


def _error_of(act):
    try:
        act()
    except ModelsealError as error:
        assert error.reason
        assert error.next_step
        assert error.reference
        return error
    return None


def test_activating_on_a_full_disk_costs_no_seat_and_works_with_room(world, disk):
    key = world.server.issue("face.swap")
    tried = 0
    for error in _at_every_write(disk, lambda: _error_of(lambda: _activate(world, key))):
        tried += error is not None
        assert error is None or isinstance(error, DiskFull)
        with world.client() as client:
            client.activate(key)
            assert _opens(client)
            client.deactivate(forget=True)
    assert tried >= 4
    assert len([d for d in world.server.devices.values() if d.state == "active"]) == 0


def _activate(world, key):
    with world.client() as client:
        client.activate(key)


@pytest.fixture
def client(world):
    with world.client() as made:
        made.activate(world.server.issue("face.swap"))
        yield made


def test_renewing_on_a_full_disk_keeps_models_open_and_never_forks(world, disk, client):
    tried = 0
    for error in _at_every_write(disk, lambda: _error_of(client.renew)):
        tried += error is not None
        assert error is None or isinstance(error, DiskFull)
        world.server.down = True
        assert _opens(client)
        world.server.down = False
        assert client.renew().state == "ACTIVE"
    assert tried >= 4


def test_loading_needs_no_room_at_all(world, disk, client):
    disk.left = 0
    assert _opens(client)
    with world.client() as another:
        assert _opens(another)
        assert another.status().state == "ACTIVE"


@pytest.mark.parametrize(("state", "error"), [
    ("revoked", LicenseRevoked), ("suspended", LicenseSuspended)
])  # fmt: skip
def test_a_full_disk_is_no_way_round_a_denial_and_a_resumed_license_works(
    world, disk, client, state, error
):
    """Whatever could be stored of it: nothing opens, the reason is told, nobody is a fork."""
    license_ = next(iter(world.server.licenses.values()))

    def refused():
        license_.state = state
        return _error_of(client.renew)

    for found in _at_every_write(disk, refused):
        assert isinstance(found, (error, DiskFull))
        if isinstance(found, error):
            world.server.down = True
            with pytest.raises(ModelsealError):
                _opens(client)
            world.server.down = False
        license_.state = "active"
        assert client.renew().state == "ACTIVE"
        assert _opens(client)


def test_giving_back_on_a_full_disk_leaves_nothing_that_opens_a_model(world, disk, client):
    """Without room for the question nothing has changed; once it was answered the keys are gone."""
    key = world.server.issue("face.swap")
    for error in _at_every_write(disk, lambda: _error_of(client.deactivate)):
        assert error is None or isinstance(error, DiskFull)
        taken = [d for d in world.server.devices.values() if d.state == "active"]
        if taken:
            assert _opens(client)
        else:
            with pytest.raises(ModelsealError):
                _opens(client)
        if error is not None:
            client.deactivate()
        client.activate(key)
