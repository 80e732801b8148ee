"""The heartbeat, its events, and callbacks that can neither block nor fail anything."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.world import World, seal

from modelseal.client import heartbeat
from modelseal.client.events import Event, EventName, Events
from modelseal.client.heartbeat import Heartbeat, Progress, Step
from modelseal.errors import LicenseRevoked, RateLimited, ServerFailed
from modelseal.types import LeaseState

MODEL = seal()
LIFE = 6 * 3600


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


def _names(client, told):
    assert client._events.drain(5)
    return [event.name for event in told]


def _beats(client, world, seconds):
    """Beats as the thread would, until ``seconds`` have passed on the clock."""
    until = world.clock.ticks + seconds
    while world.clock.ticks < until:
        wait = client._keeper.beat()
        world.clock.pass_(max(min(wait, until - world.clock.ticks), 0.5))


def test_left_alone_a_lease_is_renewed_from_a_third_of_its_life(client, world, told):
    _beats(client, world, LIFE // 3 - 600)
    assert client.status().lease.seq == 1
    _beats(client, world, LIFE // 6)
    assert client.status().lease.seq == 2
    assert _names(client, told) == [EventName.RENEW_DUE, EventName.RENEWED]


def test_three_lives_of_running_keep_one_lease_after_the_other(client, world, told):
    _beats(client, world, 3 * LIFE)
    assert client.status().state in ("ACTIVE", "RENEW_DUE")
    assert client.status().lease.seq >= 7
    assert EventName.OVERDUE not in _names(client, told)


def test_offline_the_app_is_warned_in_order_and_the_keys_end_with_the_lease(client, world, told):
    world.server.down = True
    _beats(client, world, LIFE + 1000)
    names = _names(client, told)
    assert names == [
        EventName.OFFLINE, EventName.RENEW_DUE, EventName.OVERDUE, EventName.EXPIRING,
        EventName.EXPIRED,
    ]  # fmt: skip
    assert told[-1].state == LeaseState.EXPIRED
    assert "keys_erased" in [e["kind"] for e in client.journal.read()]
    world.server.down = False
    _beats(client, world, 1200)
    assert client.status().state == "ACTIVE"


def test_a_clock_that_ran_ahead_leaves_a_lease_without_keys_and_the_status_says_so(
    client, world, told
):
    world.server.down = True
    assert not client.status().keys_erased
    client.close()
    world.clock.set(LIFE + 1000)
    with world.client() as ahead:
        ahead._keeper.beat()
        assert (ahead.status().state, ahead.status().keys_erased) == ("EXPIRED", False)
    world.clock.set(-LIFE - 1000)
    with world.client() as back:
        assert (back.status().state, back.status().keys_erased) == ("ACTIVE", True)
        world.server.down = False
        assert not back.renew().keys_erased


def test_a_running_client_learns_of_a_revocation_within_five_minutes(client, world, told):
    _beats(client, world, 1000)
    lic = next(iter(world.server.licenses.values()))
    lic.state = "revoked"
    _beats(client, world, 300)
    assert client.status().state == "REVOKED"
    assert not (world.state / "lease.jwt").exists()
    names = _names(client, told)
    assert EventName.REFUSED in names
    error = next(e.error for e in told if e.name is EventName.REFUSED)
    assert isinstance(error, LicenseRevoked)
    assert error.reference


def test_an_older_status_list_is_not_believed(client, world):
    _beats(client, world, 700)
    number = client.standing().record.status.number
    world.server.list_number = 0
    _beats(client, world, 300)
    assert client.standing().record.status.number == number
    assert "answer_invalid" not in str(client.status())


def test_a_status_list_for_another_address_is_not_asked(client, world):
    from modelseal.client import revocation
    from modelseal.errors import AnswerInvalid

    with pytest.raises(AnswerInvalid):
        revocation._fetch(client._core, "https://evil.example/lists/1")


def test_after_failures_the_server_is_asked_less_and_less_often(client, world):
    world.server.down = True
    world.clock.pass_(LIFE // 2)
    before = len(world.server.asked)
    _beats(client, world, 3600)
    asked = [path for method, path in world.server.asked[before:] if method == "PUT"]
    assert 4 <= len(asked) <= 12


def test_a_damaged_folder_does_not_end_the_heartbeat(client, world):
    (world.state / "lease.jwt").write_bytes(b"damaged")
    assert client._keeper.beat() > 0
    assert "heartbeat_failed" in [e["kind"] for e in client.journal.read()]


# -- what is due when (pure)


def test_a_server_that_asks_to_wait_is_waited_for(client):
    now = client.standing().now
    progress = Progress(poll_at=now)
    wait = heartbeat.retry_at(now, progress, RateLimited("", retry_after_seconds=77), 0.5)
    assert wait == now + timedelta(seconds=77)


@given(st.integers(0, 100), st.floats(0, 1))
def test_retries_lie_between_twenty_seconds_and_twenty_minutes(failures, spread):
    from tests.client.world import START

    progress = Progress(poll_at=START, failures=failures)
    wait = heartbeat.retry_at(START, progress, ServerFailed(), spread) - START
    assert timedelta(seconds=20) < wait < timedelta(seconds=1200)


def test_devices_do_not_all_ask_at_the_same_moment(client):
    standing = client.standing()
    early = heartbeat.renewal_due_at(standing, 0.0)
    late = heartbeat.renewal_due_at(standing, 1.0)
    assert late - early == timedelta(seconds=LIFE / 10)
    assert late < standing.expires_at


def test_what_is_due_is_waited_for_and_no_longer(client):
    standing = client.standing()
    poll = Progress(poll_at=standing.now + timedelta(seconds=40))
    plan = heartbeat.next_step(standing, poll, 0.0)
    assert (plan.step, plan.seconds) == (Step.WAIT, 40.0)
    assert heartbeat.next_step(standing, Progress(poll_at=standing.now), 0.0).step is Step.POLL


# -- the thread


def _until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_thread_has_its_name_is_a_daemon_and_ends_with_the_client(world):
    world.clock.sleep = time.sleep
    with world.client(background=True) as client:
        client.activate(world.server.issue("face.swap"))
        client.standing()
        found = [t for t in threading.enumerate() if t.name == heartbeat.THREAD_NAME]
        assert len(found) == 1
        assert found[0].daemon
        client.standing()
        assert len([t for t in threading.enumerate() if t.name == heartbeat.THREAD_NAME]) == 1
    _until(lambda: not found[0].is_alive())


def test_no_thread_is_started_by_making_a_client_or_asking_its_status(world):
    before = set(threading.enumerate())
    with world.client(background=True) as client:
        client.status()
        assert set(threading.enumerate()) <= before


def test_a_beat_is_done_at_once_when_woken():
    beats = []
    thread = Heartbeat(lambda: beats.append(1) or 600.0, lambda event, s: event.wait(s))
    thread.start()
    _until(lambda: len(beats) == 1)
    thread.wake()
    _until(lambda: len(beats) == 2)
    thread.stop()
    assert not thread.running
    thread.start()
    assert not thread.running


FORK = """
import os, sys, threading, time
from pathlib import Path
from tests.client.world import World, seal
model = seal()
world = World(Path(sys.argv[1]))
world.server.publish(model)
world.clock.sleep = time.sleep
client = world.client(background=True, on_event=lambda event: None)
client.activate(world.server.issue("face.swap"))
client.standing()
gate = threading.Event()
def hold():
    with client._core._guard, client._keeper._guard, client._clock._guard:
        gate.set(); time.sleep(60)
