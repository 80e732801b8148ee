"""A client that runs for long: sleeping computers, long times offline, many clients, threads."""

from __future__ import annotations

import contextlib
import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref

import pytest
from tests.client.world import World, seal

from modelseal.errors import LeaseExpired, ModelsealError
from modelseal.types import LeaseState

MODEL = seal()
LIFE = 6 * 3600
HOUR = 3600


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    made.server.publish(MODEL)
    made.server.lease_seconds = LIFE
    return made


@pytest.fixture
def told():
    return []


@pytest.fixture
def client(world, told):
    with world.client(on_event=told.append) as made:
        made.activate(world.server.issue("face.swap"))
        yield made


def _opens(client):
    secrets = client.keys_for(MODEL.file_id, [1])
    found = secrets[1].reveal()
    secrets[1].close()
    return found == MODEL.keys[1]


def _names(client, told):
    assert client._events.drain(10)
    names = [str(event.name) for event in told]
    told.clear()
    return names


def _beats(client, world, seconds):
    until = world.clock.ticks + seconds
    while world.clock.ticks < until:
        wait = client._keeper.beat()
        world.clock.pass_(max(min(wait, until - world.clock.ticks), 0.5))


# -- sleeping computers


def test_a_computer_that_slept_past_the_renewal_renews_with_the_first_beat(world, client, told):
    """Asleep the monotonic clock stands still and the wall clock does not."""
    _beats(client, world, 600)
    world.clock.set(4 * HOUR + HOUR // 2)
    _beats(client, world, 5)
    assert _names(client, told) == ["overdue", "renewed"]
    assert client.status().lease.seq == 2


def test_a_computer_that_slept_past_the_end_wakes_offline_and_is_renewed_when_back(
    world, client, told
):
    world.server.down = True
    world.clock.set(2 * LIFE)
    _beats(client, world, 600)
    assert _names(client, told) == ["expired", "offline"]
    with pytest.raises(LeaseExpired):
        _opens(client)
    world.server.down = False
    _beats(client, world, 1200)
    assert _names(client, told) == ["renewed"]
    assert _opens(client)


def test_a_load_right_after_waking_does_not_wait_for_the_beat(world, client):
    world.clock.set(2 * LIFE)
    assert _opens(client)
    assert client.status().lease.seq == 2


# -- long offline


def test_offline_for_a_whole_life_every_event_comes_once_and_in_order(world, client, told):
    world.server.down = True
    _beats(client, world, LIFE + HOUR)
    assert _names(client, told) == ["offline", "renew_due", "overdue", "expiring", "expired"]
    _beats(client, world, LIFE)
    assert _names(client, told) == []
    world.server.down = False
    _beats(client, world, HOUR)
    assert _names(client, told) == ["renewed"]
    world.server.down = True
    _beats(client, world, HOUR)
    assert _names(client, told) == ["offline"]


def test_a_flapping_server_is_told_each_time_it_goes_and_never_asked_in_a_storm(
    world, client, told
):
    for _ in range(5):
        world.server.down = True
        _beats(client, world, 700)
        world.server.down = False
        _beats(client, world, 700)
    assert _names(client, told) == ["offline"] * 5
    assert len(world.server.asked) < 40


def test_events_carry_the_state_and_the_end_of_their_moment(world, client, told):
    ends = client.status().lease.expires_at
    world.server.down = True
    _beats(client, world, LIFE + HOUR)
    assert client._events.drain(10)
    states = {str(event.name): event.state for event in told}
    assert states["renew_due"] is LeaseState.RENEW_DUE
    assert states["overdue"] is LeaseState.OVERDUE
    assert states["expired"] is LeaseState.EXPIRED
    assert {event.expires_at for event in told} == {ends}
    assert [event.at for event in told] == sorted(event.at for event in told)
    offline = next(event for event in told if event.name == "offline")
    assert offline.error.code == "server_unreachable"


def test_a_restored_server_that_does_not_know_the_lease_is_an_outage_and_no_refusal(
    world, client, told
):
    """503 without a denial: the lease goes on, and the next answer is taken as ever."""
    known = dict(world.server.devices)
    device = next(iter(known.values()))
    seq, device.seq = device.seq, 0
    world.clock.pass_(LIFE // 2)
    client._keeper.beat()
    assert _names(client, told) == ["renew_due", "offline"]
    assert _opens(client)
    device.seq = seq
    _beats(client, world, HOUR)
    assert "renewed" in _names(client, told)


# -- callbacks


@pytest.mark.parametrize("raised", [ValueError("x"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_callback_raises_the_next_event_comes(world, raised):
    seen = []

    def callback(event):
        seen.append(str(event.name))
        raise raised

    with world.client(on_event=callback) as client:
        client.activate(world.server.issue("face.swap"))
        for _ in range(3):
            client.renew()
            assert client._events.drain(60)
        assert seen == ["renewed"] * 3
        kinds = [entry["kind"] for entry in client.journal.read()]
        assert kinds.count("callback_failed") == 3


def test_a_callback_that_never_returns_keeps_neither_loads_nor_renewals_nor_close(world):
    never, entered = threading.Event(), threading.Event()

    def callback(event):
        entered.set()
        never.wait(60)

    with world.client(on_event=callback) as client:
        client.activate(world.server.issue("face.swap"))
        client.renew()
        assert entered.wait(60)
        _beats(client, world, 2 * LIFE)
        assert client.standing().running
        assert client.status().lease.seq >= 5
        assert _opens(client)
    never.set()


# -- many


def test_many_threads_of_one_client_load_renew_and_ask_at_once(world):
    world.clock.sleep = time.sleep
    client = world.client()
    client.activate(world.server.issue("face.swap"))
    failed, start = [], threading.Barrier(12)

    def work(number):
        try:
            start.wait()
            for _ in range(4):
                assert _opens(client)
                client.status()
                if number % 4 == 0:
                    client.renew()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    client.close()
    assert failed == []
    assert [d.state for d in world.server.devices.values()] == ["active"]


def test_many_clients_over_one_folder_come_and_go_and_leave_nothing(world):
    """Threads, descriptors and leases: as before; and nobody is taken for a copy."""
    world.clock.sleep = time.sleep
    with world.client() as first:
        first.activate(world.server.issue("face.swap"))
    threads, open_files = set(threading.enumerate()), _descriptors()
    failed = []

    def live():
        try:
            with world.client(background=True) as client:
                assert _opens(client)
                client.renew()
                assert _opens(client)
        except ModelsealError as error:
            failed.append(error.code)

    workers = [threading.Thread(target=live) for _ in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert failed == []
    _ended(set(threading.enumerate()) - threads)
    assert _descriptors() == open_files
    assert [d.state for d in world.server.devices.values()] == ["active"]


def _ended(threads):
    """``close`` waits a bounded time; a thread in the middle of its last step ends by itself."""
    for thread in threads:
        thread.join(60)
    assert [thread.name for thread in threads if thread.is_alive()] == []


def _descriptors():
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def test_a_client_cannot_be_pickled_or_copied_and_says_what_to_do(client):
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="in each process"):
            act(client)


def test_a_client_that_is_forgotten_ends_its_thread_with_the_process(tmp_path):
    """No close, no with: the interpreter still ends at once and with its own code."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.client.world import World, seal\n"
        "world = World(Path(sys.argv[1])); model = seal(); world.server.publish(model)\n"
        "world.clock.sleep = time.sleep\n"
        "client = world.client(background=True, on_event=print)\n"
        "client.activate(world.server.issue('face.swap'))\n"
        "client.keys_for(model.file_id, [1])\n"
        "client.renew()\n"
        "sys.exit(4)\n"
    )
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "box")],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert child.returncode == 4, child.stderr
    assert child.stderr == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_children_forked_by_many_threads_all_work(world, client):
    """Forks while other threads load, renew and tell: no child hangs in a lock of its parent."""
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            with contextlib.suppress(ModelsealError):
                _opens(client)
                client.status()

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        codes = []
        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                os._exit(0 if _opens(client) and client.status().state == "ACTIVE" else 1)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert codes == [0] * 5


def test_a_client_that_nobody_can_use_any_more_ends_its_thread(world):
    """Programs that make a client per request and close none do not gather threads."""
    beats = []

    def wait(event, _seconds):
        beats.append(event)
        return event.wait(60)

    client = world.client(background=True)
    client._heartbeat._wait = wait
    client.activate(world.server.issue("face.swap"))
    client.standing()
    thread = client._heartbeat._thread
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
    while thread.is_alive():
        if beats:
            beats[-1].set()
        thread.join(0.01)


def test_a_lease_put_into_the_folder_does_not_turn_the_runs_clock_back(world, client):
    """Only an answer of the server's starts the run's clock anew."""
    old = (world.state / "lease.jwt").read_bytes()
    client.renew()
    world.clock.pass_(LIFE - 60)
    world.server.down = True
    (world.state / "lease.jwt").write_bytes(old)
    world.clock.set(-LIFE)
    newest = client.standing().lease.jti
    assert client._keeper.renew(seen="lea_of_another").jti == newest
    world.clock.pass_(120)
    assert client.standing().now >= client.status().lease.expires_at
