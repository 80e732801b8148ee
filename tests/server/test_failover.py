"""The database fails over while renewals of a tick are written: all are answered, none twice."""

from __future__ import annotations

import os
import random
import shutil
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import event
from tests.server.careful import Careful
from tests.server.processes import Far, Nursery, clock
from tests.server.test_ticks import Fleet
from tests.server.world import Computer, Shop
from tests.store.postgres import Postgres, configure

from modelseal import audit
from modelseal.admin import Role
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import Unavailable
from modelseal.license import tokens
from modelseal.license.claims import LeaseClaims
from modelseal.server.services import open_server
from modelseal.server.services.ordinary import Asked
from modelseal.server.services.renewal import Renewed
from modelseal.strict_json import b64u

DEVICES = 12
CRASHES = 4
ANSWERS = 40
"""At least so many renewals are answered between two crashes, on both servers together."""
LIMIT_SECONDS = 240


@pytest.fixture
def failing(postgres: Postgres) -> Iterator[Postgres]:
    """A database server of its own, which keeps what it acknowledged. (The other one is started
    first, and ends last: they share a folder of locks.)
    """
    server = Postgres(durable=True)
    yield server
    server.close()


@pytest.fixture
def here(tmp_path: Path, template: Path, failing: Postgres) -> Iterator[Shop]:
    """A shop over it, opened in this process, by the real clock."""
    home = tmp_path / "shop"
    shutil.copytree(template, home)
    (home / "server" / "modelseal.db").unlink()
    configure(home, failing.url(failing.create()))
    with open_server(home) as server:
        shop = Shop(home, clock, server)  # type: ignore[arg-type]
        shop.plan("basic", "face.swap")
        yield shop


