"""A backup of the schema before devices were packed: nothing that it answers is lost."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import msgspec
import pytest
from sqlalchemy import select
from tests.server.world import Computer, Shop

from modelseal.admin import LicenseChange
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import IdempotencyMismatch
from modelseal.license.claims import LeaseClaims
from modelseal.server.services import backupfile, judging, restore
from modelseal.server.store import devices as device_store
from modelseal.server.store import dump, packing
from modelseal.server.store import tables as t
from modelseal.server.store.rows import DeviceRow, SeatRow
from modelseal.strict_json import b64u, unb64u

MICROSECONDS = 1_000_000
PLAIN = (
    "label", "drift", "level", "state", "enforcement", "status_list", "status_idx",
    "status_value", "seat_no", "seq", "last_jti", "lease_id", "lease_seq", "bundle",
    "license_rev", "reason", "event_id", "license_id", "device_id", "jkt",
)  # fmt: skip


SEATS = select(
    *(t.devices.c[f.name] for f in fields(SeatRow))
).where(t.devices.c.seat_no.is_not(None))  # fmt: skip


class Asking(Computer):
    """A computer that remembers its last question, to ask it again."""

    def asked(self, op: str, **more: Any) -> LeaseClaims:
        self.nonce, self.kem_key = b64u(bytes(range(32))), KemPrivateKey.generate()
        self.place = self.seq, self.prev
        return self.ask(op, **more)

    def ask(self, op: str, **more: Any) -> LeaseClaims:
        self.seq, self.prev = self.place
        if op == "renew":
            return self.renew(nonce=self.nonce, kem=self.kem_key)
        token = self.activation(more["key"], self.kem_key, self.nonce)
        answer = self.shop.server.devices.activate(token)
        return self._accept(answer.lease, answer.license, self.kem_key)


LATER = ("delegations", "relayed_leases", "prepared_leases")
"""Tables that came, or changed, since; nothing is in them here."""


def as_before(shop: Shop, leases: dict[str, Asking]) -> io.BytesIO:
    """A backup of ``shop`` in the words of schema 0009."""
    context = shop.server.context

    def read(tx: Any) -> list[bytes]:
        lines, name = [], ""
        for line in dump.write(tx):
            value = json.loads(line)
            if isinstance(value, dict):
                name = value["table"]
            if name not in {"devices", "licenses", *LATER}:
                lines.append(line)
        found = [DeviceRow(*row) for row in tx.execute(select(*device_store.READ))]
        lines += _table("devices", [_device(row, leases.get(row.device_id)) for row in found])
        lines += _table("licenses", [_kept(row) for row in tx.execute(select(t.licenses))])
        lines += _table("seats", [_kept(row) for row in tx.execute(SEATS)])
        return lines

    lines = context.store.snapshot(read)
    head = backupfile.Head(context.product, context.server_id, "0009", shop.clock(), 0)
    out = io.BytesIO()
    backupfile.write(out, head, lines)
    return out


def _table(name: str, rows: list[dict[str, tuple[Any, str]]]) -> list[bytes]:
    heads = [[column, kind] for column, (_value, kind) in rows[0].items()]
    told = [msgspec.json.encode({"table": name, "columns": heads})]
    return told + [msgspec.json.encode([value for value, _kind in row.values()]) for row in rows]


def _kept(row: Any) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    for name, value in ((str(key), value) for key, value in row._mapping.items()):
        if name == "reserved":  # came with schema 0013
            continue
        if isinstance(value, bytes):
            found[name] = (b64u(value), "bytes")
        elif isinstance(value, (dict, list)):
            found[name] = (json.dumps(value), "plain")
        else:
            found[name] = (_micro(value), "plain")
    return found


def _micro(value: Any) -> Any:
    return int(value.timestamp() * MICROSECONDS) if hasattr(value, "timestamp") else value


def _device(row: DeviceRow, asking: Asking | None) -> dict[str, tuple[Any, str]]:
    found = {name: (getattr(row, name), "plain") for name in PLAIN}
    for name in ("lease_iat", "lease_exp", "license_iat", "activated_at", "last_contact_at",
                 "ended_at"):  # fmt: skip
        found[name] = (_micro(getattr(row, name)), "plain")
    for name in ("traits", "presented"):
        told = msgspec.to_builtins(judging.traits(getattr(row, name)))
        found[name] = (json.dumps(told), "plain")
    found |= {name: (bool(getattr(row, name)), "flag") for name in ("held", "bound")}
    answer: dict[str, Any] = {}
    if asking is not None and asking.lease is not None:
        lease = msgspec.structs.replace(asking.lease, keys=[])
        answer = {
            "lease": msgspec.to_builtins(lease), "recipient": asking.kem_key.kid, "files": [],
            "license": None, "event_id": row.lease_event, "asked_seq": row.asked_seq,
        }  # fmt: skip
        if (row.answer or {}).get("license"):
            answer["license"] = msgspec.to_builtins(asking.license)
    answer |= {k: v for k, v in (row.answer or {}).items() if k == "returned"}
    return found | {
        "nonce": ("" if asking is None else asking.nonce, "plain"),
        "jwk": (json.dumps(row.jwk), "plain"),
        "answer": (json.dumps(answer) if answer else None, "plain"),
        "tpm": (None if row.tpm is None else json.dumps(row.tpm), "plain"),
    }


def told(lease: LeaseClaims) -> LeaseClaims:
    return msgspec.structs.replace(lease, keys=[])


@pytest.fixture
def put_back(shop: Shop) -> Iterator[Callable[..., None]]:
    """Makes the store one that came from a backup of the older schema."""
    opened = []

    def act(*devices: Asking) -> None:
        kept = as_before(shop, {device.device_id or "": device for device in devices})
        shop.server.close()
        restore(shop.home, kept, lost=None, replace=True, now=shop.clock)
        shop.server = shop.reopen().server
        opened.append(shop.server)

    yield act
    for server in opened:
        server.close()


def test_lost_replies_of_an_older_store_are_given_as_they_were(
    shop: Shop, put_back: Callable[..., None]
) -> None:
    shop.plan("basic")
    issued = shop.license(seats=3)
    first, second = Asking(shop, "a"), Asking(shop, "b")
    entered = first.asked("activate", key=issued.license_key)
    known = first.license
    second.activate(issued.license_key)
    shop.clock.pass_(hours=1)
    renewed = second.asked("renew")
    event = shop.admin.show_device(second.device_id or "").event_id
    put_back(first, second)
    shop.clock.pass_(minutes=5)
    assert told(first.ask("activate", key=issued.license_key)) == told(entered)
    assert first.license == known
    assert told(second.ask("renew")) == told(renewed)
    assert shop.admin.show_device(second.device_id or "").event_id == event
    for device in (first, second):
        before = device.seq
        assert device.renew().seq == before + 1
    assert shop.admin.show_license(issued.license_id).seats_used == 2


def test_devices_of_an_older_store_keep_their_states_keys_and_traits(
    shop: Shop, put_back: Callable[..., None]
) -> None:
    shop.plan("basic")
    issued = shop.license(seats=4)
    devices = [Asking(shop, seed) for seed in "abcd"]
    for number, device in enumerate(devices):
        device.asked("activate", key=issued.license_key)
        if number == 0:
            shop.admin.revoke_device(device.device_id or "", "lost")
        if number == 1:
            given = device.give_back()
    before = [shop.admin.show_device(device.device_id or "") for device in devices]
    rows = _rows(shop)
    put_back(*devices)
    assert [shop.admin.show_device(device.device_id or "") for device in devices] == before
    for device in devices:
        old, new = rows[device.device_id or ""], _rows(shop)[device.device_id or ""]
        assert (new.jkt, new.jwk, new.traits, new.presented) == (
            old.jkt, old.jwk, old.traits, old.presented,
        )  # fmt: skip
    assert devices[1].give_back() == given
    assert devices[2].renew().seq == 2


def test_a_lost_reply_names_what_was_granted_then_whatever_the_license_is_now(shop: Shop) -> None:
    shop.plan("basic", "face.swap")
    shop.plan("pro", "face.swap", "face.pro")
    issued = shop.license(seats=3)
    first, second = Asking(shop, "a"), Asking(shop, "b")
    entered = first.asked("activate", key=issued.license_key)
    known = first.license
    second.activate(issued.license_key)
    renewed = second.asked("renew")
    shop.admin.change_license(issued.license_id, LicenseChange(plan="pro"))
    shop.clock.pass_(minutes=5)
    assert told(first.ask("activate", key=issued.license_key)) == told(entered)
    assert first.license == known
    assert told(second.ask("renew")) == told(renewed)
    second.kem_key = KemPrivateKey.generate()
    with pytest.raises(IdempotencyMismatch):
        second.ask("renew")


def test_a_license_token_signed_for_a_lost_reply_is_the_same_when_it_is_lost_too(
    shop: Shop,
) -> None:
    shop.plan("basic", "face.swap")
    shop.plan("pro", "face.swap", "face.pro")
    issued = shop.license(seats=3)
    device = Asking(shop, "a")
    device.activate(issued.license_key)
    device.asked("renew")
    shop.admin.change_license(issued.license_id, LicenseChange(plan="pro"))
    shop.clock.pass_(minutes=5)
    device.license, device.license_id = None, None
    device.ask("renew")
    first = device.license
    assert first is not None and first.plan == "pro" and len(first.ent) == 2
    assert device.lease is not None and len(device.lease.ent) == 1
    shop.clock.pass_(minutes=5)
    device.license = None
    device.license_id = None
    device.ask("renew")
    assert device.license == first


def test_a_row_holds_nothing_twice(shop: Shop) -> None:
    shop.plan("basic")
    device = Asking(shop, "a")
    device.activate(shop.license(seats=1).license_key)
    device.asked("renew")
    (row,) = shop.server.context.store.read(lambda tx: tx.execute(select(t.devices)).all())
    for name in ("presented", "last_jti", "lease_seq", "asked_seq", "last_contact_at", "drift",
                 "free_at", "prior_until", "answer"):  # fmt: skip
        assert getattr(row, name) is None
    assert row.question == packing.question(device.nonce) and len(row.question) == 8
    assert row.key == b"\x01" + unb64u(device.key.jwk["x"])


def _rows(shop: Shop) -> dict[str, DeviceRow]:
    query = select(*device_store.READ)
    found = shop.server.context.store.read(lambda tx: tx.execute(query).all())
    return {row.device_id: DeviceRow(*row) for row in found}
