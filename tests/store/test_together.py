"""Acts that come at once are one transaction, and each has its own outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, event
from tests.server.world import Computer, Shop

from modelseal.errors import Misuse
from modelseal.server.services import statuses
from modelseal.server.store import devices as device_store
from modelseal.server.store import tokens
from modelseal.server.store.engine import Store
from modelseal.server.store.together import Group

Act = Callable[[Connection, Group], int]


@contextmanager
def _commits(store: Store) -> Iterator[list[int]]:
    seen: list[int] = []

    def count(_connection: Connection) -> None:
        seen.append(1)

    event.listen(store.engine, "commit", count)
    yield seen
    event.remove(store.engine, "commit", count)


def _behind_another(store: Store, acts: list[Act]) -> list[Future[int]]:
    """The acts, which all came while another one was under way."""
    busy, go_on = threading.Event(), threading.Event()

    def first(_tx: Connection, _group: Group) -> int:
        busy.set()
        assert go_on.wait(30)
        return 0

    with ThreadPoolExecutor(1 + len(acts)) as pool:
        pool.submit(store.together, b"first", first)
        assert busy.wait(30)
        found = [
            pool.submit(store.together, bytes([number]), act) for number, act in enumerate(acts)
        ]
        while len(store._together._waiting) < len(acts):
            time.sleep(0.001)
        go_on.set()
    return found


def _bump(name: str) -> Act:
    return lambda tx, _group: tokens.bump(tx, name)


def test_acts_that_come_at_once_are_written_as_one_transaction(shop: Shop) -> None:
    store = shop.server.context.store
    with _commits(store) as commits:
        found = _behind_another(store, [_bump("one")] * 5)
        assert len(commits) == 2
    assert sorted(future.result() for future in found) == [1, 2, 3, 4, 5]
    assert store.read(tokens.counter, "one") == 5


def test_an_act_that_fails_takes_nobody_along_and_leaves_nothing(shop: Shop) -> None:
    store = shop.server.context.store

    def fails(tx: Connection, _group: Group) -> int:
        tokens.bump(tx, "failed")
        raise Misuse("not so")

    good, bad, other = _behind_another(store, [_bump("good"), fails, _bump("good")])
    assert sorted([good.result(), other.result()]) == [1, 2]
    with pytest.raises(Misuse, match="not so"):
        bad.result()
    assert store.read(tokens.counter, "good") == 2
    assert store.read(tokens.counter, "failed") == 0


def test_more_acts_than_one_transaction_holds_are_all_carried_out(shop: Shop) -> None:
    store = shop.server.context.store
    found = _behind_another(store, [_bump("many")] * 70)
    assert sorted(future.result() for future in found) == list(range(1, 71))


def test_activations_at_once_are_each_answered_and_recorded(shop: Shop) -> None:
    shop.plan()
    key = shop.license(seats=3).license_key
    computers = [Computer(shop, f"at once {number}") for number in range(5)]

    def activate(one: Computer) -> str:
        try:
            return one.activate(key).sub
        except Exception as error:
            return str(getattr(error, "code", error))

    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(activate, computers))
    assert found.count("no_free_seat") == 2 and len(set(found)) == 4
    assert len(shop.events("device_activated")) == 3 and len(shop.events("lease_denied")) == 2


def test_a_full_status_list_is_followed_by_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statuses, "ENTRIES", 4)
    shop.plan()
    key = shop.license(seats=9).license_key
    ids = [Computer(shop, f"number {number}").activate(key).sub for number in range(9)]
    rows = [shop.server.context.store.read(device_store.get, name) for name in ids]
    places = [(row.status_list, row.status_idx) for row in rows if row is not None]
    assert len(set(places)) == 9 and {number for number, _ in places} >= {1, 2, 3}
    assert all(0 <= idx < 4 for _, idx in places)
