"""Several processes behind one address: started, counted, killed, stopped together."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.server.processes import Far, Nursery, Process, clock
from tests.server.test_operations import numbers
from tests.server.world import Computer, Shop

from modelseal.desk import certifying
from modelseal.desk import workspace as workspaces
from modelseal.errors import ConfigInvalid, Unavailable
from modelseal.server.board import Board, Place
from modelseal.server.services.config import ServerConfig
from modelseal.server.services.counts import BOUNDS, Counts
from modelseal.server.settings import settings_of
from modelseal.server.workers import HUNG_SECONDS, Silence

RENEWED = 'modelseal_requests_total{route="/v1/leases/{device_id}",status="200"}'
COMMAND = (sys.executable, "-c", "from modelseal.cli import run_and_exit; run_and_exit()")


@pytest.fixture
def three(nursery: Nursery) -> Process:
    """The shop as three processes at one address give it."""
    return nursery.start(workers=3)


def until(true: Callable[[], bool], seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@contextmanager
def alone(process: Process, pid: int) -> Iterator[None]:
    """Meanwhile only ``pid`` of the processes answers."""
    others = [each for each in process.workers() if each != pid]
    try:
        for other in others:
            os.kill(other, signal.SIGSTOP)
        assert until(lambda: all(map(is_stopped, others)))
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


def metrics_of_each(shop: Shop, process: Process) -> list[dict[str, float]]:
    found = []
    for pid in process.workers():
        with alone(process, pid):
            found.append(metrics(shop, process))
    return found


def metrics(shop: Shop, process: Process) -> dict[str, float]:
    """What one of the processes, whichever it is, says on a new connection."""
    tls = ssl.create_default_context(cadata=shop.trust.tls_ca)
    with httpx.Client(base_url=process.url, verify=tls, timeout=300) as client:
        return numbers(client.get("/metrics").text)


def test_numbers_of_all_processes_are_told_by_each(here: Shop, three: Process) -> None:
    """Renewals over connections of their own; every one is counted once, and is in the log once."""
    key = here.license(seats=4).license_key
    for n in range(4):
        far = Far(here, lambda: three.url)
        device = Computer(Shop(here.home, clock, far), f"c{n}")  # type: ignore[arg-type]
        device.activate(key)
        for _ in range(3):
            far.close()
            far = Far(here, lambda: three.url)
            device.shop = Shop(here.home, clock, far)  # type: ignore[arg-type]
            device.renew()
        far.close()
    assert until(lambda: metrics(here, three).get(RENEWED) == 12)
    assert until(lambda: [m.get(RENEWED) for m in metrics_of_each(here, three)] == [12] * 3)
    for found in metrics_of_each(here, three):
        assert found['modelseal_workers{state="up"}'] == 3
        assert found['modelseal_workers{state="wanted"}'] == 3
    assert until(lambda: here.server.log.waiting() == 0)
    assert len(here.events("lease_renewed")) == 12


def test_a_process_that_dies_is_replaced_and_what_it_counted_stays(
    here: Shop, three: Process
) -> None:
    far = Far(here, lambda: three.url, patience_seconds=240)
    device = Computer(Shop(here.home, clock, far), "c")  # type: ignore[arg-type]
    device.activate(here.license().license_key)
    for _ in range(4):
        device.renew()
    assert until(lambda: [m.get(RENEWED) for m in metrics_of_each(here, three)] == [4] * 3)
    before = set(three.workers())
    assert len(before) == 3
    for pid in list(before)[:2]:
        os.kill(pid, signal.SIGKILL)
    device.renew()
    assert until(lambda: len(three.workers()) == 3 and len(before & set(three.workers())) == 1)
    assert until(lambda: metrics(here, three)['modelseal_workers{state="up"}'] == 3)
    assert until(lambda: metrics(here, three)[RENEWED] == 5)
    far.close()


def test_a_process_that_hangs_is_killed_and_replaced(here: Shop, nursery: Nursery) -> None:
    """It has stopped in the middle of what it did and still holds the socket; the others go on."""
    house = nursery.start(workers=2, hung_seconds=4)
    hanging = house.workers()[0]
    os.kill(hanging, signal.SIGSTOP)
    assert until(lambda: hanging not in house.workers(), 120)
    assert until(lambda: len(house.workers()) == 2, 120)
    assert until(lambda: metrics(here, house)['modelseal_workers{state="up"}'] == 2, 120)


def test_only_what_is_not_heard_while_somebody_listens_counts_as_silence() -> None:
    silence = Silence(100.0)
    silence.look(5, 100.2)
    for at in range(101, 111):
        silence.look(5, float(at))
    assert silence.seconds == pytest.approx(9.8)
    silence.look(5, 5000.0)  # all were stopped, the listener too
    assert silence.seconds < HUNG_SECONDS
    silence.look(6, 5001.0)
    assert silence.seconds == 0
    board = Board(2)
    told = [board.beats(0)]
    for _ in range(3):
        Place(board, 0).beat()
        told.append(board.beats(0))
    assert len(set(told)) == 4 and board.beats(1) == 0


def test_workers_do_not_outlive_what_started_them(here: Shop, three: Process) -> None:
    behind = [Process(pid, three.url) for pid in three.workers()]
    three.kill()
    assert until(lambda: all(each.is_gone() for each in behind))
    host, port = three.url.removeprefix("https://").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_a_new_certificate_counts_in_each_of_them(here: Shop, three: Process) -> None:
    host, port = three.url.removeprefix("https://").split(":")

    def shown() -> set[str]:
        found = set()
        for pid in three.workers():
            with alone(three, pid):
                found.add(ssl.get_server_certificate((host, int(port))))
        return found

    [old] = shown()
    with workspaces.open(here.home) as desk:
        certifying.rotate_tls(desk, hosts=(), output=None)
    assert until(lambda: old not in shown())
    assert len(shown()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_with_all_its_processes(here: Shop, number: signal.Signals) -> None:
    """And says so, with the exit code of one process."""
    run = subprocess.Popen(
        [*COMMAND, "server", "run", "--home", str(here.home), "--listen", "127.0.0.1:0",
         "--workers", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stderr is not None
    said = ""
    while "listens on" not in said:
        line = run.stderr.readline()
        assert line, said
        said += line
    found = re.search(r"https://\S+", said)
    assert found is not None
    process = Process(run.pid, found[0])
    behind = [Process(pid, "") for pid in process.workers()]
    assert len(behind) == 2
    tls = ssl.create_default_context(cadata=here.trust.tls_ca)
    with httpx.Client(base_url=process.url, verify=tls, timeout=300) as client:
        assert client.get("/readyz").status_code == 200
        run.send_signal(number)
        _out, err = run.communicate(timeout=300)
    assert run.returncode == 0, said + err
    assert "stopped" in err
    assert all(each.is_gone() for each in behind)


def test_what_keeps_the_first_process_from_starting_is_the_commands_refusal(here: Shop) -> None:
    (here.home / "server/tls/server.pem").write_text("no certificate")
    codes = []
    for workers in ("1", "2"):
        done = subprocess.run(
            [*COMMAND, "server", "run", "--home", str(here.home), "--listen", "127.0.0.1:0",
             "--workers", workers],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        codes.append(done.returncode)
        assert "certificate" in done.stderr
    assert codes[0] == codes[1] != 0


@pytest.mark.parametrize("odd", ["0", "65", "-1", "many"])
def test_an_odd_number_of_workers_is_refused(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSEAL_WORKERS", odd)
    with pytest.raises(ConfigInvalid):
        settings_of(ServerConfig())
    assert settings_of(ServerConfig(workers=5), workers=3).workers == 3


def test_the_number_of_workers_is_the_flags_the_environments_or_the_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert settings_of(ServerConfig()).workers == 1
    assert settings_of(ServerConfig(workers=5)).workers == 5
    monkeypatch.setenv("MODELSEAL_WORKERS", "4")
    assert settings_of(ServerConfig(workers=5)).workers == 4
    assert settings_of(ServerConfig(workers=5), workers=3).workers == 3


def test_a_passphrase_is_asked_for_once(tmp_path: Path) -> None:
    """By the first process; the others, and those that replace them, are told."""
    home = tmp_path / "shop"
    workspaces.init(
        home, "facefusion", kek="file:kek.key?passphrase=ask", ask=lambda _purpose: "correct horse"
    )
    program = (
        "import sys\n"
        "from modelseal.server.run import serve\n"
        "def ask(purpose):\n"
        "    print('asked', flush=True)\n"
        "    return 'correct horse'\n"
        "serve(sys.argv[1], listen='127.0.0.1:0', workers=2, ask=ask,"
        " on_ready=lambda url: print(url, flush=True))\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program, str(home)], stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "asked\n"
    assert run.stdout.readline().startswith("https://")
    process = Process(run.pid, "")
    before = process.workers()
    os.kill(before[1], signal.SIGKILL)
    assert until(lambda: len(process.workers()) == 2 and process.workers() != before)
    run.terminate()
    out, _err = run.communicate(timeout=300)
    assert out == ""


def test_nobody_is_ready_before_all_are(shop: Shop) -> None:
    board = Board(2)
    shop.server.about.serve_with(Place(board, 0))
    board.set_up(0, True)
    with pytest.raises(Unavailable):
        shop.server.ready()
    board.set_up(1, True)
    shop.server.ready()
    board.set_up(1, False)  # one that is being replaced takes nothing from the others
    shop.server.ready()
    assert not shop.server.about.is_first or Place(board, 0).up() == (1, 2)


def test_what_is_told_is_read_whole_or_as_it_was_before() -> None:
    board, counts = Board(2), Counts()
    first, second = Place(board, 0), Place(board, 1)
    assert second.told() == [] and first.before() is None
    counts.count("/healthz", 200, BOUNDS[0])
    first.tell(counts.numbers())
    counts.count("/healthz", 200, 99.0)
    counts.count("/healthz", 503, 0.0)
    assert second.told()[0].calls == {"/healthz": {200: 1}}
    first.tell(counts.numbers())
    assert second.told() == [counts.numbers()]
    again = Counts(first.before())
    again.count("/healthz", 200, 0.0)
    assert again.numbers().calls == {"/healthz": {200: 3, 503: 1}}
    assert again.numbers().times["/healthz"] == [3, *[0] * (len(BOUNDS) - 1), 1]
