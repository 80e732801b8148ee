"""Many processes over one PostgreSQL: no sticky sessions, and nobody refused while they change."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from tests.server.processes import Far, Nursery, Process, clock
from tests.server.world import Computer, Shop
from tests.store.postgres import Postgres

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.desk import rotating
from modelseal.desk import workspace as workspaces
from modelseal.license import jws
from modelseal.license.claims import LeaseClaims
from modelseal.server import migrate
from modelseal.server.services import LocalAdmin
from modelseal.server.services.config import load
from modelseal.trust import Trust, Use

PATIENCE_SECONDS = 240
DEVICES = 6


@pytest.fixture
def store() -> str:
    """The kind of store that many hosts share."""
    return "postgresql"


@dataclass
class Elsewhere(Shop):
    """A shop whose trust is what the servers hold: a client that meets a new key asks them for it,
    and the desk's own file is written after the store.
    """

    held: Shop

    @property
    def trust(self) -> Trust:
        return self.held.server.context.trusted.current()


class House:
    """Servers behind a balancer that sends every question anywhere; ``live`` is its list."""

    def __init__(self, here: Shop, live: list[Process]) -> None:
        self.here, self.live = here, live
        self._ends: list[Far] = []
        self._running: list[Future[None]] = []

    def device(self, name: str) -> Computer:
        """A device that asks there."""
        end = Far(
            self.here, lambda: random.choice(self.live).url, patience_seconds=PATIENCE_SECONDS
        )
        self._ends.append(end)
        return Computer(Elsewhere(self.here.home, clock, end, self.here), name)  # type: ignore[arg-type]

    @contextmanager
    def renewing(self, key: str) -> Iterator[list[list[LeaseClaims]]]:
        """Devices renew one after another, for as long as this lasts; the leases of each."""
        over, leases = threading.Event(), [list[LeaseClaims]() for _ in range(DEVICES)]
        devices = [self.device(f"c{n}") for n in range(DEVICES)]
        for device in devices:
            device.activate(key)

        def renew(device: Computer, got: list[LeaseClaims]) -> None:
            while not over.wait(0.1):
                got.append(device.renew())

        with ThreadPoolExecutor(DEVICES) as pool:
            self._running = [
                pool.submit(renew, *each) for each in zip(devices, leases, strict=True)
            ]
            try:
                yield leases
            finally:
                over.set()
            for each in self._running:
                each.result()

    def further(self, leases: list[list[LeaseClaims]]) -> None:
        """Returns once every device has two leases more; fails when one of them was refused."""
        wanted = [len(got) + 2 for got in leases]
        end = time.monotonic() + PATIENCE_SECONDS
        while any(len(got) < least for got, least in zip(leases, wanted, strict=True)):
            for each in self._running:
                if each.done():
                    each.result()
            assert time.monotonic() < end
            time.sleep(0.05)

    def close(self) -> None:
        for end in self._ends:
            end.close()


@pytest.fixture
def house(here: Shop, nursery: Nursery) -> Iterator[House]:
    """Two servers of two processes each."""
    made = House(here, [nursery.start(workers=2), nursery.start(workers=2)])
    yield made
    made.close()


def unbroken(leases: list[list[LeaseClaims]]) -> None:
    """Returns when no device was given a place in its chain twice or left one out."""
    for got in leases:
        assert [lease.seq for lease in got] == list(range(2, len(got) + 2))


def test_a_life_may_be_answered_by_another_process_at_every_step(here: Shop, house: House) -> None:
    issued = here.license(seats=8)

    def live(n: int) -> Computer:
        device = house.device(f"c{n}")
        device.activate(issued.license_key)
        for _ in range(3):
            device.renew()
        if n % 2:
            device.give_back()
        return device

    with ThreadPoolExecutor(8) as pool:
        devices = list(pool.map(live, range(8)))
    # Four came back, two of them at once: the plan's instant returns.
    assert here.admin.show_license(issued.license_id).seats_used == 6
    assert len(here.events("device_returned")) == 4
    rows = [here.admin.show_device(device.device_id or "") for device in devices]
    assert [row.state for row in rows] == ["active", "returned"] * 4
    assert len(here.events("device_activated")) == 8
    assert len(here.events("lease_renewed")) == 24
    here.server.log.sequence()
    assert here.server.log.checkpoint().size == len(here.events())


def test_keys_rotate_under_renewals(here: Shop, house: House) -> None:
    """None is refused, and every process signs by the new key after it."""
    with house.renewing(here.license(seats=DEVICES).license_key) as leases:
        house.further(leases)
        with workspaces.open(here.home) as desk:
            rotating.rotate(desk, LocalAdmin(here.server), now=clock())
            newest = desk.trust.keys(Use.LEASE)[-1].kid
        house.further(leases)
        house.further(leases)
    unbroken(leases)
    device = house.device("late")
    device.activate(here.license(seats=1).license_key)
    for process in house.live * 3:
        end, kem = Far(here, lambda url=process.url: url), KemPrivateKey.generate()
        asked = device.sign(device.request("renew", kem=device.kem(kem)))
        answer = end.renew(device.device_id or "", asked)
        device._accept(answer.lease, answer.license, kem)
        end.close()
        assert jws.parse(answer.lease, max_bytes=1 << 20).signatures[0].kid == newest


def stopped(process: Process) -> None:
    """It has answered what was under way, and is gone."""
    behind = [Process(pid, "") for pid in process.workers()]
    process.stop()
    end = time.monotonic() + PATIENCE_SECONDS
    while not all(each.is_gone() for each in [process, *behind]):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("drained", [True, False], ids=["drained", "in use"])
def test_servers_are_replaced_one_by_one_under_renewals(
    here: Shop, house: House, nursery: Nursery, drained: bool
) -> None:
    """With the migration in between; none is refused, and none is asked twice where the balancer
    is told first.
    """
    with house.renewing(here.license(seats=DEVICES).license_key) as leases:
        for place in (0, 1):
            house.further(leases)
            old = house.live[place]
            if drained:
                house.live[place] = house.live[1 - place]
                house.further(leases)  # whoever had chosen the old one has its answer
            stopped(old)
            migrate(here.home)
            house.live[place] = nursery.start(workers=2)
        house.further(leases)
        if drained:
            assert sum(end.again for end in house._ends) == 0
    unbroken(leases)


def test_what_a_newer_release_adds_to_the_database_disturbs_no_process_of_this_one(
    here: Shop, house: House, postgres: Postgres
) -> None:
    """Columns, tables and indexes that come while renewals go on: the migrations that may run
    before the old processes are gone.
    """
    name = load(here.home / "server").database.partition("?")[0].rpartition("/")[2]
    with house.renewing(here.license(seats=DEVICES).license_key) as leases:
        house.further(leases)
        for statement in (
            "ALTER TABLE devices ADD COLUMN later_text TEXT",
            "ALTER TABLE licenses ADD COLUMN later_number BIGINT NOT NULL DEFAULT 0",
            "ALTER TABLE events ADD COLUMN later_json JSON",
            "CREATE TABLE later (id TEXT PRIMARY KEY)",
            "CREATE INDEX CONCURRENTLY later_index ON devices (later_text)",
        ):
            postgres.do(statement, database=name)
        house.further(leases)
        assert sum(end.again for end in house._ends) == 0
    unbroken(leases)
