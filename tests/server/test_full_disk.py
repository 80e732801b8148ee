"""A disk that is full answers 503 and loses nothing; with room again everything goes on."""

from __future__ import annotations

import resource
import signal
import ssl
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, event
from tests.server.world import Clock, Computer, Shop

from modelseal import audit
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import VerifyKey
from modelseal.desk import sealing
from modelseal.desk import workspace as workspaces
from modelseal.desk.remote import RemoteAdmin
from modelseal.errors import DiskFull, Unavailable
from modelseal.testing.server import RunningServer

JWT = {"Content-Type": "application/jwt"}
Full = Callable[[Shop], AbstractContextManager[None]]


@contextmanager
def no_more_pages(shop: Shop) -> Iterator[None]:
    """SQLite may not take another page: SQLITE_FULL, as on a full disk."""
    engine = shop.server.context.store.engine

    def limit(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    event.listen(engine, "begin", limit)
    try:
        yield
    finally:
        event.remove(engine, "begin", limit)
        engine.dispose()


@contextmanager
def no_longer_files(shop: Shop) -> Iterator[None]:
    """No file of this process may grow beyond what the journal has now."""
    journal = shop.home / "server" / "modelseal.db-wal"
    size = max(1, journal.stat().st_size)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[RunningServer, Shop]]:
    """A server over HTTPS with a plan."""
    clock = Clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(tmp_path, now=clock)
    with server:
        shop = Shop(server.home, clock, server.services)
        shop.plan("basic", seats=10_000)
        yield server, shop


@pytest.mark.parametrize("full", [no_more_pages, no_longer_files])
def test_a_full_disk_is_503_and_nothing_is_lost_or_half_written(
    running: tuple[RunningServer, Shop], full: Full
) -> None:
    server, shop = running
    issued = shop.license()
    first = Computer(shop)
    first.activate(issued.license_key)
    tls = ssl.create_default_context(cadata=shop.trust.tls_ca)
    with httpx.Client(base_url=server.url, verify=tls, timeout=300) as http:
        given = []
        with full(shop):
            for number in range(200):
                shop.clock.pass_(seconds=2)
                device, kem = Computer(shop, f"c{number}"), KemPrivateKey.generate()
                asked = device.activation(issued.license_key, kem)
                answer = http.post("/v1/devices", content=asked, headers=JWT)
                if answer.status_code != 201:
                    break
                given.append(answer.json()["event_id"])
            assert answer.status_code == 503 and answer.headers["Retry-After"]
            problem = answer.json()
            assert "denial" not in problem
            assert problem["code"] == ("disk_full" if full is no_more_pages else "storage_failed")
            assert http.get("/healthz").status_code == 200
            assert shop.admin.show_license(issued.license_id).seats_used == len(given) + 1
        again = http.post("/v1/devices", content=asked, headers=JWT)
        assert again.status_code == 201
    assert first.renew().seq == 2
    assert shop.admin.show_license(issued.license_id).seats_used == len(given) + 2
    events = {event.event_id for event in shop.events("device_activated")}
    assert len(events) == len(given) + 2 and set(given) <= events
    keys = [VerifyKey.from_jwk(k.jwk, k.alg) for k in shop.trust.keys("checkpoint")]  # type: ignore[arg-type]
    audit.verify_export(list(shop.admin.export_events()), None, keys, None)


def test_a_blob_that_does_not_fit_is_refused_and_gone(
    running: tuple[RunningServer, Shop], tmp_path: Path
) -> None:
    server, shop = running
    plain = tmp_path / "swap.onnx"
    plain.write_bytes(b"weights" * 200_000)
    with workspaces.open(shop.home) as desk:
        sealing.seal_paths(
            desk, [plain], tmp_path / "swap.sealed", entitlements=["face.swap"], now=shop.clock()
        )
    token = shop.admin.create_token("owner", 3600, "full").token  # type: ignore[arg-type]
    blobs = shop.home / "server" / "blobs"
    with RemoteAdmin(server.url, token, trust=shop.trust.raw) as remote:
        for api in (remote, shop.admin):
            before = sorted(blobs.rglob("*"))
            with no_longer_files(shop), pytest.raises(Unavailable) as caught:
                api.put_blob(tmp_path / "swap.sealed")
            assert isinstance(caught.value, DiskFull)
            assert [path for path in sorted(blobs.rglob("*")) if path.is_file()] == [
                path for path in before if path.is_file()
            ]
        assert remote.put_blob(tmp_path / "swap.sealed") == shop.admin.put_blob(
            tmp_path / "swap.sealed"
        )
