"""Several processes over one store, threads at once, and servers that are killed."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.careful import Careful
from tests.server.processes import Far, Nursery, Process
from tests.server.world import Computer, Shop, scaled
from tests.store.snapshots import forget

from modelseal import audit
from modelseal.admin import IssueLicense, Role
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import VerifyKey
from modelseal.desk.remote import RemoteAdmin
from modelseal.errors import Forked, IdempotencyMismatch, ModelsealError, NoFreeSeat
from modelseal.license import tokens
from modelseal.license.claims import LeaseClaims
from modelseal.server.services import open_server
from modelseal.strict_json import b64u


def clock() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def here(tmp_path: Path, copied: Callable[[Path], Path]) -> Iterator[Shop]:
    """A shop opened in this process, by the real clock."""
    home = copied(tmp_path / "shop")
    with open_server(home) as server:
        shop = Shop(home, clock, server)  # type: ignore[arg-type]
        shop.plan("basic", "face.swap")
        yield shop


@pytest.fixture
def nursery(here: Shop) -> Iterator[Nursery]:
    """Where servers over that shop are started."""
    made = Nursery(here.home)
    yield made
    made.close()


@pytest.fixture
def two(here: Shop, nursery: Nursery) -> Iterator[list[Shop]]:
    """The shop as two server processes give it."""
    ends = [
        Far(here, lambda url=process.url: url) for process in (nursery.start(), nursery.start())
    ]
    yield [Shop(here.home, clock, end) for end in ends]  # type: ignore[arg-type]
    for end in ends:
        end.close()


def at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """What each act returned, or the error it raised; all begin at the same moment."""
    gate = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return act()
        except ModelsealError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_the_last_seats_go_to_as_many_as_there_are(here: Shop, two: list[Shop]) -> None:
    issued = here.license(seats=3)
    devices = [Computer(two[n % 2], f"c{n}") for n in range(10)]
    came = at_once([lambda d=d: d.activate(issued.license_key) for d in devices])
    assert sum(isinstance(answer, LeaseClaims) for answer in came) == 3
    assert sum(isinstance(answer, NoFreeSeat) for answer in came) == 7
    assert here.admin.show_license(issued.license_id).seats_used == 3
    assert len(here.events("device_activated")) == 3


@pytest.mark.parametrize("op", ["activate", "renew"])
def test_one_question_asked_at_both_at_once_is_one_act(
    here: Shop, two: list[Shop], op: str
) -> None:
    key = here.license(seats=2).license_key
    device = Computer(two[0])
    nonce, kem = b64u(random.randbytes(32)), KemPrivateKey.generate()
    if op == "renew":
        device.activate(key)
        asked = device.sign(device.request("renew", nonce=nonce, kem=device.kem(kem)))
        calls = [lambda e=e: e.server.devices.renew(device.device_id, asked) for e in two * 4]
    else:
        asked = device.activation(key, kem, nonce)
        calls = [lambda e=e: e.server.devices.activate(asked) for e in two * 4]
    came = at_once(calls)
    leases = [tokens.read(answer.lease, LeaseClaims, here.trust) for answer in came]
    assert len({(x.jti, x.seq, x.iat, x.exp, x.renew_after_at) for x in leases}) == 1
    assert len({answer.event_id for answer in came}) == 1
    keys = [device.opened(lease, kem) for lease in leases]
    assert all(found == keys[0] for found in keys)
    kind = "device_activated" if op == "activate" else "lease_renewed"
    assert len(here.events(kind)) == 1
    again = device.sign(
        device.request(op, nonce=nonce, kem=device.kem(KemPrivateKey.generate()))
        if op == "renew"
        else device.request(
            op, nonce=nonce, kem=device.kem(KemPrivateKey.generate()),
            license_key=device.sealed_key(key, nonce),
        )
    )  # fmt: skip
    with pytest.raises(IdempotencyMismatch):
        if op == "renew":
            two[1].server.devices.renew(device.device_id or "", again)
        else:
            two[1].server.devices.activate(again)


def test_different_renewals_of_one_device_at_once_give_one_lease(
    here: Shop, two: list[Shop]
) -> None:
    device = Computer(two[0])
    device.activate(here.license(seats=1).license_key)
    copies = [device.copy() for _ in range(6)]
    for number, copy in enumerate(copies):
        copy.shop = two[number % 2]
    came = at_once([copy.renew for copy in copies])
    assert sum(isinstance(answer, LeaseClaims) for answer in came) == 1
    assert sum(isinstance(answer, Forked) for answer in came) == 5
    row = here.admin.show_device(device.device_id or "")
    assert (row.state, row.seq) == ("forked", 7)


def test_one_idempotency_key_at_both_at_once_issues_one_license(
    here: Shop, nursery: Nursery
) -> None:
    token = here.admin.create_token(Role.OWNER, 3600, "race").token
    ends = [
        RemoteAdmin(process.url, token, trust=here.trust.raw)
        for process in (nursery.start(), nursery.start())
    ]
    wish = IssueLicense(plan="basic", customer="li@example.com", idempotency_key="order-1")
    came = at_once([lambda e=e: e.issue_license(wish) for e in ends * 4])
    assert len({answer.license_id for answer in came}) == 1
    assert all(answer == came[0] for answer in came)
    other = IssueLicense(plan="basic", customer="eve@example.com", idempotency_key="order-1")
    with pytest.raises(IdempotencyMismatch):
        ends[1].issue_license(other)
    assert len(here.admin.list_licenses().items) == len(here.events("license_issued")) == 1
    for end in ends:
        end.close()


class Customers:
    """Devices that activate and renew without end, each until its question is answered."""

    def __init__(self, here: Shop, key: str, threads: int, seed: int) -> None:
        self.here, self.key = here, key
        self.urls = ["", ""]
        self.devices: list[Careful] = []
        self.answered = threading.Semaphore(0)
        self.failed: list[BaseException] = []
        self._over = threading.Event()
        self._back = threading.Condition()
        self._guard = threading.Lock()
        self._names = itertools.count()
        self._threads = [
            threading.Thread(target=self._work, args=(n % 2, random.Random(seed + n)))
            for n in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def server_is(self, slot: int, url: str) -> None:
        with self._back:
            self.urls[slot] = url
            self._back.notify_all()

    def finish(self) -> None:
        self._over.set()
        self.server_is(0, self.urls[0])
        for thread in self._threads:
            thread.join(60)
        assert not self.failed, self.failed[0]

    def _work(self, slot: int, chance: random.Random) -> None:
        far = Far(self.here, lambda: self.urls[slot])
        shop = Shop(self.here.home, clock, far)  # type: ignore[arg-type]
        mine: list[Careful] = []
        try:
            while not self._over.is_set():
                if not mine or (len(mine) < 6 and chance.random() < 0.3):
                    mine.append(Careful(shop, f"c{next(self._names)}"))
                    with self._guard:
                        self.devices.append(mine[-1])
                self._ask(slot, chance.choice(mine))
        except BaseException as error:
            self.failed.append(error)
        finally:
            self.answered.release()
            far.close()

    def _ask(self, slot: int, device: Careful) -> None:
        op = "activate" if device.device_id is None else "renew"
        while not self._over.is_set():
            used = self.urls[slot]
            try:
                came = device.ask(op, "nothing", key=self.key)
            except httpx.HTTPError:
                self._wait_for_another(slot, used)
                continue
            assert came in ("allowed", "no_free_seat"), came
            self.answered.release()
            return

    def _wait_for_another(self, slot: int, url: str) -> None:
        with self._back:
            assert self._back.wait_for(lambda: self.urls[slot] != url or self._over.is_set(), 60)


def kill_again_and_again(here: Shop, nursery: Nursery, kills: int) -> None:
    """Two servers over one file are killed in turn, at any moment, some told to stop instead.

    What they answered stands, and nothing is half done.
    """
    issued = here.license(seats=8)
    chance = random.Random(7)
    customers = Customers(here, issued.license_key, threads=4, seed=11)
    running: list[Process] = [nursery.start(), nursery.start()]
    for slot, process in enumerate(running):
        customers.server_is(slot, process.url)
    customers.start()
    for number in range(kills):
        for _answer in range(chance.randint(1, 6)):
            assert customers.answered.acquire(timeout=60)
        threading.Event().wait(chance.uniform(0, 0.02))  # anywhere in what is under way
        slot = number % 2
        if chance.random() < 0.2:
            running[slot].stop()
        else:
            running[slot].kill()
        assert not customers.failed, customers.failed[0]
        running[slot] = nursery.start()
        customers.server_is(slot, running[slot].url)
    customers.finish()
    for device in customers.devices:
        device.shop = here
        if device.device_id is not None:
            assert device.ask("renew", "nothing") == "allowed"
    judge(here, issued.license_id, customers.devices)


def judge(here: Shop, license_id: str, devices: list[Careful]) -> None:
    """Nothing lost, nothing half-written, every answered act in the log, the log whole."""
    events = {event.event_id: event for event in here.events()}
    heard = [event_id for device in devices for event_id in device.heard]
    assert set(heard) <= set(events) and len(heard) > 0
    assert not [e for e in events.values() if e.kind.startswith("fork")]
    known = {record.device_id: record for record in here.admin.list_devices(license_id).items}
    active = {device.device_id: device for device in devices if device.device_id}
    assert set(known) == set(active) and len(known) == 8
    assert here.admin.show_license(license_id).seats_used == 8
    for device_id, device in active.items():
        assert known[device_id].seq == device.seq
        given = [
            event.params["seq"]
            for event in events.values()
            if event.subjects.get("device") == device_id and "lease" in event.params
        ]
        assert sorted(given) == list(range(1, device.seq + 1))
    keys = [VerifyKey.from_jwk(k.jwk, k.alg) for k in here.trust.keys("checkpoint")]  # type: ignore[arg-type]
    report = audit.verify_export(list(here.admin.export_events()), None, keys, None)
    assert report.events == len(events) + 1


def test_a_killed_server_loses_nothing_and_leaves_nothing_half_done(
    here: Shop, store: str, nursery: Nursery
) -> None:
    kill_again_and_again(here, nursery, scaled(store, 24))


@pytest.mark.soak
def test_a_server_killed_a_thousand_times_loses_nothing(here: Shop, nursery: Nursery) -> None:
    kill_again_and_again(here, nursery, 1000)


def test_servers_that_begin_an_empty_store_at_once_begin_it_once(
    tmp_path: Path, copied: Callable[[Path], Path]
) -> None:
    home = copied(tmp_path / "shop")
    nurseries = [Nursery(home) for _ in range(3)]
    try:
        for _ in range(2):
            forget(home)
            started = at_once([nursery.start for nursery in nurseries])
            for process in started:
                process.kill()
            with open_server(home) as server:
                kinds = [event.kind for event in Shop(home, clock, server).events()]  # type: ignore[arg-type]
            assert kinds == ["server_initialised"]
    finally:
        for nursery in nurseries:
            nursery.close()
