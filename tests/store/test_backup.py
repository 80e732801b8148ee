"""A backup taken while the server works, and the drill: put back under devices that went on."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text
from tests.server.world import DAY, Computer, Shop
from tests.store.postgres import Postgres, configure

from modelseal import audit
from modelseal.admin import LicenseChange
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import (
    AuditBroken,
    BackupInvalid,
    ConfigInvalid,
    Conflict,
    CredentialInvalid,
    ModelsealError,
    StoreBehind,
)
from modelseal.license import tokens
from modelseal.license.claims import StatusListClaims
from modelseal.server.services import backupfile, restore
from modelseal.server.store import dump
from modelseal.server.store import tokens as token_store


def backup(shop: Shop) -> io.BytesIO:
    out = io.BytesIO()
    shop.server.backup(out)
    return out


def put_back(shop: Shop, kept: io.BytesIO, lost: list[bytes] | None = None) -> Shop:
    shop.server.close()
    restore(shop.home, kept, lost=lost, replace=True, now=shop.clock)
    return shop.reopen()


def rows(shop: Shop) -> dict[str, list[str]]:
    context = shop.server.context
    found: dict[str, list[str]] = {}
    name = ""
    for line in context.store.snapshot(lambda tx: list(dump.write(tx))):
        value = json.loads(line)
        if isinstance(value, dict):
            name = value["table"]
        else:
            found.setdefault(name, []).append(line.decode())
    return found


@dataclass
class Fleet:
    """Devices that show their lease when they are asked to, as the client does."""

    shop: Shop
    devices: list[Computer] = field(default_factory=list)
    leases: dict[str, str] = field(default_factory=dict)

    def activate(self, key: str, number: int) -> Computer:
        device = Computer(self.shop, f"d{number}")
        kem = KemPrivateKey.generate()
        calls = self.shop.server.devices
        answer = calls.activate(device.activation(key, kem), network=device.seed)
        device._accept(answer.lease, answer.license, kem)
        self.leases[device.device_id or ""] = answer.lease
        self.devices.append(device)
        return device

    def renew(self, device: Computer) -> str:
        """What came of it: ``allowed`` or the code of the error."""
        try:
            self._renew(device, {})
        except StoreBehind:
            try:
                self._renew(device, {"lease_token": self.leases[device.device_id or ""]})
            except ModelsealError as error:
                return error.code
        except ModelsealError as error:
            return error.code
        return "allowed"

    def _renew(self, device: Computer, more: dict[str, str]) -> None:
        kem = KemPrivateKey.generate()
        device.shop = self.shop
        token = device.sign(device.request("renew", kem=device.kem(kem), **more))
        calls = self.shop.server.devices
        answer = calls.renew(device.device_id or "", token, network=device.seed)
        device._accept(answer.lease, answer.license, kem)
        self.leases[device.device_id or ""] = answer.lease


def drill(shop: Shop, count: int) -> None:
    """A copy 12 hours old is put back under ``count`` devices that went on."""
    fleet = Fleet(shop)
    shop.plan("basic", lease={"max_seconds": 7 * 86400})
    own = shop.license(seats=count)
    farm, other = shop.license(seats=2), shop.license(seats=2)
    for number in range(count // 2):
        fleet.activate(own.license_key, number)
    stolen = fleet.activate(other.license_key, 9001)
    gone = fleet.activate(farm.license_key, 9002)
    kept = backup(shop)

    shop.clock.pass_(hours=6)
    for device in fleet.devices:  # one, two or three renewals on
        for _ in range(1 + (device.seq + len(device.seed)) % 3):
            assert fleet.renew(device) == "allowed"
    for number in range(count // 2, count):
        fleet.activate(own.license_key, number)
    late = fleet.activate(other.license_key, 9003)  # came and was revoked since
    shop.admin.revoke_device(stolen.device_id or "", "stolen")
    shop.admin.revoke_device(late.device_id or "", "stolen")
    shop.admin.revoke_license(farm.license_id, "chargeback")
    lost = list(shop.admin.export_events())
    witness = shop.admin.checkpoint().note
    shop.clock.pass_(hours=6)

    restored = put_back(shop, kept, lost)
    fleet.shop = restored
    honest = [d for d in fleet.devices if d not in (stolen, gone, late)]
    came = [fleet.renew(device) for device in honest]
    assert came == ["allowed"] * count, restored.events("store_behind")
    assert [fleet.renew(d) for d in (stolen, gone, late)] == [
        "device_revoked", "license_revoked", "device_revoked",
    ]  # fmt: skip
    assert restored.admin.show_license(own.license_id).seats_used == count
    assert not restored.events("fork_found", "store_behind")
    assert [fleet.renew(device) for device in honest] == ["allowed"] * count

    told = restored.events("server_restored")
    assert [event.params["lost_size"] for event in told] == [len(leaves(lost))]
    keys = [VerifyKey.from_jwk(k.jwk, k.alg) for k in shop.trust.keys("checkpoint")]  # type: ignore[arg-type]
    export = list(restored.admin.export_events())
    report = audit.verify_export(export, None, keys, witness)
    assert [r.snapshot_size for r in report.restores] == [told[0].params["snapshot_size"]]
    restored.server.close()


def leaves(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if json.loads(line)["type"] == "event"]


def test_devices_that_went_on_are_neither_refused_nor_called_a_copy(shop: Shop) -> None:
    drill(shop, 24)


@pytest.mark.soak
def test_a_thousand_devices_that_went_on_are_neither_refused_nor_called_a_copy(
    shop: Shop,
) -> None:
    drill(shop, 1000)


def test_what_is_restored_is_what_was_kept(shop: Shop) -> None:
    shop.plan("basic")
    device = Computer(shop)
    device.activate(shop.license().license_key)
    kept = backup(shop)
    before = rows(shop)
    shop.clock.pass_(hours=1)
    device.renew()
    restored = put_back(shop, kept)
    after = rows(restored)
    moved = {"events", "events_pending", "restores", "counters", "tuf_metadata", "idempotency"}
    moved |= {name for name in after if name.startswith("log_")}
    assert {n: before[n] for n in before if n not in moved} == {
        n: after[n] for n in after if n not in moved
    }
    assert set(before["events"]) < set(after["events"])
    restored.server.close()


def test_a_backup_taken_under_way_is_one_state(shop: Shop) -> None:
    """What is written while lines are taken out is not in them, not even in later tables."""
    shop.plan("basic")
    key = shop.license(seats=50).license_key
    Computer(shop, "first").activate(key)

    class Slow(io.BytesIO):
        writes = 0

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.writes += 1
            if self.writes == 4:
                Computer(shop, "second").activate(key)
            return super().write(data)

    out = Slow()
    shop.server.backup(out)
    assert out.writes > 4
    assert len(shop.admin.list_devices().items) == 2
    restored = put_back(shop, out)
    assert len(restored.admin.list_devices().items) == 1
    assert len(restored.events("device_activated")) == 1
    restored.server.close()


def test_without_the_export_a_revocation_is_lost_but_nobody_is_refused(shop: Shop) -> None:
    fleet = Fleet(shop)
    shop.plan("basic")
    device = fleet.activate(shop.license().license_key, 1)
    kept = backup(shop)
    shop.clock.pass_(hours=1)
    assert fleet.renew(device) == "allowed"
    shop.clock.pass_(hours=1)
    fleet.shop = put_back(shop, kept)
    assert fleet.renew(device) == "allowed"
    fleet.shop.server.close()


def test_an_adopted_device_has_its_place_in_the_status_list_again_or_another_free_one(
    shop: Shop,
) -> None:
    fleet = Fleet(shop)
    shop.plan("basic")
    issued = shop.license(seats=3)
    kept = backup(shop)
    shop.clock.pass_(hours=1)
    early, late = fleet.activate(issued.license_key, 1), fleet.activate(issued.license_key, 2)
    places = [device.lease.status.idx for device in (early, late)]  # type: ignore[union-attr]
    shop.clock.pass_(hours=1)
    fleet.shop = put_back(shop, kept)
    assert fleet.renew(early) == "allowed"
    store = fleet.shop.server.context.store
    with store.engine.begin() as tx:  # another device drew the second one's place meanwhile
        tx.execute(text("UPDATE devices SET status_idx = :idx"), {"idx": places[1]})
    assert fleet.renew(late) == "allowed"
    found = store.read(
        lambda tx: tx.execute(text("SELECT status_idx FROM devices")).scalars().all()
    )
    assert len(set(found)) == 2 and places[1] in found
    assert early.lease is not None and early.lease.status.idx == places[0]
    fleet.shop.server.close()


def test_every_act_that_an_export_tells_is_done_again(shop: Shop) -> None:
    shop.plan("basic")
    shop.plan("pro", "face.swap", "face.pro")
    made = {n: shop.license(customer=f"{n}@example.com", seats=2) for n in (
        "renewed", "suspended", "rekeyed", "erased", "returned", "replaced",
    )}  # fmt: skip
    devices = {}
    for number, name in enumerate(made):
        devices[name] = Computer(shop, f"c{number}")
        devices[name].activate(made[name].license_key)
    token = shop.admin.create_token("support", 3600, "left")  # type: ignore[arg-type]
    kept = io.BytesIO()
    made_rows, before = shop.server.backup(kept).rows, rows(shop)
    shop.clock.pass_(hours=1)
    api = shop.admin
    end = shop.clock() + 700 * DAY
    api.renew_license(made["renewed"].license_id, LicenseChange(expires_at=end, seats=9))
    api.change_license(made["renewed"].license_id, LicenseChange(plan="pro"))
    api.suspend_license(made["suspended"].license_id, "unpaid")
    api.rekey_license(made["rekeyed"].license_id)
    api.erase_customer("erased@example.com")
    devices["returned"].give_back()
    successor = Computer(shop, "successor")
    successor.activate(made["replaced"].license_key, replace=devices["replaced"].device_id)
    api.revoke_token(token.token_id)
    issued = shop.license(customer="late@example.com")
    api.revoke_license(issued.license_id, "never there")
    lost = list(api.export_events())
    shop.clock.pass_(hours=1)
    shop.server.close()
    assert made_rows == sum(map(len, before.values()))
    done = restore(shop.home, kept, lost=lost, replace=True, now=shop.clock)
    assert done.rows == made_rows
    assert done.again.rekey == [made["rekeyed"].license_id]
    assert done.again.unknown == 1
    again = shop.reopen()
    api = again.admin
    shown = api.show_license(made["renewed"].license_id)
    assert (shown.expires_at, shown.seats, shown.plan) == (end, 9, "pro")
    assert api.show_license(made["suspended"].license_id).state == "suspended"
    with pytest.raises(ModelsealError):
        Computer(again, "thief").activate(made["rekeyed"].license_key)
    assert api.show_license(made["erased"].license_id).customer is None
    assert not [e for e in again.events() if "erased@example.com" in json.dumps(e.params)]
    states = {
        n: api.show_device(devices[n].device_id or "").state for n in ("returned", "replaced")
    }
    assert states == {"returned": "returned", "replaced": "replaced"}
    with pytest.raises(CredentialInvalid):
        again.server.tokens.authenticate(token.token)
    again.server.close()


def test_numbers_that_devices_have_seen_do_not_go_back(shop: Shop) -> None:
    shop.plan("basic")
    license_id = shop.license().license_id
    key = shop.admin.rekey_license(license_id).license_key
    Computer(shop).activate(key)
    kept = backup(shop)
    for _ in range(3):
        shop.admin.suspend_license(license_id, "")
        shop.admin.resume_license(license_id)
        shop.clock.pass_(days=1)
        shop.server.catalog.refresh()

    def numbers(at: Shop) -> tuple[int, int, int]:
        claims = tokens.read(at.server.statuses.token(1).decode(), StatusListClaims, at.trust)
        state = at.server.catalog.state()
        return claims.number, state.snapshot.version, state.timestamp.version

    seen = numbers(shop)
    restored = put_back(shop, kept)
    now = numbers(restored)
    assert all(new > old for new, old in zip(now, seen, strict=True)), (now, seen)
    restored.server.close()


def test_a_store_that_holds_something_is_replaced_only_when_told(shop: Shop) -> None:
    kept = backup(shop)
    shop.plan("basic")
    shop.server.close()
    with pytest.raises(Conflict):
        restore(shop.home, kept, now=shop.clock)
    with shop.reopen().server as server:
        assert server.log.elected()
    with pytest.raises(Conflict):
        restore(shop.home, kept, replace=True, now=shop.clock)
    shop.clock.pass_(minutes=1)
    restore(shop.home, kept, replace=True, now=shop.clock)


def damaged(data: bytes) -> list[bytes]:
    cut = [data[:at] for at in (0, 10, len(data) // 2, len(data) - 1)]
    flipped = [
        data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        for at in range(0, len(data), max(1, len(data) // 40))
    ]
    return [*cut, *flipped, data + b"x", b"modelseal-store-backup 2\n" + data[25:]]


def test_a_damaged_file_changes_nothing(shop: Shop) -> None:
    shop.plan("basic")
    data = backup(shop).getvalue()
    shop.server.close()
    for wrong in damaged(data):
        with pytest.raises(BackupInvalid):
            restore(shop.home, io.BytesIO(wrong), replace=True, now=shop.clock)
    with shop.reopen().server as server:
        assert len(server.plans.list(shop.admin._actor, None).items) == 1


@pytest.mark.parametrize("line", [
    b"5", b"[1]", b'{"table":"nowhere","columns":[["a","plain"]]}', b"[" * 500,
    b'{"table":"counters","columns":[["name","odd"]]}', b'{"table":"counters"}', b"\xff",
    b'{"table":"events; DROP","columns":[["a","plain"]]}',
    b'{"table":"counters","columns":[["name","plain"],["value","bytes"]]}\n["a",1]',
    b'{"table":"counters","columns":[["name","plain"],["value","plain"]]}\n["a",{}]',
    b'{"table":"counters","columns":[["name","plain"],["other","plain"]]}\n["a",1]',
])  # fmt: skip
def test_a_forged_file_changes_nothing(shop: Shop, line: bytes) -> None:
    shop.plan("basic")
    with io.BytesIO(backup(shop).getvalue()) as file:
        head = backupfile.check(file)
    forged = io.BytesIO()
    backupfile.write(forged, head, line.split(b"\n"))
    shop.server.close()
    with pytest.raises(ModelsealError):
        restore(shop.home, forged, replace=True, now=shop.clock)
    with shop.reopen().server as server:
        assert len(server.plans.list(shop.admin._actor, None).items) == 1


def test_an_export_of_another_history_is_refused(shop: Shop) -> None:
    shop.plan("basic")
    kept = backup(shop)
    older = put_back(shop, kept)
    other = list(older.admin.export_events())  # the log went another way since
    older.admin.create_plan  # noqa: B018
    older.server.close()
    edited = [line.replace(b'"basic"', b'"other"') for line in other]
    with pytest.raises(AuditBroken):
        restore(shop.home, kept, lost=edited, replace=True, now=shop.clock)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_store_moves_from_sqlite_to_postgresql_with_all_it_holds(
    shop: Shop, postgres: Postgres
) -> None:
    fleet = Fleet(shop)
    shop.plan("basic")
    key = shop.license(seats=3).license_key
    device = fleet.activate(key, 1)
    kept = backup(shop)
    shop.server.close()
    name = postgres.create()
    configure(shop.home, postgres.url(name))
    restore(shop.home, kept, now=shop.clock)
    moved = shop.reopen()
    fleet.shop = moved
    assert moved.server.context.store.engine.dialect.name == "postgresql"
    assert fleet.renew(device) == "allowed"
    fleet.activate(key, 2)
    assert moved.admin.show_license(device.license_id or "").seats_used == 2
    moved.server.close()
    postgres.drop(name)


def lines_of(*tables: tuple[str, list[tuple[str, str]], list[list[object]]]) -> list[bytes]:
    """What a release with other tables would have written."""
    found = []
    for name, columns, values in tables:
        found.append(json.dumps({"table": name, "columns": columns}).encode())
        found += [json.dumps(row).encode() for row in values]
    return found


def test_a_backup_of_the_first_schema_is_read_and_comes_forward(shop: Shop) -> None:
    file = io.BytesIO()
    head = backupfile.Head(
        shop.server.context.product, shop.server.context.server_id, "0001", shop.clock(), 0
    )
    columns = [("name", "plain"), ("value", "plain")]
    backupfile.write(file, head, lines_of(("counters", columns, [["old", 41]])))
    restored = put_back(shop, file)
    context = restored.server.context
    assert context.store.read(token_store.counter, "old") == 41
    restored.server.ready()
    assert restored.events("server_restored")
    restored.server.close()


def test_a_backup_of_a_later_schema_is_refused_and_changes_nothing(shop: Shop) -> None:
    shop.plan("basic")
    file = io.BytesIO()
    head = backupfile.Head(
        shop.server.context.product, shop.server.context.server_id, "9999", shop.clock(), 0
    )
    backupfile.write(file, head, [])
    shop.server.close()
    with pytest.raises(ConfigInvalid):
        restore(shop.home, file, replace=True, now=shop.clock)
    with shop.reopen().server as server:
        assert len(server.plans.list(shop.admin._actor, None).items) == 1


VECTOR = Path(__file__).parents[2] / "vectors" / "store" / "store.backup"


def test_the_backup_that_this_release_wrote_stays_readable() -> None:
    """``vectors/store``: made by ``backupfile.write`` on the day the format was; see its JSON."""
    told = json.loads(VECTOR.with_suffix(".json").read_text())
    with VECTOR.open("rb") as file:
        head = backupfile.check(file)
        assert json.loads(msgspec.json.encode(head)) == told["head"]
        assert [json.loads(line) for line in backupfile.rows(file)] == told["lines"]
