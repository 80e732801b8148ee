"""What a stolen database tells: no license key, no data key, no trait, no token, no private key."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy import Connection
from tests.server.world import Computer, Shop, denied

from modelseal import audit, device
from modelseal.admin import IssueLicense, Role
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import VerifyKey
from modelseal.device import TraitKind, TraitReading, TraitValue
from modelseal.license import lease_keys, license_key
from modelseal.license.plans import LeaseTerms
from modelseal.server.app import create_app
from modelseal.server.store import tables

UNKNOWN = license_key.format_key(bytes(10))

RAW = {
    TraitKind.SMBIOS_UUID: "4c4c4544-0043-3510-8052-b9c04f4d3632",
    TraitKind.BOARD_SERIAL: "PF3XK29Q-distinctive",
    TraitKind.MAC: "a4:bb:6d:11:22:33",
    TraitKind.MACHINE_ID: "9f86d081884c7d659a2feaa0c55ad015",
}


def spellings(secret: bytes) -> Iterator[bytes]:
    """The ways in which bytes are usually written down."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield base64.b64encode(secret).rstrip(b"=")
    yield base64.urlsafe_b64encode(secret).rstrip(b"=")


@pytest.mark.parametrize("keys_per_lease", [64, 1], ids=["in the lease", "in a bundle"])
def test_a_copy_of_the_database_holds_no_secret_in_clear(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys_per_lease: int
) -> None:
    data_keys = _published(shop, tmp_path)
    monkeypatch.setattr(lease_keys, "MAX_KEYS", keys_per_lease)
    traits = device.gather(TraitReading(k, TraitValue(v.encode())) for k, v in RAW.items())
    enrolled = device.enrol(traits, shop.trust.trait_salt)
    assert len(enrolled.digests) == len(RAW)
    wish = IssueLicense(plan="basic", customer="li@example.com", idempotency_key="order", seats=1)
    typed = [shop.admin.issue_license(wish).license_key]
    mine = Computer(shop, traits=list(enrolled.digests))
    mine.activate(typed[0], label="laptop")
    mine.renew()
    denied(lambda: Computer(shop, "b").activate(typed[0]), shop)
    typed.append(shop.admin.rekey_license(mine.license_id or "").license_key)
    typed.append(Computer(shop, "c").trial("trial").license_key)
    online = Computer(shop, "d")
    typed.append(shop.license("online").license_key)
    online.activate(typed[-1])
    online.release()
    token = shop.admin.create_token(Role.OWNER, 3600, "secret").token
    shop.server.log.sequence()
    secrets: list[bytes] = [token.encode(), *(value.encode() for value in RAW.values())]
    for key in typed:
        grouped = key.replace("-", "")
        parts = [key, key.lower(), grouped, grouped.removeprefix("MS"), key.removeprefix("MS-")]
        secrets += [part.encode() for part in parts] + [*spellings(license_key.parse(key))]
    for value in [*data_keys, *mine.keys.values()]:
        secrets += spellings(value)
    found = _everything(shop)
    assert b"li@example.com" in found and b"laptop" in found, "the search finds what is there"
    assert mine.device_id is not None and mine.device_id.encode() in found
    assert [secret for secret in secrets if secret in found] == []


def _published(shop: Shop, folder: Path) -> list[bytes]:
    """Plans and a model, and the model's data keys as a device once opened them."""
    shop.plan()
    shop.plan("trial", trial_once_per_device=True)
    shop.plan("online", enforcement="online", lease=LeaseTerms(max_seconds=3600))
    shop.publish(folder, "swap.onnx", "face.swap")
    reader = Computer(shop, "reader")
    reader.activate(shop.license().license_key)
    assert len(reader.keys) == 2 and all(len(key) == 32 for key in reader.keys.values())
    return list(reader.keys.values())


def _everything(shop: Shop) -> bytes:
    """The bytes of the database with its journal, before and after it was closed."""
    database = shop.home / "server" / "modelseal.db"
    parts = [path.read_bytes() for path in sorted(database.parent.glob("modelseal.db*"))]
    assert len(parts) > 1, "the journal is looked through too"
    shop.server.close()
    return b"".join([*parts, database.read_bytes()])


