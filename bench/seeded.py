"""Renewals beside many stored devices: what they cost, what a device takes on the disk.

The devices are rows of a real one under other ids, spread over as many licenses as would hold them.
``python -m bench.seeded --stored 1000000 --on PostgreSQL`` measures this alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, column, insert, table, text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import TypeDecorator

from bench import meter
from bench.fleet import Device
from modelseal.ids import new_id
from modelseal.server.services import Server, open_server
from modelseal.server.services.statuses import ENTRIES
from modelseal.server.services.ticks import Asked
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import packing
from modelseal.server.store import tables as t
from modelseal.trust import parse

FEW = 10_000
ASKING = 256
AT_ONCE = 32
_STEP = 5_000
_PER_LICENSE = 1_000
_TAKEN = int(0.6 * ENTRIES)
"""Devices of one status list."""
_ODD = 40503
_ANY = DefaultDialect()
_OWN = ("key_mark", "traits", "question", "recipient", "lease_id", "prev", "event_id")


def measure(home: Path, key: str, stored: int) -> dict[str, Any]:
    """CPU of a renewal beside ``FEW`` and beside ``stored`` devices, and bytes of one of them."""
    with open_server(home) as server:
        server.devices.limiter.take = lambda *_args: None  # type: ignore[method-assign]
        trust = parse((home / "trust.json").read_bytes())
        fleet = [Device(trust, number) for number in range(ASKING)]
        for device in fleet:
            device.take(server.devices.activate(device.activation(key)).lease)
        model = fleet[0].device_id or ""
        _renewals(server, fleet)
        _seed(server, model, 0, FEW)
        few, small = _renewals(server, fleet), _size(server)
        _seed(server, model, FEW, stored)
        large = _size(server)
        many = _renewals(server, fleet)
        before = meter.resident()
        _renewals(server, fleet)
        return {
            "stored": stored,
            "renewal_cpu_us beside few": few,
            "renewal_cpu_us beside many": many,
            "ratio": many / few,
            "bytes_per_device": (large - small) / (stored - FEW),
            "resident_bytes_per_live_device": max(0, meter.resident() - before) / ASKING,
        }


def _seed(server: Server, model: str, first: int, count: int) -> None:
    for begin in range(first, count, _STEP):
        server.context.store.write(_rows, model, begin, min(_STEP, count - begin))


def _rows(tx: Connection, model: str, begin: int, count: int) -> None:
    """Copies of one device under ids and keys of their own, as the columns hold them."""
    device = device_store.get(tx, model)
    if device is None:
        raise SystemExit("the model of all devices is missing")
    owner = license_store.get(tx, device.license_id)
    if owner is None:
        raise SystemExit("the license of all devices is missing")
    now, license_id = datetime.now(UTC), b""
    licenses, devices, seats = [], [], []
    alike = _bound(t.devices, device_store.columns(device))
    for number in range(begin, begin + count):
        if not license_id or number % _PER_LICENSE == 0:
            fresh = replace(owner, license_id=new_id("lic", now, os.urandom))
            licenses.append(_bound(t.licenses, asdict(replace(fresh, key_hash=os.urandom(32)))))
            license_id = licenses[-1]["license_id"]
        name = packing.pack_id(new_id("dev", now, os.urandom), "dev")
        place = number % _TAKEN
        own = {column: os.urandom(len(alike[column])) for column in _OWN}
        own["key"] = b"\x01" + os.urandom(32)
        devices.append(
            alike | own | {
                "license_id": license_id, "device_id": name, "seat_no": 1 + number % _PER_LICENSE,
                "status_list": 100 + number // _TAKEN, "status_idx": place * _ODD % ENTRIES,
            }
        )  # fmt: skip
        seats.append(
            {"license_id": license_id, "seat_no": 1 + number % _PER_LICENSE, "device_id": name}
        )
    for into, rows in ((t.licenses, licenses), (t.devices, devices), (t.seats, seats)):
        if rows:
            tx.execute(insert(table(into.name, *map(column, rows[0]))), rows)


def _bound(of: Table, values: dict[str, Any]) -> dict[str, Any]:
    """``values`` as the columns hold them, so that a million of them need no conversion."""
    found = {}
    for name, value in values.items():
        kind = of.c[name].type
        pack = kind.bind_processor(_ANY) if isinstance(kind, TypeDecorator) else None
        found[name] = value if pack is None else pack(value)
    return found


def _renewals(server: Server, fleet: list[Device]) -> float:
    """Microseconds of CPU: the median of some rounds."""
    spent = []
    for _ in range(5):
        asked = [Asked(device.device_id or "", device.renewal(), "local") for device in fleet]
        before, answers = time.process_time(), []
        for begin in range(0, len(asked), AT_ONCE):
            answers += server.devices.renew_many(asked[begin : begin + AT_ONCE])
        spent.append(1e6 * (time.process_time() - before) / len(asked))
        for device, answer in zip(fleet, answers, strict=True):
            if answer is None or isinstance(answer, Exception):
                raise SystemExit(f"no ordinary renewal: {answer!r}")
            device.take(answer.lease)
    return statistics.median(spent)


def _size(server: Server) -> int:
    engine = server.context.store.engine
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            pages = connection.execute(text("PRAGMA page_count")).scalar_one()
            return int(pages) * int(connection.execute(text("PRAGMA page_size")).scalar_one())
    with engine.connect() as connection:
        query = text("SELECT pg_database_size(current_database())")
        return int(connection.execute(query).scalar_one())


def main() -> int:
    """Measures on one kind of store, and prints."""
    from bench import server

    parser = argparse.ArgumentParser(prog="python -m bench.seeded", description=__doc__)
    parser.add_argument("--stored", type=int, default=1_000_000)
    parser.add_argument("--on", choices=("SQLite", "PostgreSQL"), default="SQLite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="modelseal-bench-") as scratch:
        place = Path(scratch)
        if options.on == "SQLite":
            found = measure(*server.shop(place, None), options.stored)
        else:
            with server.postgresql(place) as url:
                (place / "shop").mkdir()
                found = measure(*server.shop(place / "shop", url), options.stored)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
