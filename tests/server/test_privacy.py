"""What a stolen database tells: no license key, no data key, no trait, no token, no private key."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.world import Computer, Shop, denied

from modelseal import device
from modelseal.admin import IssueLicense, Role
from modelseal.device import TraitKind, TraitReading, TraitValue
from modelseal.license import lease_keys, license_key
from modelseal.license.plans import LeaseTerms

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
