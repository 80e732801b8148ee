"""Processes that run without anybody: activated from the environment, ended by a signal.

Every signal goes to a child of its own; nothing is arranged in the test run itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from tests.client.world import World, seal

from modelseal.client import unattended
from modelseal.errors import LicenseRevoked

MODEL = seal()
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

PROGRAM = """
import atexit, os, signal, sys, threading, time
from pathlib import Path
from tests.client.world import World, seal

world = World(Path(sys.argv[1]))
world.server.publish(seal())
world.environ["MODELSEAL_LICENSE_KEY"] = world.server.issue("face.swap")
world.clock.sleep = time.sleep
never = threading.Event()

def say(*words):
    print(*words, flush=True)

def report(when, method, path):
    if path.endswith(":return") and when == "after":
        say("returned")

world.server.hooks.append(report)
client = world.client()
atexit.register(say, "atexit of the program")
{body}
"""


def _run(tmp_path, body, *, signals=1, number=signal.SIGTERM):
    """Runs the program, sends it ``signals`` signals, one after each line ``ready``."""
    code = PROGRAM.replace("{body}", textwrap.dedent(body))
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "box")], stdout=subprocess.PIPE, text=True
    )
    lines = []
    with child:
        try:
            for line in child.stdout:
                if line == "ready\n" and signals:
                    signals -= 1
                    child.send_signal(number)
                else:
                    lines.append(line.rstrip("\n"))
        finally:
            child.kill()
    return child.returncode, lines


def test_the_seat_goes_back_and_the_process_dies_of_sigterm_as_it_would_have(tmp_path):
    """No handler runs at exit, exactly as without modelseal."""
    code, said = _run(tmp_path, "client.standing(); say('ready'); never.wait(60)")
    assert (code, said) == (-signal.SIGTERM, ["returned"])


def test_a_main_thread_that_has_ended_still_ends_by_the_signal(tmp_path):
    body = """
    client.standing()
    def late(when, method, path):
        if when == "before" and path.endswith(":return"):
            threading.main_thread().join()
    world.server.hooks.append(late)
    say("ready")
    while not any(t.name == "modelseal-return" for t in threading.enumerate()):
        time.sleep(0.01)
    """
    code, said = _run(tmp_path, body)
    assert (code, said) == (-signal.SIGTERM, ["returned"])


def test_a_handler_of_the_program_is_called_and_decides_how_it_ends(tmp_path):
    """It exits in order with a code of its own; the seat is free by then."""
    body = """
    def mine(number, frame):
        say("mine", number, frame is not None)
        sys.exit(7)
    signal.signal(signal.SIGTERM, mine)
    client.standing()
    say("ready")
    never.wait(60)
    """
    code, said = _run(tmp_path, body)
    assert code == 7
    assert said == ["returned", "mine 15 True", "atexit of the program"]


def test_a_program_that_goes_on_is_activated_again_and_gives_back_again(tmp_path):
    body = """
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *a: asked.set())
    client.standing()
    say("ready")
    asked.wait(60)
    say(client.standing().running)
    """
    code, said = _run(tmp_path, body)
    assert (code, said) == (0, ["returned", "True", "returned", "atexit of the program"])


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_web_server_ends_in_its_own_way_and_its_seat_is_free(tmp_path, when):
    """uvicorn takes the handler away and raises the signal anew: an exit handler never runs."""
    body = """
    import uvicorn
    async def app(scope, receive, send):
        while scope["type"] == "lifespan":
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.startup":
                client.standing()
                say("ready")
            else:
                return
    if WHEN == "before":
        client.standing()
    uvicorn.run(app, host="127.0.0.1", port=0, log_level="critical")
    """
    code, said = _run(tmp_path, body.replace("WHEN", repr(when)))
    assert (code, said) == (-signal.SIGTERM, ["returned"])


def test_asyncio_handlers_of_the_program_run_too(tmp_path):
    body = """
    import asyncio
    async def main():
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        client.standing()
        say("ready")
        await asyncio.wait_for(stop.wait(), 60)
        say("stopped")
    asyncio.run(main())
    """
    code, said = _run(tmp_path, body)
    assert (code, said) == (0, ["returned", "stopped", "atexit of the program"])


def test_a_server_that_never_answers_delays_the_programs_handler_a_moment_only(tmp_path):
    body = """
    from modelseal.client import unattended
    unattended.HANDLER_SECONDS = 0.1
    signal.signal(signal.SIGTERM, lambda *a: os._exit(6))
    client.standing()
    def hangs(when, method, path):
        if when == "before" and path.endswith(":return"):
            never.wait(60)
    world.server.hooks.append(hangs)
    say("ready")
    never.wait(60)
    """
    assert _run(tmp_path, body) == (6, [])


def test_a_signal_in_the_middle_of_a_renewal_deadlocks_nobody(tmp_path):
    """The main thread holds the folder's lock while its handler waits for the seat."""
    body = """
    from modelseal.client import unattended
    unattended.HANDLER_SECONDS = 0.2
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(8))
    client.standing()
    def interrupted(when, method, path):
        if when == "before" and method == "PUT":
            say("ready")
            never.wait(60)
    world.server.hooks.append(interrupted)
    client.renew()
    """
    code, _said = _run(tmp_path, body)
    assert code == 8