class Crowd:
    """Devices that renew without end, each asking the same question until it is answered."""

    def __init__(self, here: Shop, urls: list[str]) -> None:
        key = here.license(seats=DEVICES).license_key
        self._far = [Far(here, lambda url=url: url) for url in urls]  # type: ignore[misc]
        self.devices = [
            Careful(Shop(here.home, clock, self._far[n % len(urls)]), f"c{n}")  # type: ignore[arg-type]
            for n in range(DEVICES)
        ]
        for device in self.devices:
            assert device.ask("activate", "nothing", key=key) == "allowed"
        self.answered, self.came = threading.Semaphore(0), Counter[str]()
        self.failed: list[BaseException] = []
        self._over, self._guard = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._renew, args=(device,)) for device in self.devices
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, answers: int) -> None:
        for _ in range(answers):
            assert self.answered.acquire(timeout=LIMIT_SECONDS), self.came

    def finish(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(LIMIT_SECONDS)
        for far in self._far:
            far.close()

    def _renew(self, device: Careful) -> None:
        try:
            while not self._over.is_set() or device.pending is not None:
                came = self._once(device)
                with self._guard:
                    self.came[came] += 1
                if came == "allowed":
                    self.answered.release()
        except BaseException as error:
            self.failed.append(error)
            self.answered.release(1000)

    @staticmethod
    def _once(device: Careful) -> str:
        try:
            return device.ask("renew", "nothing")
        except httpx.HTTPError:
            return "broken"


def test_renewals_go_on_over_a_database_that_crashes_and_comes_back(
    here: Shop, failing: Postgres
) -> None:
    chance = random.Random(3)
    nursery = Nursery(here.home)
    try:
        crowd = Crowd(here, [nursery.start().url, nursery.start().url])
        try:
            for _ in range(CRASHES):
                crowd.wait(ANSWERS)
                threading.Event().wait(chance.uniform(0, 0.05))
                failing.crash()
                failing.start()
            crowd.wait(ANSWERS)
        finally:
            crowd.finish()
    finally:
        nursery.close()
    assert not crowd.failed, crowd.failed[0]
    assert crowd.came.keys() <= {"allowed", "unavailable"} and crowd.came["unavailable"]
    judge(here, crowd.devices)


def judge(here: Shop, devices: list[Careful]) -> None:
    """Each number of each device was given once, every answer stands, and the log is whole."""
    events = here.events()
    assert not [e for e in events if e.kind.startswith("fork") or e.kind == "store_behind"]
    for device in devices:
        mine = [e for e in events if e.subjects.get("device") == device.device_id]
        given = [e.params["seq"] for e in mine if "lease" in e.params]
        assert given == list(range(1, device.seq + 1))
        assert here.admin.show_device(device.device_id or "").seq == device.seq
        assert {e.event_id for e in mine} == set(device.heard)
    keys = [VerifyKey.from_jwk(k.jwk, k.alg) for k in here.trust.keys("checkpoint")]  # type: ignore[arg-type]
    report = audit.verify_export(list(here.admin.export_events()), None, keys, None)
    assert report.events == len(events) + 1


JWT = {"Content-Type": "application/jwt"}


def test_while_the_database_is_gone_every_call_is_503_and_nothing_has_changed_after_it(
    here: Shop, failing: Postgres
) -> None:
    nursery = Nursery(here.home)
    try:
        gone_and_back(here, failing, nursery.start().url)
    finally:
        nursery.close()


def gone_and_back(here: Shop, failing: Postgres, url: str) -> None:
    issued, kem = here.license(seats=2), KemPrivateKey.generate()
    device, other = Computer(here, "a"), Computer(here, "b")
    device.activate(issued.license_key)
    token = here.admin.create_token(Role.OWNER, 86400, "gone").token
    admin, signed = {"Authorization": f"Bearer {token}"}, device.sign
    nonce = b64u(os.urandom(32))
    sealed = other.sealed_key(issued.license_key, nonce)
    own = f"/v1/devices/{device.device_id}"
    asked = [
        ("POST", "/v1/devices", other.activation(issued.license_key, kem)),
        ("POST", "/v1/licenses:lookup",
         other.sign(other.request("lookup", nonce=nonce, license_key=sealed))),
        ("PUT", f"/v1/leases/{device.device_id}",
         signed(device.request("renew", kem=device.kem(kem)))),
        ("POST", f"{own}/key-releases", signed(device.request("release", kem=device.kem(kem)))),
        ("POST", f"{own}:return", signed(device.request("return"))),
    ]  # fmt: skip
    """The first three go together; the last two are of the place that a renewal leaves."""
    acts: list[tuple[str, str, Any]] = [
        ("POST", "/v1/admin/licenses", {"plan": "basic", "customer": "a"}),
        ("POST", f"/v1/admin/licenses/{issued.license_id}:revoke", {}),
        ("POST", f"{own.replace('/v1', '/v1/admin')}:revoke", {}),
        ("GET", "/v1/admin/licenses", None),
        ("GET", "/v1/status-lists/1", None),
        ("GET", "/v1/catalog/timestamp.json", None),
    ]
    before = told(here)
    tls = ssl.create_default_context(cadata=here.trust.tls_ca)
    with httpx.Client(base_url=url, verify=tls, timeout=240) as http:
        failing.crash()
        answers = [http.request(m, p, content=body, headers=JWT) for m, p, body in asked]
        answers += [http.request(m, p, json=body, headers=admin) for m, p, body in acts]
        for answer in answers:
            assert answer.status_code == 503 and answer.headers["retry-after"], answer.text
            assert answer.json()["code"] == "storage_failed" and "denial" not in answer.json()
        assert http.get("/healthz").status_code == 200
        assert http.get("/readyz").status_code == 503
        failing.start()
        assert told(here) == before
        again = [http.request(m, p, content=body, headers=JWT) for m, p, body in asked[:3]]
        assert [answer.status_code for answer in again] == [201, 200, 200]
        assert http.get("/readyz").status_code == 200


def told(here: Shop) -> Any:
    """Everything that a call could have changed; places in the log are given meanwhile."""
    api = here.admin
    events = [msgspec.structs.replace(each, index=None) for each in here.events()]
    events.sort(key=lambda each: each.event_id)
    return api.list_licenses().items, api.list_devices().items, events


class Cutter:
    """Ends every connection right before statement ``which`` of a write, once."""

    def __init__(self, shop: Shop, cut: Any, which: int) -> None:
        self.seen, self.done = 0, False
        self._engine, self._cut, self._which = shop.server.context.store.engine, cut, which

    def __enter__(self) -> Cutter:
        event.listen(self._engine, "before_cursor_execute", self._before)
        event.listen(self._engine, "commit", self._commit)
        return self

    def __exit__(self, *_how: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._before)
        event.remove(self._engine, "commit", self._commit)

    def _before(self, *_told: Any) -> None:
        self._step()

    def _commit(self, _connection: Any) -> None:
        self._step()

    def _step(self) -> None:
        self.seen += 1
        if self.seen == self._which and not self.done:
            self.done = True
            self._cut()


def test_a_cut_before_any_statement_of_a_tick_leaves_all_of_it_or_nothing(
    tmp_path: Path, other_template: Path, postgres: Postgres
) -> None:
    home, name = tmp_path / "shop", postgres.create("template_shop")
    shutil.copytree(other_template, home)
    configure(home, postgres.url(name))
    with open_server(home, now=clock) as server:
        shop = Shop(home, clock, server)  # type: ignore[arg-type]
        fleet, outages, which = Fleet(shop, 3), 0, 0
        while True:
            which += 1
            asked = [fleet.ask(n, nonce_of(which, n)) for n in range(3)]
            with Cutter(shop, lambda: postgres.cut(name), which) as cutter:
                answers = fleet.renew(*asked)
            outages += any(isinstance(answer, Unavailable) for answer in answers)
            check_and_go_on(shop, fleet, asked, answers, which)
            if not cutter.done:
                break
        assert which > 8 and outages > 0
        renewed = Counter(e.subjects["device"] for e in shop.events("lease_renewed"))
        assert set(renewed.values()) == {which}
    postgres.drop(name)


def nonce_of(which: int, number: int) -> str:
    return b64u((which * 100 + number).to_bytes(32, "big"))


def check_and_go_on(
    shop: Shop, fleet: Fleet, asked: list[Asked], answers: list[Any], which: int
) -> None:
    """All of the tick was answered, or none and each asks again; either way one lease each."""
    assert len({type(answer) for answer in answers}) == 1, answers
    for number, (item, answer) in enumerate(zip(asked, answers, strict=True)):
        again = shop.server.devices.renew(item.device_id, item.token)
        if isinstance(answer, Renewed):
            assert again.event_id == answer.event_id
        else:
            assert isinstance(answer, Unavailable), answer
        device = fleet.devices[number]
        lease = tokens.read(again.lease, LeaseClaims, shop.trust)
        assert lease.seq == device.seq + 1 == which + 1
        device.seq, device.prev = lease.seq, lease.jti
