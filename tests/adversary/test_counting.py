"""``Client.count``: durable before it returns, told with each request, counted once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.adversary.world import Folder, Network
from tests.server.world import Shop

from modelseal.cli import standing
from modelseal.client import counting
from modelseal.errors import DiskFull, MeterExceeded, Misuse, NotActivated
from modelseal.license.plans import LeaseTerms, Meter

COUNTS = """
import sys
from modelseal import Client
with Client(state=sys.argv[1], trust=sys.argv[2], server="https://license.example.com",
            background=False) as client:
    while True:
        client.count("swaps")
        print(".", end="", flush=True)
"""


@pytest.fixture
def network(shop: Shop) -> Iterator[Network]:
    made = Network(shop)
    yield made
    made.end()


@pytest.fixture
def device(shop: Shop, network: Network, tmp_path: Path) -> Folder:
    """An activated device of a plan with 100 swaps a week."""
    shop.plan("metered", meters=[Meter(name="swaps", limit=100, per="week")])
    made = Folder(shop, network, tmp_path / "state", "laptop")
    assert made.activate(shop.license("metered").license_key) == "ok"
    return made


def used(shop: Shop) -> int:
    (meter,) = shop.admin.list_licenses().items[0].meters
    return meter.used


def test_what_is_counted_is_told_at_the_renewal_and_shown_before(
    shop: Shop, device: Folder
) -> None:
    with device.client() as client:
        assert [(m.used, m.left) for m in client.status().meters] == [(0, 100)]
        client.count("swaps", 30)
        client.count("swaps")
        assert [(m.used, m.left) for m in client.status().meters] == [(31, 69)]
        assert used(shop) == 0
        client.renew()
        client.renew()
        assert used(shop) == 31
        assert [(m.used, m.left) for m in client.status().meters] == [(31, 69)]


def test_a_lost_answer_counts_nothing_twice(shop: Shop, device: Folder, network: Network) -> None:
    with device.client() as client:
        client.count("swaps", 10)
        for lost in ("request", "answer", "answer"):
            network.lost = lost
            assert device.renew() == "server_unreachable"
            client.count("swaps", 10)
        client.renew()
        assert used(shop) == 40
        assert [m.used for m in client.status().meters] == [40]


def test_a_used_up_meter_ends_the_lease_and_the_next_period_gives_it_back(
    shop: Shop, device: Folder
) -> None:
    with device.client() as client:
        client.count("swaps", 100)
        with pytest.raises(MeterExceeded) as caught:
            client.renew()
        assert caught.value.params["meter"] == "swaps" and client.status().lease is None
        (meter,) = client.status().meters
        assert meter.left == 0 and meter.resets_at is not None
        shop.clock.now = meter.resets_at - timedelta(seconds=10)
        with pytest.raises(MeterExceeded):
            client.renew()
        shop.clock.now = meter.resets_at
        assert client.renew().meters[0].left == 100


def test_each_run_of_an_online_lease_tells_what_was_counted(
    shop: Shop, network: Network, tmp_path: Path
) -> None:
    model = shop.publish(tmp_path, "swap.bin", "face.swap")
    shop.plan(
        "online", enforcement="online", lease=LeaseTerms(max_seconds=86400),
        meters=[Meter(name="runs", limit=10, per="total")],
    )  # fmt: skip
    device = Folder(shop, network, tmp_path / "state", "laptop")
    assert device.activate(shop.license("online").license_key) == "ok"
    with device.client() as client:
        client.count("runs", 4)
    assert device.read(tmp_path / "swap.bin.sealed") == (tmp_path / "swap.bin").read_bytes()
    assert used(shop) == 4 and model.file_id


def test_giving_the_seat_back_tells_the_rest(shop: Shop, device: Folder) -> None:
    with device.client() as client:
        client.count("swaps", 7)
        client.deactivate()
        assert used(shop) == 7
        with pytest.raises(NotActivated):
            client.count("swaps")


def test_threads_and_clients_count_together(shop: Shop, device: Folder) -> None:
    def work() -> None:
        with device.client() as client:
            for _ in range(10):
                client.count("swaps")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert device.renew() == "ok" and used(shop) == 40


def test_a_killed_program_has_counted_what_it_was_told_was_counted(
    shop: Shop, device: Folder
) -> None:
    """No count that returned is lost, and none is made up, wherever the process dies."""
    told = 0
    for _ in range(3):
        command = [sys.executable, "-c", COUNTS, str(device.path), str(shop.home / "trust.json")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            told += len(process.stdout.read(25))
            process.send_signal(signal.SIGKILL)
            told += len(process.stdout.read())
        with device.client() as client:
            (meter,) = client.status().meters
        assert told <= meter.used <= told + 1
        told = meter.used


def test_counts_that_are_damaged_go_on_from_what_was_told(shop: Shop, device: Folder) -> None:
    with device.client() as client:
        client.count("swaps", 20)
        client.renew()
        path = device.path / counting.FOLDER / counting.FILE_NAME
        for damage in (b"", b"{", b"[]", os.urandom(80), b"x" * 100_000):
            path.write_bytes(damage)
            client.renew()
            client.count("swaps")
            client.renew()
        assert used(shop) == 25
        path.unlink()
        client.count("swaps")
        assert client.renew().meters[0].used == used(shop) == 26


def test_a_full_disk_counts_nothing(device: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelseal.client.folder import Folder as StateFolder

    def full(self: StateFolder, name: str, data: bytes) -> None:
        raise DiskFull("no room", path=str(self.path))

    with device.client() as client:
        client.count("swaps", 5)
        with monkeypatch.context() as patched:
            patched.setattr(StateFolder, "write", full)
            with pytest.raises(DiskFull):
                client.count("swaps")
        assert client.status().meters[0].used == 5


@pytest.mark.parametrize(
    ("meter", "number"),
    [("", 1), ("Swaps", 1), ("a b", 1), ("x" * 65, 1), (7, 1), ("a\n", 1),
     ("a", 0), ("a", -1), ("a", True), ("a", 1.5), ("a", "1"), ("a", 2**53)],
)  # fmt: skip
def test_what_is_no_meter_or_no_number_is_refused(
    device: Folder, meter: object, number: object
) -> None:
    with device.client() as client, pytest.raises(Misuse):
        client.count(meter, number)  # type: ignore[arg-type]


def test_a_person_reads_what_is_left(device: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    with device.client() as client:
        client.count("swaps", 3)
        standing.tell(client.status())
    assert "swaps: 3 of 100, 97 left, from 2026-03-02T00:00:00Z anew" in capsys.readouterr().out