def test_a_handler_set_later_is_never_touched(tmp_path):
    body = """
    client.standing()
    signal.signal(signal.SIGTERM, lambda *a: os._exit(9))
    client.standing()
    say("ready")
    never.wait(60)
    """
    assert _run(tmp_path, body) == (9, [])


def test_a_program_that_ignores_the_signal_goes_on(tmp_path):
    body = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    client.standing()
    say("ready")
    os.kill(os.getpid(), signal.SIGTERM)
    say(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN, client.standing().running)
    """
    assert _run(tmp_path, body) == (0, ["True True", "atexit of the program"])


def test_used_from_another_thread_first_nothing_is_arranged(tmp_path):
    body = """
    other = threading.Thread(target=client.standing)
    other.start(); other.join()
    say(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
    say("ready")
    never.wait(60)
    """
    assert _run(tmp_path, body) == (-signal.SIGTERM, ["True"])


def test_an_ordinary_end_keeps_the_seat(tmp_path):
    """Only the signal says that the container goes; a batch run may come back."""
    code, said = _run(tmp_path, "client.standing()", signals=0)
    assert (code, said) == (0, ["atexit of the program"])


def test_an_interrupt_is_not_ours(tmp_path):
    body = """
    client.standing()
    try:
        say("ready")
        never.wait(60)
    except KeyboardInterrupt:
        say("interrupted")
    """
    code, said = _run(tmp_path, body, number=signal.SIGINT)
    assert (code, said) == (0, ["interrupted", "atexit of the program"])


def test_a_second_signal_ends_at_once_when_the_server_does_not_answer(tmp_path):
    body = """
    client.standing()
    def hangs(when, method, path):
        if when == "before" and path.endswith(":return"):
            say("ready")
            never.wait(60)
    world.server.hooks.append(hangs)
    say("ready")
    never.wait(60)
    """
    code, said = _run(tmp_path, body, signals=2)
    assert (code, said) == (-signal.SIGTERM, [])


def test_a_server_that_never_answers_delays_the_end_a_moment_only(tmp_path):
    body = """
    from modelseal.client import unattended
    unattended.PATIENCE_SECONDS = 0.1
    client.standing()
    def hangs(when, method, path):
        if when == "before" and path.endswith(":return"):
            never.wait(60)
    world.server.hooks.append(hangs)
    say("ready")
    never.wait(60)
    """
    assert _run(tmp_path, body) == (-signal.SIGTERM, [])


def test_offline_the_process_dies_all_the_same_and_the_journal_says_why(tmp_path):
    body = """
    client.standing()
    world.server.down = True
    say("ready")
    never.wait(60)
    """
    assert _run(tmp_path, body) == (-signal.SIGTERM, [])
    journal = (tmp_path / "box" / "state" / "journal").read_text()
    assert '"seat_not_returned","code":"server_unreachable"' in journal


def test_a_forked_child_gives_nothing_back_and_dies_of_the_signal(tmp_path):
    body = """
    client.standing()
    there, here = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(here, b"!")
        never.wait(60)
        os._exit(3)
    os.read(there, 1)
    os.kill(pid, signal.SIGTERM)
    _, ended = os.waitpid(pid, 0)
    say(os.WTERMSIG(ended), client.standing().running)
    """
    code, said = _run(tmp_path, body, signals=0)
    assert (code, said) == (0, ["15 True", "atexit of the program"])


def test_a_forked_child_with_its_parents_handler_gives_nothing_back_at_its_exit(tmp_path):
    body = """
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(5))
    client.standing()
    there, here = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(here, b"!")
        never.wait(60)
    os.read(there, 1)
    os.kill(pid, signal.SIGTERM)
    _, ended = os.waitpid(pid, 0)
    say(os.waitstatus_to_exitcode(ended))
    """
    code, said = _run(tmp_path, body, signals=0)
    assert (code, said) == (0, ["atexit of the program", "5", "atexit of the program"])


def test_two_clients_give_back_both_seats_under_one_handler(tmp_path):
    body = """
    other = World(Path(sys.argv[1]) / "other")
    other.environ.update(MODELSEAL_LICENSE_KEY=other.server.issue("face.swap"))
    other.server.hooks.append(report)
    client.standing()
    first = signal.getsignal(signal.SIGTERM)
    second = other.client()
    second.standing()
    say(signal.getsignal(signal.SIGTERM) is first)
    say("ready")
    never.wait(60)
    """
    code, said = _run(tmp_path, body)
    assert (code, said) == (-signal.SIGTERM, ["True", "returned", "returned"])


def test_given_back_by_the_program_nothing_is_asked_again(tmp_path):
    body = """
    client.standing()
    client.deactivate()
    say("ready")
    never.wait(60)
    """
    assert _run(tmp_path, body) == (-signal.SIGTERM, ["returned"])


# -- in this process, with no signal


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    made.server.publish(MODEL)
    made.environ["MODELSEAL_LICENSE_KEY"] = made.server.issue("face.swap")
    return made


def _in_thread(act):
    """``act`` in another thread, where no signal handler can be set; what it raised or gave."""
    found = []

    def run():
        try:
            found.append(act())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_a_container_activates_itself_at_first_use_and_only_once(world):
    with world.client() as client:
        assert client.status().state == "NOT_ACTIVATED"
        assert _in_thread(lambda: client.keys_for(MODEL.file_id, [1])[1].reveal()) == MODEL.keys[1]
        _in_thread(client.standing)
    assert world.server.asked.count(("POST", "/v1/devices")) == 1


def test_a_refusal_is_told_to_every_load_and_asked_once(world):
    """Many models are loaded at once; the server is not asked by each of them."""
    next(iter(world.server.licenses.values())).state = "revoked"
    with world.client() as client:
        for _ in range(5):
            error = _in_thread(client.standing)
            assert isinstance(error, LicenseRevoked)
            assert error.reference
        assert world.server.asked.count(("POST", "/v1/devices")) == 1
        world.clock.pass_(16)
        _in_thread(client.standing)
        assert world.server.asked.count(("POST", "/v1/devices")) == 2


def test_without_a_main_thread_nothing_is_arranged():
    before = signal.getsignal(signal.SIGTERM)
    assert _in_thread(lambda: unattended.give_back_at_sigterm(print)) is False
    assert signal.getsignal(signal.SIGTERM) is before
