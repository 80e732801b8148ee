"""One writer at a time."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from modelseal.client import lock
from modelseal.errors import StateBusy, StateNotWritable


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def _hold(folder, clock, seconds=1.0):
    return lock.exclusive(
        folder, timeout_seconds=seconds, monotonic=clock.monotonic, sleep=clock.sleep
    )


def test_a_second_holder_waits_and_then_is_busy(tmp_path):
    clock = Clock()
    with _hold(tmp_path, clock), pytest.raises(StateBusy) as caught, _hold(tmp_path, clock):
        pass
    assert clock.at >= 1.0
    assert caught.value.params["path"] == str(tmp_path)
    with _hold(tmp_path, clock):
        pass


def test_another_thread_is_excluded_too(tmp_path):
    seen = []

    def other():
        try:
            with _hold(tmp_path, Clock(), 0.1):
                seen.append("in")
        except StateBusy:
            seen.append("busy")

    with _hold(tmp_path, Clock()):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen == ["busy"]


def test_another_process_is_excluded_and_its_death_frees_the_lock(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from modelseal.client import lock\n"
        "with lock.exclusive(Path(sys.argv[1]), timeout_seconds=1, monotonic=time.monotonic,"
        " sleep=time.sleep):\n"
        "    print('in', flush=True); sys.stdin.readline()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "in\n"
    with pytest.raises(StateBusy), _hold(tmp_path, Clock()):
        pass
    child.kill()
    child.communicate()
    with _hold(tmp_path, Clock()):
        pass


def test_a_folder_that_is_a_file_is_not_writable(tmp_path):
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(StateNotWritable), _hold(tmp_path / "f", Clock()):
        pass


def test_a_child_forked_under_the_lock_does_not_keep_it(tmp_path):
    code = (
        "import os, sys, time; from pathlib import Path; from modelseal.client import lock\n"
        "with lock.exclusive(Path(sys.argv[1]), timeout_seconds=1, monotonic=time.monotonic,"
        " sleep=time.sleep):\n"
        "    if os.fork() == 0:\n"
        "        print('in', flush=True); sys.stdin.readline(); os._exit(0)\n"
        "os._exit(0)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "in\n"
    child.wait()
    with _hold(tmp_path, Clock()):
        pass
    child.communicate("\n")
