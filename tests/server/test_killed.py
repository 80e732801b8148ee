"""Servers that are killed: activation, renewal, return and revocation at any moment of them."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.server.careful import Careful
from tests.server.processes import Far, Nursery, Process, clock
from tests.server.world import Shop

from modelseal import audit
from modelseal.admin import IssuedLicense, Role
from modelseal.crypto.signing import VerifyKey
from modelseal.desk.remote import RemoteAdmin
from modelseal.errors import Unavailable
from modelseal.license.plans import Binding
from modelseal.server.services import open_server
from modelseal.server.store import seats as seat_store

SEATS = 8
CUSTOMERS = 4
LIMIT_SECONDS = 240


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> str:
    """Which kind of store the shop has."""
    return str(request.param)


@pytest.fixture
def here(tmp_path: Path, copied: Callable[[Path], Path]) -> Iterator[Shop]:
    """A shop opened in this process, by the real clock."""
    home = copied(tmp_path / "shop")
    with open_server(home) as server:
        shop = Shop(home, clock, server)  # type: ignore[arg-type]
        shop.plan("basic", "face.swap", binding=Binding(instant_returns_per_90d=1000))
        yield shop


class World:
    """Everybody who asks without end, each until the question is answered."""

    def __init__(self, here: Shop, seed: int) -> None:
        self.here = here
        self.shared = here.license(seats=SEATS)
        self.token = here.admin.create_token(Role.OWNER, 86400, "killer").token
        self.urls = ["", ""]
        self.devices: list[Careful] = []
        self.revoked: list[tuple[str, str]] = []
        self.answered = threading.Semaphore(0)
        self.failed: list[BaseException] = []
        self._over = threading.Event()
        self._back = threading.Condition()
        self._guard = threading.Lock()
        self._names = itertools.count()
        works = [self._use] * CUSTOMERS + [self._revoke]
        self._threads = [
            threading.Thread(target=self._work, args=(work, n % 2, random.Random(seed + n)))
            for n, work in enumerate(works)
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
            thread.join(LIMIT_SECONDS)
        assert not self.failed, self.failed[0]

    def _work(
        self, work: Callable[[Shop, int, random.Random], None], slot: int, chance: random.Random
    ) -> None:
        far = Far(self.here, lambda: self.urls[slot])
        shop = Shop(self.here.home, clock, far)  # type: ignore[arg-type]
        try:
            work(shop, slot, chance)
        except BaseException as error:
            self.failed.append(error)
        finally:
            self.answered.release()
            far.close()

    def _use(self, shop: Shop, slot: int, chance: random.Random) -> None:
        """Devices of one license: they activate, renew and give their seats back."""
        mine: list[Careful] = []
        while not self._over.is_set():
            if not mine or (len(mine) < 4 and chance.random() < 0.3):
                mine.append(Careful(shop, f"c{next(self._names)}"))
                with self._guard:
                    self.devices.append(mine[-1])
            device = chance.choice(mine)
            if device.device_id is None or device.returned:
                op = "activate"
            else:
                op = "return" if chance.random() < 0.25 else "renew"
            self._ask(slot, device, op, self.shared.license_key)

    def _revoke(self, shop: Shop, slot: int, chance: random.Random) -> None:
        """Licenses of one seat, each revoked in use: from the acknowledgement on, no lease."""
        admin, used = None, ""
        while not self._over.is_set():
            issued: IssuedLicense = self.here.license()
            device = Careful(shop, f"r{next(self._names)}")
            self._ask(slot, device, "activate", issued.license_key)
            while not self._over.is_set():
                try:
                    if admin is None or used != self.urls[slot]:
                        if admin is not None:
                            admin.close()
                        used = self.urls[slot]
                        admin = RemoteAdmin(used, self.token, trust=self.here.trust.raw)
                    admin.revoke_license(issued.license_id, "chargeback")
                except (Unavailable, httpx.HTTPError):
                    self._wait_for_another(slot, used)
                    continue
                self.answered.release()
                self.revoked.append((issued.license_id, device.device_id or ""))
                self._ask(slot, device, "renew", "", "license_revoked")
                break
        if admin is not None:
            admin.close()

    def _ask(self, slot: int, device: Careful, op: str, key: str, only: str | None = None) -> None:
        while not self._over.is_set():
            used = self.urls[slot]
            try:
                came = device.ask(op, "nothing", key=key)
            except httpx.HTTPError:
                self._wait_for_another(slot, used)
                continue
            assert came == only if only else came in ("allowed", "no_free_seat"), (op, came)
            self.answered.release()
            return

    def _wait_for_another(self, slot: int, url: str) -> None:
        with self._back:
            done = self._back.wait_for(
                lambda: self.urls[slot] != url or self._over.is_set(), LIMIT_SECONDS
            )
            assert done, "no server came back"


def kill_again_and_again(here: Shop, nursery: Nursery, kills: int) -> None:
    """Two servers over one store are killed in turn, at any moment, some told to stop instead.

    What they answered stands, and nothing is half done.
    """
    chance = random.Random(7)
    world = World(here, seed=11)
    running: list[Process] = [nursery.start(), nursery.start()]
    for slot, process in enumerate(running):
        world.server_is(slot, process.url)
    world.start()
    try:
        for number in range(kills):
            for _answer in range(chance.randint(1, 3)):
                assert world.answered.acquire(timeout=LIMIT_SECONDS)
            threading.Event().wait(chance.uniform(0, 0.02))  # anywhere in what is under way
            slot = number % 2
            if chance.random() < 0.1:
                running[slot].stop()
            else:
                running[slot].kill()
            assert not world.failed, world.failed[0]
            running[slot] = nursery.start()
            world.server_is(slot, running[slot].url)
    finally:
        world.finish()
    judge(here, world)


def judge(here: Shop, world: World) -> None:
    """No seat lost or doubled, no acknowledged revocation lost, every answer in a whole log."""
    for device in world.devices:
        device.shop = here
        left = device.pending.ask[0] if device.pending is not None else "renew"
        if device.device_id is None:
            left = "activate"
        elif left == "renew" and device.returned:
            continue
        assert device.ask(left, "nothing", key=world.shared.license_key) in (
            "allowed",
            "no_free_seat",
        )
    events = {event.event_id: event for event in here.events()}
    heard = [event_id for device in world.devices for event_id in device.heard]
    assert set(heard) <= set(events) and len(heard) > 0
    assert not [e for e in events.values() if e.kind.startswith("fork")]
    held = {d.device_id: d for d in world.devices if d.device_id and not d.returned}
    page = here.admin.list_devices(world.shared.license_id)
    known = {record.device_id: record for record in page.items}
    assert {name for name, record in known.items() if record.state == "active"} == set(held)
    seats = here.server.context.store.read(seat_store.of_license, world.shared.license_id)
    taken = [seat.device_id for seat in seats if seat.free_at is None]
    assert sorted(taken) == sorted(held) and len(seats) <= SEATS
    for device_id, device in held.items():
        assert known[device_id].seq == device.seq
        given = [
            event.params["seq"]
            for event in events.values()
            if event.subjects.get("device") == device_id and "lease" in event.params
        ]
        assert len(given) == len(set(given)) and max(given) == device.seq
    assert world.revoked
    for license_id, _device_id in world.revoked:
        assert here.admin.show_license(license_id).state == "revoked"
    told = [e.subjects["license"] for e in events.values() if e.kind == "license_revoked"]
    assert sorted(told) == sorted(set(told)) and set(told) >= {name for name, _ in world.revoked}
    keys = [VerifyKey.from_jwk(k.jwk, k.alg) for k in here.trust.keys("checkpoint")]  # type: ignore[arg-type]
    report = audit.verify_export(list(here.admin.export_events()), None, keys, None)
    assert report.events == len(events) + 1


def test_servers_killed_a_hundred_times_lose_nothing_and_leave_nothing_half_done(
    here: Shop, nursery: Nursery
) -> None:
    """Half of them over each store."""
    kill_again_and_again(here, nursery, 50)


@pytest.mark.soak
def test_servers_killed_a_thousand_times_lose_nothing(here: Shop, nursery: Nursery) -> None:
    kill_again_and_again(here, nursery, 1000)