threading.Thread(target=hold, daemon=True).start()
gate.wait()
pid = os.fork()
if pid == 0:
    keys = client.keys_for(model.file_id, [0])
    named = [t.name for t in threading.enumerate()]
    ok = keys[0].reveal() == model.keys[0] and "modelseal-heartbeat" in named
    os._exit(0 if ok else 1)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_works_whatever_its_parents_threads_were_doing(tmp_path):
    """It opens models, has a heartbeat of its own and shares neither locks nor sockets."""
    arguments = [sys.executable, "-W", "ignore", "-c", FORK, str(tmp_path / "home")]
    assert subprocess.run(arguments, timeout=300).returncode == 0


# -- callbacks


def _event(name=EventName.RENEWED):
    from tests.client.world import START

    return Event(name, START, LeaseState.ACTIVE)


def test_a_callback_that_blocks_delays_nobody():
    entered, gate, got = threading.Event(), threading.Event(), []
    events = Events(lambda e: (entered.set(), gate.wait(60), got.append(e)), got.append)
    events.notify(_event())
    assert entered.wait(60)
    for _ in range(1000):
        events.notify(_event())
    assert got == []
    gate.set()
    assert events.drain(60)
    assert len(got) == 257  # the one in hand and the newest that fit
    events.close()


def test_a_callback_that_fails_is_noted_and_called_again(client, world):
    failed, got = [], []

    def callback(event):
        got.append(event)
        raise RuntimeError("app bug")

    events = Events(callback, failed.append)
    events.notify(_event())
    events.notify(_event(EventName.OFFLINE))
    assert events.drain(60)
    assert [e.name for e in got] == [EventName.RENEWED, EventName.OFFLINE]
    assert [type(e) for e in failed] == [RuntimeError, RuntimeError]
    events.close()


def test_a_callback_may_use_the_client(world):
    """Even one that renews or closes does not lock anything up."""
    done = threading.Event()
    holder = []

    def callback(event):
        if event.name is EventName.RENEWED and not done.is_set():
            holder[0].status()
            holder[0].close()
            done.set()

    client = world.client(on_event=callback)
    holder.append(client)
    client.activate(world.server.issue("face.swap"))
    client.renew()
    assert done.wait(60)


def test_the_callback_runs_in_one_named_thread(world):
    seen = []
    with world.client(on_event=lambda e: seen.append(threading.current_thread().name)) as client:
        client.activate(world.server.issue("face.swap"))
        client.renew()
        client.renew()
        assert client._events.drain(60)
    assert seen == ["modelseal-events"] * 2


def test_without_a_callback_nothing_is_started():
    events = Events(None, print)
    before = set(threading.enumerate())
    events.notify(_event())
    assert set(threading.enumerate()) <= before
    events.close()
