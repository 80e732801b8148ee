"""Several processes over one store, threads at once, and servers that are killed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.server.processes import Far, Nursery, clock
from tests.server.world import Computer, Shop
from tests.store.snapshots import forget

from modelseal.admin import IssueLicense, Role
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.desk.remote import RemoteAdmin
from modelseal.errors import Forked, IdempotencyMismatch, LicenseRevoked, ModelsealError, NoFreeSeat
from modelseal.license import tokens
from modelseal.license.claims import LeaseClaims
from modelseal.server.services import Server, open_server
from modelseal.server.store import nonces
from modelseal.strict_json import b64u, unb64u


@pytest.fixture
def two(here: Shop, nursery: Nursery) -> Iterator[list[Shop]]:
    """The shop as two server processes give it, to devices that ask again what is answered 503."""
    ends = [
        Far(here, lambda url=process.url: url, patience_seconds=240)
        for process in (nursery.start(), nursery.start())
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


def test_two_hundred_that_want_ten_seats_at_once_get_ten(here: Shop, two: list[Shop]) -> None:
    issued = here.license(seats=10)
    devices = [Computer(two[n % 2], f"c{n}") for n in range(200)]
    came = at_once([lambda d=d: d.activate(issued.license_key) for d in devices])
    assert sum(isinstance(answer, LeaseClaims) for answer in came) == 10
    assert sum(isinstance(answer, NoFreeSeat) for answer in came) == 190
    assert here.admin.show_license(issued.license_id).seats_used == 10
    assert len(here.events("device_activated")) == 10


def test_after_an_acknowledged_revocation_no_device_gets_a_lease(
    here: Shop, two: list[Shop]
) -> None:
    issued = here.license(seats=8)
    devices = [Computer(two[n % 2], f"c{n}") for n in range(8)]
    for device in devices:
        device.activate(issued.license_key)
    over, given, renewed = threading.Event(), [], threading.Semaphore(0)

    def renew_on(device: Computer) -> int:
        """How many renewals that began after the acknowledgement were answered by a lease."""
        late = 0
        while True:
            after = over.is_set()
            try:
                device.renew()
            except LicenseRevoked:
                return late
            late += after
            renewed.release()

    def revoke() -> int:
        for _ in devices:
            assert renewed.acquire(timeout=300)
        here.admin.revoke_license(issued.license_id, "chargeback")
        given.extend(here.events("lease_renewed"))
        over.set()
        return 0

    came = at_once([*(lambda d=d: renew_on(d) for d in devices), revoke])
    assert came == [0] * 9
    # Not one was written since, not even for who asked before; the log is in the order of event
    # ids, which are drawn before an act waits for its turn.
    assert given and len(here.events("lease_renewed")) == len(given)
    assert len(here.events("license_revoked")) == 1


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


def test_a_nonce_of_a_key_release_is_taken_once_whichever_process_is_asked(shop: Shop) -> None:
    shop.plan()
    computer = Computer(shop)
    computer.activate(shop.license().license_key)
    other = shop.reopen()
    try:
        token = computer.sign(computer.request("nonce"))
        given = shop.server.devices.release_nonce(computer.device_id or "", token)
        nonce, ready, found = unb64u(given.nonce), threading.Barrier(6), []

        def take(server: Server) -> None:
            ready.wait()
            store = server.context.store
            why, _key = store.write(nonces.take, nonce, computer.device_id or "", shop.clock())
            found.append(why)

        servers = [shop.server, other.server] * 3
        threads = [threading.Thread(target=take, args=(server,)) for server in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        other.server.close()
    assert sorted(found) == ["nonce_used"] * 5 + ["ok"]
