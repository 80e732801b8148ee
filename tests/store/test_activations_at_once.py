"""Activations of one transaction: looked up and written together, each judged as if alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event
from tests.server.world import Computer, Shop

from modelseal.admin import PlanDraft
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import ModelsealError
from modelseal.license.plans import Anomaly, Binding, Plan, PlanEntitlement
from modelseal.server.services import statuses
from modelseal.server.store import activations, packing
from modelseal.server.store import devices as device_store
from modelseal.server.store import seats as seat_store
from modelseal.server.store.activations import Looked
from modelseal.server.store.engine import Store
from modelseal.server.store.rows import SeatRow

Ask = Callable[[], Any]


def at_once(shop: Shop, *asks: Ask) -> list[Any]:
    """What each brings, an error too, when all wait for one transaction, in this order."""
    store = shop.server.context.store
    busy, go_on = threading.Event(), threading.Event()

    def first(_tx: Connection, _group: object) -> None:
        busy.set()
        assert go_on.wait(300)

    found: list[Future[Any]] = []
    with ThreadPoolExecutor(1 + len(asks)) as pool:
        pool.submit(store.together, b"first", first)
        assert busy.wait(300)
        for number, ask in enumerate(asks, 1):
            found.append(pool.submit(ask))
            while len(store._together._waiting) < number:
                assert not found[-1].done()
                time.sleep(0.001)
        go_on.set()
    return [future.exception() or future.result() for future in found]


def enters(computer: Computer, key: str, **more: Any) -> Ask:
    """The activation of a computer, whose requests are made when it is asked."""
    return lambda: computer.activate(key, **more)


def taken(shop: Shop, license_id: str) -> list[SeatRow]:
    """The seats of a license."""
    return shop.server.context.store.read(seat_store.of_license, license_id)


def codes(found: list[Any]) -> list[str]:
    """How each ended."""
    return [one.code if isinstance(one, ModelsealError) else "allowed" for one in found]


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """The texts of all statements."""
    seen: list[str] = []

    def asked(_connection: Any, _cursor: Any, text: str, *_more: Any) -> None:
        seen.append(text)

    event.listen(store.engine, "before_cursor_execute", asked)
    yield seen
    event.remove(store.engine, "before_cursor_execute", asked)


def computers(shop: Shop, count: int, name: str = "computer") -> list[Computer]:
    """New ones."""
    return [Computer(shop, f"{name} {number}") for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 16, 31])
def test_a_group_asks_as_often_as_one_activation(shop: Shop, count: int) -> None:
    shop.plan()
    key = shop.license(seats=99).license_key
    Computer(shop, "starts the license").activate(key)
    fresh = computers(shop, count)
    with statements(shop.server.context.store) as seen:
        found = at_once(shop, *(enters(one, key) for one in fresh))
    assert codes(found) == ["allowed"] * count
    asked = [text for text in seen if not text.startswith(("BEGIN", "COMMIT"))]
    assert len(asked) == 8, "\n".join(asked)


def test_seats_of_a_group_are_the_next_numbers_and_no_more_than_there_are(shop: Shop) -> None:
    shop.plan()
    issued = shop.license(seats=5)
    found = at_once(shop, *(enters(one, issued.license_key) for one in computers(shop, 9)))
    assert codes(found) == ["allowed"] * 5 + ["no_free_seat"] * 4
    assert [row.seat_no for row in taken(shop, issued.license_id)] == [1, 2, 3, 4, 5]
    assert len(shop.events("device_activated")) == 5 and len(shop.events("lease_denied")) == 4
    for lease in found[:5]:
        assert shop.server.context.store.read(device_store.get, lease.sub) is not None


def test_a_free_seat_goes_first_and_no_number_is_left_out(shop: Shop) -> None:
    shop.plan(binding=Binding(instant_returns_per_90d=2))
    issued = shop.license(seats=6)
    old = computers(shop, 3, "old")
    for one in old:
        one.activate(issued.license_key)
    old[1].give_back()
    found = at_once(shop, *(enters(one, issued.license_key) for one in computers(shop, 4, "new")))
    assert codes(found) == ["allowed"] * 4
    rows = taken(shop, issued.license_id)
    assert [row.seat_no for row in rows] == [1, 2, 3, 4, 5, 6]
    by_device = {row.device_id: row.seat_no for row in rows}
    assert sorted(by_device[lease.sub] for lease in found) == [2, 4, 5, 6]


def test_licenses_of_one_group_keep_their_own_seats(shop: Shop) -> None:
    shop.plan()
    issued = [shop.license(seats=2) for _ in range(3)]
    asks = [
        enters(Computer(shop, f"{place} {number}"), one.license_key)
        for number in range(3)
        for place, one in enumerate(issued)
    ]
    found = at_once(shop, *asks)
    assert codes(found) == ["allowed"] * 6 + ["no_free_seat"] * 3
    for one in issued:
        assert [row.seat_no for row in taken(shop, one.license_id)] == [1, 2]


def test_one_key_twice_in_a_group_is_one_device(shop: Shop) -> None:
    shop.plan()
    issued = shop.license(seats=3)
    one, other = Computer(shop, "same"), Computer(shop, "other")
    again = one.copy()
    key = issued.license_key
    first, between, second = at_once(shop, enters(one, key), enters(other, key), enters(again, key))
    assert first.sub == second.sub != between.sub and second.seq == first.seq + 1
    assert [row.seat_no for row in taken(shop, issued.license_id)] == [1, 2]


def test_one_request_twice_in_a_group_has_one_answer(shop: Shop) -> None:
    shop.plan()
    issued = shop.license(seats=3)
    token = Computer(shop, "same").activation(issued.license_key, KemPrivateKey.generate())
    first, second = at_once(shop, *[lambda: shop.server.devices.activate(token)] * 2)
    assert first.device_id == second.device_id and first.event_id == second.event_id
    assert len(shop.events("device_activated")) == 1
    assert len(taken(shop, issued.license_id)) == 1


def test_a_device_that_was_replaced_in_its_group_is_known_as_that(shop: Shop) -> None:
    shop.plan()
    issued = shop.license(seats=1)
    key = issued.license_key
    old, new = Computer(shop, "old"), Computer(shop, "new")
    device = old.activate(key).sub
    found = at_once(shop, enters(new, key, replace=device), enters(old, key))
    assert codes(found) == ["allowed", "no_free_seat"]
    assert [row.device_id for row in taken(shop, issued.license_id)] == [found[0].sub]


def test_a_device_of_the_group_itself_can_be_replaced_in_it(shop: Shop) -> None:
    shop.plan()
    issued = shop.license(seats=2)
    key = issued.license_key
    old = Computer(shop, "old")
    device = old.activate(key).sub
    found = at_once(
        shop,
        enters(Computer(shop, "second"), key),
        enters(Computer(shop, "instead"), key, replace=device),
        enters(Computer(shop, "too many"), key),
    )
    assert codes(found) == ["allowed", "allowed", "no_free_seat"]
    rows = taken(shop, issued.license_id)
    assert {row.device_id for row in rows} == {found[0].sub, found[1].sub}


def test_a_rule_that_suspends_stops_the_rest_of_its_group(shop: Shop) -> None:
    farming = Anomaly(rule="activation_farming", limit=2, per_seconds=3600, action="suspend")
    shop.plan(anomalies=[farming])
    issued = shop.license(seats=9)
    found = at_once(shop, *(enters(one, issued.license_key) for one in computers(shop, 5)))
    assert codes(found) == ["allowed"] * 3 + ["license_suspended"] * 2
    devices = shop.admin.list_devices(license_id=issued.license_id).items
    assert len(devices) == 3


def test_floating_seats_of_a_group_are_held_until_their_leases_end(shop: Shop) -> None:
    shop.plan(floating=True)
    issued = shop.license(seats=3)
    found = at_once(shop, *(enters(one, issued.license_key) for one in computers(shop, 5)))
    assert codes(found) == ["allowed"] * 3 + ["no_free_seat"] * 2
    assert all(row.free_at is not None for row in taken(shop, issued.license_id))


def test_a_place_that_somebody_took_since_makes_the_group_draw_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.plan()
    key = shop.license(seats=99).license_key
    there = Computer(shop, "there").activate(key)
    row = shop.server.context.store.read(device_store.get, there.sub)
    assert row is not None
    drawn, draw, look = iter([[row.status_idx, 1, 2, 3, 4, 5]]), statuses.draw, activations.look
    monkeypatch.setattr(statuses, "draw", lambda *told: next(drawn, None) or draw(*told))

    def blind(*args: Any, **more: Any) -> Looked:
        found = look(*args, **more)
        found.taken.clear()
        return found

    monkeypatch.setattr(activations, "look", blind)
    found = at_once(shop, *(enters(one, key) for one in computers(shop, 6)))
    assert codes(found) == ["allowed"] * 6
    rows = [shop.server.context.store.read(device_store.get, lease.sub) for lease in found]
    places = {(one.status_list, one.status_idx) for one in rows if one is not None}
    assert len(places) == 6 and (row.status_list, row.status_idx) not in places


def test_a_plan_that_was_changed_is_what_new_licenses_are_given_by(shop: Shop) -> None:
    shop.plan()
    old = shop.license(seats=3).license_key
    first = Computer(shop, "first").activate(old)
    granted = [PlanEntitlement(id=name) for name in ("face.restore", "face.swap")]
    draft = PlanDraft(name="basic", terms=Plan(entitlements=granted))
    shop.admin.update_plan("basic", draft)
    new = shop.license(seats=3).license_key
    second, third = at_once(
        shop, enters(Computer(shop, "second"), new), enters(Computer(shop, "third"), old)
    )
    named = [[one.id for one in lease.ent] for lease in (first, second, third)]
    assert named == [["face.swap"], ["face.restore", "face.swap"], ["face.swap"]]


def test_the_first_of_a_group_starts_the_license_for_all(shop: Shop) -> None:
    shop.plan(starts="first_activation")
    issued = shop.license(seats=9, expires_in_seconds=3600)
    shop.clock.pass_(hours=2)
    found = at_once(shop, *(enters(one, issued.license_key) for one in computers(shop, 4)))
    assert codes(found) == ["allowed"] * 4
    shown = shop.admin.show_license(issued.license_id)
    assert shown.starts_at == shop.clock() and shown.seats_used == 4
    assert len({lease.exp for lease in found}) == 1


def test_a_license_that_was_revoked_gives_nothing_to_a_whole_group(shop: Shop) -> None:
    shop.plan()
    issued = shop.license(seats=9)
    shop.admin.revoke_license(issued.license_id, "refunded")
    found = at_once(shop, *(enters(one, issued.license_key) for one in computers(shop, 3)))
    assert codes(found) == ["license_revoked"] * 3
    assert taken(shop, issued.license_id) == []


def test_two_keys_of_one_mark_in_a_group_are_told_apart_and_harm_nobody_else(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.plan()
    issued = shop.license(seats=9)
    one, made, other = computers(shop, 3)
    real, alike = packing.mark, {made.key.kid: one.key.kid}
    monkeypatch.setattr(packing, "mark", lambda text: real(alike.get(text, text)))
    found = at_once(shop, *(enters(each, issued.license_key) for each in (one, made, other)))
    assert codes(found) == ["allowed", "misuse", "allowed"]
    assert [row.seat_no for row in taken(shop, issued.license_id)] == [1, 2]
