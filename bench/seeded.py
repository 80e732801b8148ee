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
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import TypeDecorator

from bench.fleet import Device
from modelseal.ids import new_id
from modelseal.server.services import Server, open_server
from modelseal.server.services.ordinary import Asked
from modelseal.server.services.statuses import ENTRIES
from modelseal.server.services.ticks import Outcome
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import tables as t
from modelseal.trust import parse

FEW = 10_000
ASKING = 256
AT_ONCE = 64
_STEP = 20_000
_ROUNDS = 15
_PER_LICENSE = 1_000
_TAKEN = int(0.6 * ENTRIES)
"""Devices of one status list."""
_ODD = 40503
_ANY = DefaultDialect()
_RANDOM = ("key_mark", "traits", "question", "recipient", "lease_id", "prev", "event_id")
_OWN = ("license_id", "device_id", "key", "seat_no", "status_list", "status_idx")
_BEGAN, _ARRIVAL = datetime.now(UTC) + timedelta(hours=1), timedelta(milliseconds=50)
"""Licenses are sold one after the other, and each rolled out at once; all after the fleet's own."""


class Shop:
    """A server with its fleet and so many devices beside it, and how many bytes one takes."""

    def __init__(self, stack: ExitStack, home: Path, key: str, stored: int) -> None:
        server = self._server = stack.enter_context(open_server(home))
        server.devices.limiter.take = lambda *_args: None  # type: ignore[method-assign]
        trust = parse((home / "trust.json").read_bytes())
        self._fleet = [Device(trust, number) for number in range(ASKING)]
        for device in self._fleet:
            device.take(server.devices.activate(device.activation(key)).lease)
        self.renewals()
        model = self._fleet[0].device_id or ""
        _seed(server, model, 0, FEW)
        before = _size(server)
        _seed(server, model, FEW, stored)
        self.bytes_per_device = (_size(server) - before) / max(1, stored - FEW)

    def renewals(self) -> float:
        """Microseconds of CPU of one renewal of a whole round."""
        asked = [Asked(d.device_id or "", d.renewal(), "local") for d in self._fleet]
        before, answers = time.process_time(), list[Outcome]()
        for begin in range(0, len(asked), AT_ONCE):
            answers += self._server.devices.renew_many(asked[begin : begin + AT_ONCE])
        spent = 1e6 * (time.process_time() - before) / len(asked)
        for device, answer in zip(self._fleet, answers, strict=True):
            if answer is None or isinstance(answer, Exception):
                raise SystemExit(f"no ordinary renewal: {answer!r}")
            device.take(answer.lease)
        return spent


def measure(few: tuple[Path, str], many: tuple[Path, str], stored: int) -> dict[str, Any]:
    """CPU of a renewal beside ``FEW`` and beside ``stored`` devices, in turns, and bytes of one."""
    with ExitStack() as stack:
        beside_few, beside_many = Shop(stack, *few, FEW), Shop(stack, *many, stored)
        turns = [(beside_few.renewals(), beside_many.renewals()) for _ in range(_ROUNDS)]
        return {
            "stored": stored,
            "renewal_cpu_us beside few": statistics.median(one for one, _ in turns),
            "renewal_cpu_us beside many": statistics.median(other for _, other in turns),
            "ratio": statistics.median(other / one for one, other in turns),
            "bytes_per_device": beside_many.bytes_per_device,
        }


def shops(folder: Path, url: str | None) -> tuple[tuple[Path, str], tuple[Path, str]]:
    """Two shops on one kind of store."""
    from bench import server

    made = []
    for name in ("few", "many"):
        place = folder / name
        place.mkdir()
        made.append(server.shop(place, None if url is None else server.database(url, name)))
    return made[0], made[1]


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
    alike = _bound(t.devices, device_store.columns(device))
    names = list(alike)
    places = [(names.index(name), len(alike[name])) for name in _RANDOM]
    at = {name: names.index(name) for name in _OWN}
    row, license_id = list(alike.values()), b""
    licenses, devices = [], []
    for number in range(begin, begin + count):
        now = _BEGAN + number * _ARRIVAL
        if not license_id or number % _PER_LICENSE == 0:
            fresh = replace(owner, license_id=new_id("lic", now, os.urandom))
            bound = _bound(t.licenses, asdict(replace(fresh, key_hash=os.urandom(32))))
            licenses.append(list(bound.values()))
            license_id = bound["license_id"]
        for place, size in places:
            row[place] = os.urandom(size)
        row[at["license_id"]] = license_id
        row[at["device_id"]] = _uuid7(now)
        row[at["key"]] = b"\x01" + os.urandom(32)
        row[at["seat_no"]] = 1 + number % _PER_LICENSE
        row[at["status_list"]] = 100 + number // _TAKEN
        row[at["status_idx"]] = number % _TAKEN * _ODD % ENTRIES
        devices.append(tuple(row))
    _put(tx, "licenses", list(_bound(t.licenses, asdict(owner))), licenses)
    _put(tx, "devices", names, devices)


def _uuid7(at: datetime) -> bytes:
    """What ``ids.new_id`` makes, packed: ids of devices rise as the devices arrive."""
    noise = os.urandom(10)
    head = bytes([0x70 | noise[0] & 15, noise[1], 0x80 | noise[2] & 63])
    return int(at.timestamp() * 1000).to_bytes(6, "big") + head + noise[3:]


def _put(tx: Connection, into: str, names: list[str], rows: Sequence[Sequence[Any]]) -> None:
    """``rows`` as they are, past everything that a server does for a single one."""
    if not rows:
        return
    columns = ", ".join(names)
    driver: Any = tx.connection.driver_connection
    if tx.dialect.name == "sqlite":
        marks = ", ".join("?" * len(names))
        driver.executemany(f"INSERT INTO {into} ({columns}) VALUES ({marks})", rows)  # noqa: S608
        return
    with driver.cursor().copy(f"COPY {into} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _bound(of: Table, values: dict[str, Any]) -> dict[str, Any]:
    """``values`` as the columns hold them, so that a million of them need no conversion."""
    found = {}
    for name, value in values.items():
        kind = of.c[name].type
        pack = kind.bind_processor(_ANY) if isinstance(kind, TypeDecorator) else None
        found[name] = value if pack is None else pack(value)
    return found


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
    with tempfile.TemporaryDirectory(prefix="modelseal-bench-") as scratch, ExitStack() as stack:
        place = Path(scratch)
        url = None if options.on == "SQLite" else stack.enter_context(server.postgresql(place))
        found = measure(*shops(place, url), options.stored)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
