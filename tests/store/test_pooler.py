"""Behind PgBouncer in transaction mode: every transaction may run on another session."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.server.world import Clock, Computer, Shop
from tests.store.postgres import Postgres, configure

from modelseal.server.services import open_server

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PORT = 6432
"""Only part of a socket's name, in the folder of this run's database server."""


@pytest.fixture
def store() -> str:
    """The kind of store."""
    return "postgresql"


@pytest.fixture
def pooled(tmp_path: Path, copied: Callable[[Path], Path], postgres: Postgres) -> Iterator[Shop]:
    """A shop whose server reaches its database through a pool of two sessions."""
    if PROGRAM is None:
        pytest.skip("PgBouncer is missing: apt-get install pgbouncer")
    home = copied(tmp_path / "shop")
    toml = (home / "server" / "server.toml").read_text()
    name = toml.split("postgres@/")[1].split("?")[0]
    folder, settings = Path(postgres.host), tmp_path / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n{name} = host={folder} user=postgres\n"
        f"[pgbouncer]\nlisten_port = {PORT}\nunix_socket_dir = {folder}\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n"
        "ignore_startup_parameters = options\n"
    )
    settings.chmod(0o644)
    _let_in(tmp_path)
    _let_in(folder)
    owner = pwd.getpwuid((folder / ".s.PGSQL.5432").stat().st_uid).pw_name
    user = ["--user", owner] if os.getuid() == 0 else []
    pooler = subprocess.Popen([PROGRAM, "-q", *user, str(settings)])
    try:
        until = time.monotonic() + 60
        while not _answers(folder / f".s.PGSQL.{PORT}"):
            assert pooler.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        configure(home, f"postgresql://postgres@/{name}?host={folder}&port={PORT}")
        clock = Clock()
        with open_server(home, now=clock) as server:
            yield Shop(home, clock, server)
    finally:
        pooler.terminate()
        pooler.wait(30)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asked:
        return asked.connect_ex(str(path)) == 0


def _let_in(folder: Path) -> None:
    """The pooler, which never runs as root, reaches what lies here."""
    for part in (folder, *folder.parents):
        if part.stat().st_uid == os.getuid() and not part.stat().st_mode & 0o001:
            part.chmod(part.stat().st_mode | 0o011)


def test_a_server_behind_a_pooler_answers_as_ever(pooled: Shop, tmp_path: Path) -> None:
    pooled.publish(tmp_path, "swap.onnx", "face.swap")
    pooled.plan("basic", "face.swap")
    issued = pooled.license(seats=6)
    devices = [Computer(pooled, f"c{n}") for n in range(6)]

    def live(device: Computer) -> int:
        device.activate(issued.license_key)
        return [device.renew().seq for _ in range(8)][-1]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(live, devices)) == [9] * 6
    pooled.server.log.sequence()
    assert len(pooled.events("lease_renewed")) == 48
    assert pooled.admin.show_license(issued.license_id).seats_used == 6