def test_neither_database_nor_log_names_an_address_a_host_or_a_raw_trait(
    shop: Shop, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A life over HTTP from one address: activation, renewal, fork, refusal, wrong key, failure."""
    caplog.set_level("DEBUG")
    address, host = "203.0.113.77", "lis-workstation-7"
    traits = device.gather(TraitReading(k, TraitValue(v.encode())) for k, v in RAW.items())
    enrolled = list(device.enrol(traits, shop.trust.trait_salt).digests)
    shop.plan("basic", seats=1)
    key = shop.license().license_key
    mine = Computer(shop, traits=enrolled)
    app = create_app(shop.server, ticking=False)
    front = app._front  # type: ignore[attr-defined]

    async def from_address(behind: Any, scope: Any, receive: Any, send: Any) -> None:
        scope["client"] = (address, 50123)
        await front(behind, scope, receive, send)

    app._front = from_address  # type: ignore[attr-defined]
    with TestClient(app) as http:

        def send(method: str, path: str, token: bytes) -> int:
            headers = {
                "Content-Type": "application/jwt", "User-Agent": f"app on {host}",
                "X-Forwarded-For": address, "Host": host,
            }  # fmt: skip
            return int(http.request(method, path, content=token, headers=headers).status_code)

        kem = KemPrivateKey.generate()
        first = mine.activation(key, kem)
        assert send("POST", "/v1/devices", first) == 201
        assert send("POST", "/v1/devices", first) == 201
        row = shop.admin.list_devices().items[0]
        mine.device_id, mine.license_id, mine.seq = row.device_id, row.license_id, 1
        copy = mine.copy()
        path = f"/v1/leases/{row.device_id}"
        for asking, status in ((mine, 200), (copy, 403)):
            token = asking.sign(asking.request("renew", kem=mine.kem(kem)))
            assert send("PUT", path, token) == status
        other = Computer(shop, "b").activation(key, KemPrivateKey.generate())
        unknown = Computer(shop, "c").activation(UNKNOWN, KemPrivateKey.generate())
        for refused in (other, unknown):
            assert send("POST", "/v1/devices", refused) == 403
        assert send("POST", "/v1/devices", b"no token") == 400
    assert any(address in str(who) for _, who in shop.server.devices.limiter._buckets)
    shop.server.log.sequence()
    exported = b"".join(shop.admin.export_events())
    said = capfd.readouterr()
    logged = f"{caplog.text}{said.out}{said.err}".encode()
    searched = {"database": _everything(shop), "export": exported, "log": logged}
    assert row.device_id.encode() in searched["database"]
    wanted = [address, address.rpartition(".")[0], host, *RAW.values(), key]
    found = [
        (where, text) for where, data in searched.items() for text in wanted
        if text.encode() in data
    ]  # fmt: skip
    assert found == []


def test_an_erased_customer_is_nowhere_in_the_store_and_the_log_still_verifies(
    shop: Shop,
) -> None:
    """The rows hold nothing that people wrote or that tells a computer; the proofs hold."""
    shop.plan()
    wish = IssueLicense(
        plan="basic", customer="eve@example.com", label="her studio", seats=3,
        metadata={"tel": "tel-0199-distinctive"}, expires_in_seconds=86400,
    )  # fmt: skip
    issued = shop.admin.issue_license(wish)
    mine = Computer(shop)
    mine.activate(issued.license_key, label="her laptop")
    mine.renew(label="her new laptop")
    shop.admin.suspend_license(issued.license_id, "she wrote on 1 May")
    shop.admin.revoke_device(mine.device_id or "", "stolen in Ghent")
    shop.server.log.sequence()
    written = ["eve@example.com", "her studio", "tel-0199", "her laptop", "her new laptop",
               "she wrote on 1 May", "stolen in Ghent"]  # fmt: skip
    digests = {trait.digest.to_bytes(4, "big").hex() for trait in mine.traits}
    digests_told = {str(trait.digest) for trait in mine.traits}
    before = _rows(shop)
    assert [text for text in written if text not in before] == ["her laptop"]
    assert all(digest in before for digest in digests)
    shop.admin.erase_customer("eve@example.com")
    after = _rows(shop)
    assert [text for text in (*written, *digests, *digests_told) if text in after] == []
    assert issued.license_id in after and (mine.device_id or "") in after
    keys = [VerifyKey.from_jwk(k.jwk, k.alg) for k in shop.trust.keys("checkpoint")]  # type: ignore[arg-type]
    report = audit.verify_export(list(shop.admin.export_events()), None, keys)
    assert report.events == len(shop.events())


def _rows(shop: Shop) -> str:
    """Every row of every table, as text; bytes in hex."""

    def read(tx: Connection) -> str:
        return repr([
            [value.hex() if isinstance(value, bytes) else value for value in row]
            for table in tables.metadata.sorted_tables
            for row in tx.execute(table.select())
        ])  # fmt: skip

    return shop.server.context.store.read(read)
