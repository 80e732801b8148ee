"""What an activation reads does not grow with the seats of its license that are taken."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, event, text
from tests.server.world import Computer, Shop, denied

from modelseal.ids import new_id
from modelseal.server.store import devices as device_store
from modelseal.server.store import seats as seat_store
from modelseal.server.store.engine import Store
from modelseal.server.store.rows import DeviceRow
from modelseal.strict_json import b64u

FEW, MANY = 40, 1200
ROWS = text(
    "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
    " WHERE relname = 'devices'"
)


def filled(shop: Shop, seats: int, held: int) -> str:
    """The key of a license of which so many seats are held."""
    issued = shop.license(seats=seats)
    first = Computer(shop, os.urandom(4).hex())
    first.activate(issued.license_key)
    store = shop.server.context.store
    model = store.read(device_store.get, first.device_id or "")
    assert model is not None

    def fill(tx: Connection) -> None:
        rows = [alike(model, number, shop) for number in range(2, held + 1)]
        values = [{f"new_{k}": v for k, v in device_store.columns(row).items()} for row in rows]
        tx.execute(device_store._add(tx), values)

    store.write(fill)
    assert shop.admin.show_license(issued.license_id).seats_used == held
    return issued.license_key


def alike(model: DeviceRow, number: int, shop: Shop) -> DeviceRow:
    return replace(
        model, device_id=new_id("dev", shop.clock(), os.urandom), jkt=b64u(os.urandom(32)), jwk={},
        seat_no=number, status_list=7 + model.status_idx, status_idx=number,
    )  # fmt: skip


@contextmanager
def counting(store: Store) -> Iterator[list[int]]:
    """Rows of devices that PostgreSQL read, or steps that SQLite took, for each transaction."""
    seen: list[int] = []
    steps = [0]

    def step() -> int:
        steps[0] += 1
        return 0

    def begun(connection: Connection) -> None:
        steps[0] = 0
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(step, 1)

    def ended(connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            seen.append(steps[0])
            driver: Any = connection.connection.driver_connection
            driver.set_progress_handler(None, 0)
        else:
            seen.append(int(connection.execute(ROWS).scalar_one()))

    if store.engine.dialect.name == "sqlite":
        event.listen(store.engine, "begin", begun)
    else:
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE devices"))
    event.listen(store.engine, "commit", ended)
    yield seen
    event.remove(store.engine, "commit", ended)
    if store.engine.dialect.name == "sqlite":
        event.remove(store.engine, "begin", begun)


def cost(shop: Shop, act: Callable[[], object]) -> int:
    with counting(shop.server.context.store) as seen:
        act()
    return max(seen)


def test_an_activation_costs_the_same_however_many_seats_are_taken(shop: Shop) -> None:
    shop.plan()
    few, many = (filled(shop, 100_000, held) for held in (FEW, MANY))
    devices = [Computer(shop, name) for name in "abcd"]
    small = cost(shop, lambda: devices[0].activate(few))
    large = cost(shop, lambda: devices[1].activate(many))
    assert large < small * 1.2 + 20
    devices[0].give_back()
    devices[1].give_back()
    small = cost(shop, lambda: devices[2].activate(few))
    large = cost(shop, lambda: devices[3].activate(many))
    assert large < small * 1.2 + 20


def test_a_license_of_many_seats_says_who_holds_some_of_them(shop: Shop) -> None:
    shop.plan()
    key = filled(shop, MANY, MANY)
    store = shop.server.context.store
    license_id = shop.events("license_issued")[-1].subjects["license"]
    now = shop.clock()
    assert store.read(seat_store.offer, license_id, now) is None
    if store.engine.dialect.name == "sqlite":
        free = cost(shop, lambda: store.write(lambda tx: seat_store.offer(tx, license_id, now)))
        assert free < 500
    error, denial = denied(lambda: Computer(shop, "late").activate(key), shop)
    assert error.code == "no_free_seat"
    holders, devices = denial.params["holders"], denial.params["devices"]
    assert isinstance(holders, list) and isinstance(devices, list)
    assert 10 < len(holders) == len(devices) <= 64
