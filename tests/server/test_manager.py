"""What the service manager hears of the server it started, and what others see of its memory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from modelseal import trust
from modelseal.errors import ConfigInvalid
from modelseal.server.manager import Manager

PROGRAM = """
import sys
from pathlib import Path
from modelseal.server.run import serve
serve(Path(sys.argv[1]), listen="127.0.0.1:0", workers=int(sys.argv[2]))
"""
CLOSED = """
import ctypes, logging, os, resource
from modelseal.server.run import close_memory
logging.basicConfig()
resource.setrlimit(resource.RLIMIT_MEMLOCK, ({limit}, {limit}))
if os.getuid() == 0:
    os.setuid(65534)
close_memory()
print(ctypes.CDLL(None).prctl(3), *resource.getrlimit(resource.RLIMIT_CORE)[:1])
"""
SECONDS = 3.0


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[socket.socket]:
    """Where a service manager listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(300)
        yield listening


@pytest.mark.parametrize("workers", [1, 2])
def test_the_manager_hears_of_the_start_once_and_then_that_the_server_lives(
    tmp_path: Path, template: Path, ear: socket.socket, workers: int
) -> None:
    """Only the process that the manager started speaks, however many it has forked."""
    shutil.copytree(template, tmp_path / "shop")
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "shop"), str(workers)],
        env={
            **os.environ,
            "NOTIFY_SOCKET": ear.getsockname(),
            "WATCHDOG_USEC": str(int(SECONDS * 1e6)),
        },
    )
    heard: list[str] = []
    said_by = set()
    try:
        while heard.count("WATCHDOG=1") < 3 or not any("READY" in each for each in heard):
            said, more, _flags, _sender = ear.recvmsg(4096, socket.CMSG_SPACE(12))
            heard.append(said.decode())
            said_by.add(int.from_bytes(more[0][2][:4], sys.byteorder))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(300)
    [ready] = [each for each in heard if "READY" in each]
    assert ready.startswith("READY=1\nSTATUS=listens on https://127.0.0.1:")
    assert said_by == {process.pid}


def test_it_is_said_three_times_within_the_time_and_not_oftener(ear: socket.socket) -> None:
    at = [0.0]
    manager = Manager(
        {"NOTIFY_SOCKET": ear.getsockname(), "WATCHDOG_USEC": "3000000"}, clock=lambda: at[0]
    )
    for tenth in range(30):
        at[0] = tenth / 10
        manager.alive()
    ear.setblocking(False)
    assert [ear.recv(64) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    with pytest.raises(BlockingIOError):
        ear.recv(64)


@pytest.mark.parametrize(
    "more", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}]
)
def test_whoever_is_not_watched_says_nothing(ear: socket.socket, more: dict[str, str]) -> None:
    Manager({"NOTIFY_SOCKET": ear.getsockname(), **more}).alive()
    ear.setblocking(False)
    with pytest.raises(BlockingIOError):
        ear.recv(64)


@pytest.mark.parametrize("named", ["", "/nowhere/at/all", "@nobody", "vsock:2:1234"])
def test_without_a_manager_that_listens_nothing_fails(named: str) -> None:
    manager = Manager({"NOTIFY_SOCKET": named, "WATCHDOG_USEC": "1"})
    manager.ready("https://127.0.0.1:1")
    manager.alive()


def test_an_abstract_address_is_understood() -> None:
    name = f"modelseal-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.settimeout(300)
        Manager({"NOTIFY_SOCKET": "@" + name}).ready("https://x")
        assert listening.recv(100) == b"READY=1\nSTATUS=listens on https://x"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux")
@pytest.mark.parametrize(("limit", "warned"), [(65536, False), (0, True)])
def test_a_server_is_not_dumpable_and_says_where_keys_may_be_swapped(
    limit: int, warned: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLOSED.format(limit=limit)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["0", "0"]
    assert ("keys may reach the swap space" in done.stderr) == warned, done.stderr


GIVEN = """
import os, sys
from pathlib import Path
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
if int(sys.argv[2]) != 3:
    os.dup2(int(sys.argv[2]), 3)
from modelseal.cli import main
sys.exit(main(["server", "run", "--home", sys.argv[1], "--listen", sys.argv[3], "--workers", sys.argv[4]]))
"""  # noqa: E501


@pytest.fixture
def held() -> Iterator[socket.socket]:
    """An address that the service manager holds, whoever serves there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(64)
        yield bound


def given(home: Path, held: socket.socket, listen: str, workers: int = 1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", GIVEN, str(home), str(held.fileno()), listen, str(workers)],
        stderr=subprocess.PIPE, text=True, pass_fds=(held.fileno(),),
    )  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_a_connection_made_while_a_held_address_changes_servers_waits_and_is_answered(
    tmp_path: Path, template: Path, held: socket.socket, workers: int
) -> None:
    home = Path(shutil.copytree(template, tmp_path / "shop"))
    host, port = held.getsockname()
    tls = ssl.create_default_context(cadata=trust.parse((home / "trust.json").read_bytes()).tls_ca)
    url = f"https://{host}:{port}/healthz"
    first = given(home, held, f"{host}:{port}", workers)
    try:
        assert httpx.get(url, verify=tls, timeout=300).status_code == 200
    finally:
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=300)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(httpx.get, url, verify=tls, timeout=300)
        time.sleep(0.5)
        assert not asked.done()
        second = given(home, held, f"{host}:{port}", workers)
        try:
            assert asked.result(300).status_code == 200
        finally:
            second.send_signal(signal.SIGTERM)
            second.communicate(timeout=300)


def test_a_held_address_that_is_not_the_configured_one_is_refused(
    tmp_path: Path, template: Path, held: socket.socket
) -> None:
    """What lies beside a server is judged by the address that it is told; it has to be true."""
    home = Path(shutil.copytree(template, tmp_path / "shop"))
    process = given(home, held, "127.0.0.1:1")
    _out, err = process.communicate(timeout=300)
    assert process.returncode == ConfigInvalid.exit_code, err
    assert "127.0.0.1:1" in err
