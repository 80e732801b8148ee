"""A computer that changes a little, much, or too often; processes that run without anybody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from tests.client.world import World, computer, seal

from modelseal import device
from modelseal.device import TraitKind, TraitReading, TraitValue
from modelseal.errors import DeviceChanged

MODEL = seal()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    made.server.publish(MODEL)
    with made.client() as client:
        client.activate(made.server.issue("face.swap"))
    return made


def _swap(traits, kind, text):
    """The same computer with another value of one kind."""
    others = [r for r in traits.readings if r.kind != kind]
    return device.gather([*others, TraitReading(kind, TraitValue(text.encode()))])


def _opens(world):
    with world.client() as client:
        return client.keys_for(MODEL.file_id, [0, 1])[1].reveal() == MODEL.keys[1]


def test_one_changed_trait_changes_nothing_for_the_user(world):
    world.server.down = True
    world.traits = _swap(world.traits, TraitKind.MACHINE_ID, "reinstalled")
    assert _opens(world)
    assert _opens(world)


def test_the_third_change_in_a_row_without_contact_is_refused_and_contact_heals(world):
    world.server.down = True
    for step in ("first", "second"):
        world.traits = _swap(world.traits, TraitKind.MACHINE_ID, step)
        assert _opens(world)
    world.traits = _swap(world.traits, TraitKind.MACHINE_ID, "third")
    with pytest.raises(DeviceChanged) as caught:
        _opens(world)
    assert caught.value.params["traits"] == ["machine_id"]
    world.server.down = False
    assert _opens(world)
    world.server.down = True
    assert _opens(world)


def test_another_computer_is_refused_even_online(world):
    asked = len(world.server.asked)
    world.traits = computer("another")
    with pytest.raises(DeviceChanged):
        _opens(world)
    assert len(world.server.asked) == asked


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


PROGRAM = """
import os, sys, threading, time
from pathlib import Path
from tests.client.world import World, seal, foundation
world = World(Path(sys.argv[1]))
world.server.publish(seal())
world.environ["MODELSEAL_LICENSE_KEY"] = world.server.issue("face.swap")
client = world.client()
client.standing()
def report(when, method, path):
    if path.endswith(":return") and when == "after":
        print("returned", flush=True)
world.server.hooks.append(report)
{extra}
print("running", flush=True)
time.sleep(30)
"""


def _end_by_sigterm(tmp_path, extra=""):
    code = textwrap.dedent(PROGRAM).format(extra=extra)
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "box")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "running\n"
    child.send_signal(signal.SIGTERM)
    out, _ = child.communicate(timeout=30)
    return child.returncode, out


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_container_gives_its_seat_back_at_sigterm_and_dies_of_it(tmp_path):
    code, out = _end_by_sigterm(tmp_path)
    assert out == "returned\n"
    assert code == -signal.SIGTERM


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_program_with_a_handler_of_its_own_keeps_it(tmp_path):
    extra = "import signal; signal.signal(signal.SIGTERM, lambda *a: os._exit(7))"
    code, out = _end_by_sigterm(tmp_path, extra)
    assert (code, out) == (7, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_gives_nothing_back(tmp_path):
    extra = (
        "pid = os.fork()\n"
        "if pid == 0: time.sleep(30)\n"
        "os.kill(pid, 15); os.waitpid(pid, 0); world.server.hooks.clear()"
    )
    code, out = _end_by_sigterm(tmp_path, extra)
    assert code == -signal.SIGTERM
    assert out == ""
