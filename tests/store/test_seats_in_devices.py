"""The schema in which seats had rows of their own comes forward: every device keeps its seat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, column, insert, select, table
from tests.server.world import START
from tests.store.snapshots import forget

from modelseal.server.services.config import load
from modelseal.server.store import devices as device_store
from modelseal.server.store import packing, schema
from modelseal.server.store import plans as plan_store
from modelseal.server.store import seats as seat_store
from modelseal.server.store.engine import Store
from modelseal.server.store.rows import DeviceRow

LICENSE, OTHER = (f"lic_0190a5e2-7b1c-7f3a-9c1d-0242ac12000{n}" for n in (1, 2))
PLAN = "pln_0190a5e2-7b1c-7f3a-9c1d-0242ac120003"
AT = int(START.timestamp())
MICRO = 1_000_000


def device_id(name: str) -> str:
    return f"dev_0190a5e2-7b1c-7f3a-9c1d-0242ac12{ord(name):04x}"


def old(name: str, license_id: str = LICENSE, **more: Any) -> dict[str, Any]:
    """A row as schema 0010 held it."""
    lease = packing.pack_id(device_id(name).replace("dev_", "lea_"), "lea")
    row = {
        "seq": 4, "asked_seq": 3, "lease_seq": None, "lease_iat": AT, "lease_exp": AT + 60,
        "renew_after_at": AT + 30, "license_iat": AT * MICRO + 7, "activated_at": AT * MICRO + 9,
        "last_contact_at": AT * MICRO + 11, "ended_at": None, "status_list": 1,
        "status_idx": ord(name), "seat_no": 9, "license_rev": 1, "plan_version": 2, "drift": 0,
        "state": 0, "enforcement": 0, "level": 0, "status_value": 0, "held": False,
        "bound": True, "license_id": packing.pack_id(license_id, "lic"),
        "key_mark": name.encode() * 16, "device_id": packing.pack_id(device_id(name), "dev"),
        "key": b"\x00" + name.encode() * 32, "traits": b"", "presented": None,
        "question": name.encode() * 16, "recipient": name.encode() * 16, "lease_id": lease,
        "prev": None, "last_jti": None, "plan_id": packing.pack_id(PLAN, "pln"),
        "event_id": packing.pack_id(device_id(name).replace("dev_", "evt_"), "evt"),
        "answer": None, "label": None, "bundle": None, "reason": None, "tpm": None,
    }  # fmt: skip
    return row | more


def old_seat(
    number: int, name: str, free_at: int | None = None, license_id: str = LICENSE
) -> dict[str, Any]:
    return {
        "license_id": packing.pack_id(license_id, "lic"), "seat_no": number,
        "device_id": packing.pack_id(device_id(name), "dev"),
        "free_at": None if free_at is None else free_at * MICRO, "prior_until": None,
    }  # fmt: skip


@pytest.fixture
def empty(tmp_path: Path, copied: Callable[[Path], Path]) -> Iterator[Store]:
    home = copied(tmp_path / "shop")
    forget(home)
    opened = Store(load(home / "server").database, home / "server")
    yield opened
    opened.close()


def come_forward(empty: Store, devices: list[dict[str, Any]], seats: list[dict[str, Any]]) -> None:
    def make(tx: Connection) -> None:
        schema.upgrade(tx, "0010")
        for name, rows in (("devices", devices), ("seats", seats)):
            tx.execute(insert(table(name, *map(column, rows[0]))), rows)

    empty.write(make)
    schema.migrate(empty)


def row_of(empty: Store, name: str) -> DeviceRow:
    found = empty.read(device_store.get, device_id(name))
    assert found is not None
    return found


def test_every_seat_is_its_devices_and_their_numbers_leave_none_out(empty: Store) -> None:
    come_forward(
        empty,
        [*(old(name) for name in "abcd"), old("e", OTHER)],
        [
            old_seat(2, "a"),
            old_seat(3, "b", AT - 50), old_seat(5, "b"), old_seat(6, "b", AT - 10),
            old_seat(7, "c", AT - 20), old_seat(9, "c", AT - 5),
            old_seat(4, "e", AT + 9, OTHER),
        ],
    )  # fmt: skip
    found = empty.read(seat_store.of_license, LICENSE)
    assert [(seat.seat_no, seat.device_id) for seat in found] == [
        (1, device_id("a")), (2, device_id("b")), (3, device_id("c")),
    ]  # fmt: skip
    ends = [None if seat.free_at is None else int(seat.free_at.timestamp()) for seat in found]
    assert ends == [None, None, AT - 5]
    assert empty.read(seat_store.used, LICENSE, START) == 2
    assert row_of(empty, "d").seat_no is None
    (other,) = empty.read(seat_store.of_license, OTHER)
    assert (other.seat_no, other.device_id) == (1, device_id("e"))


def test_every_value_says_what_it_said(empty: Store) -> None:
    come_forward(
        empty,
        [
            old("a"),
            old("b", asked_seq=1, drift=3, last_contact_at=(AT + 5) * MICRO),
            old("c", asked_seq=None, plan_id=None, plan_version=None, recipient=None),
            old("d", lease_seq=2, asked_seq=1),
            old("e", lease_id=None, lease_seq=None, asked_seq=None, lease_iat=None, lease_exp=None),
        ],
        [old_seat(1, "a")],
    )
    a, b, c, d, e = (row_of(empty, name) for name in "abcde")
    assert [row.asked_seq for row in (a, b, c, d, e)] == [3, 1, None, 1, None]
    assert [row.lease_seq for row in (a, b, c, d, e)] == [4, 4, 4, 2, None]
    assert [row.drift for row in (a, b)] == [0, 3]
    seconds = [int(row.last_contact_at.timestamp()) - AT for row in (a, b, e)]
    assert seconds == [0, 5, 0]
    assert a.activated_at == a.license_iat == a.lease_iat == START.replace(microsecond=0)
    assert a.lease_exp is not None and int(a.lease_exp.timestamp()) == AT + 60
    assert (a.question, a.recipient, c.recipient) == (b"a" * 8, b"a" * 8, None)
    assert a.under == packing.under(PLAN, 2) and c.under is None
    assert empty.read(plan_store.under, packing.under(PLAN, 2)) is None  # it was never issued here


def test_two_keys_that_were_made_alike_do_not_keep_a_store_from_coming_forward(
    empty: Store,
) -> None:
    come_forward(
        empty,
        [old("a", key_mark=b"m" * 16), old("b", key_mark=b"m" * 8 + b"n" * 8)],
        [old_seat(1, "a")],
    )
    assert {row_of(empty, name).jkt for name in "ab"} == {
        packing.unpack_jkt(b"\x00" + name.encode() * 32) for name in "ab"
    }
    marks = select(column("key_mark")).select_from(table("devices"))
    found = empty.read(lambda tx: [bytes(mark) for mark in tx.execute(marks).scalars()])
    assert sorted(found) == [b"m" * 8, b"m" * 8 + b"n" * 8]
