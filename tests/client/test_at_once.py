"""Two at once, locks, and folders that refuse."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from tests.client.activated import MODEL, keys_of

from modelseal import errors
from modelseal.errors import (
    StateBusy,
)


def test_two_activating_at_once_end_with_one_seat(world, key):
    """The second waits for the lock, sees what the first got and takes it."""
    results = []
    world.clock.sleep = lambda seconds: time.sleep(0.01)
    with world.client() as one, world.client() as two:

        def enter(client):
            results.append(client.activate(key).state)

        gate = threading.Barrier(2)
        threads = [threading.Thread(target=lambda c=c: (gate.wait(), enter(c))) for c in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == ["ACTIVE", "ACTIVE"]
        assert keys_of(one) == keys_of(two) == MODEL.keys
    assert len(world.server.devices) == 1


def test_two_renewing_at_once_ask_once_and_never_fork(world, active):
    entered, go = threading.Event(), threading.Event()

    def slow(when, method, path):
        if (when, method) == ("before", "PUT"):
            entered.set()
            go.wait(60)

    world.server.hooks.append(slow)
    world.clock.sleep = lambda seconds: go.wait(0.01)
    with world.client() as other:
        first = threading.Thread(target=active.renew)
        first.start()
        assert entered.wait(60)
        second = threading.Thread(target=other.renew)
        second.start()
        go.set()
        first.join()
        second.join()
        assert active.status().lease.seq in (2, 3)
        assert keys_of(active) == keys_of(other) == MODEL.keys
    assert [d.state for d in world.server.devices.values()] == ["active"]


def test_a_lock_held_for_too_long_is_busy(world, active):
    code = (
        "import sys, time; from pathlib import Path; from modelseal.client import lock\n"
        "with lock.exclusive(Path(sys.argv[1]), timeout_seconds=1, monotonic=time.monotonic,"
        " sleep=time.sleep):\n"
        "    print('in', flush=True); sys.stdin.readline()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(world.state)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "in\n"
        with pytest.raises(StateBusy):
            active.renew()
        assert keys_of(active) == MODEL.keys
    finally:
        child.communicate("\n")


# -- folders that refuse


def test_a_folder_that_cannot_be_written_is_named(world, key, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with world.client(tmp_path / "file" / "state") as client:
        assert client.status().state == "NOT_ACTIVATED"
        with pytest.raises(errors.StateNotWritable) as caught:
            client.activate(key)
    assert str(tmp_path / "file") in caught.value.params["path"]


def test_a_full_disk_leaves_the_old_lease_in_force(world, active):
    from modelseal.client.folder import Folder

    class Full(Folder):
        full = True

        def _write_through(self, path, data):
            if Full.full:
                raise OSError(28, "No space left on device")
            super()._write_through(path, data)

    world.make_folder = Full
    with world.client() as client:
        with pytest.raises(errors.DiskFull):
            client.renew()
        assert client.status().lease.seq == 1
        assert keys_of(client) == MODEL.keys
        Full.full = False
        client.renew()
        assert client.status().lease.seq == 2
