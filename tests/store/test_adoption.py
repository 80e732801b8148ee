"""Two requests of one device that both find the store behind: it is taken over once."""

from __future__ import annotations

from tests.server.world import Computer, Shop
from tests.store.snapshots import keep

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.server.services.adoption import adopt
from modelseal.server.store import devices
from modelseal.server.store import tokens as token_store


def test_an_adoption_that_comes_late_moves_no_chain_back(shop: Shop) -> None:
    shop.plan("basic")
    device = Computer(shop)
    device.activate(shop.license().license_key)
    shop.server.close()
    put_back = keep(shop.home)
    later = shop.reopen()
    snapshot_at = shop.clock()
    shop.clock.pass_(hours=1)
    kem = KemPrivateKey.generate()
    token = device.sign(device.request("renew", kem=device.kem(kem)))
    answer = later.server.devices.renew(device.device_id or "", token)
    device._accept(answer.lease, answer.license, kem)
    later.server.close()
    put_back()
    shop.clock.pass_(hours=1)
    device.shop = shop.reopen()
    context = device.shop.server.context
    context.store.write(token_store.add_restore, "evt_restore", snapshot_at, shop.clock())
    slow = device.request("renew", kem=device.kem(kem), lease_token=answer.lease)
    given = device.renew(lease_token=answer.lease)
    adopt(context, slow, device.device_id or "", shop.clock())
    row = context.store.read(devices.get, device.device_id or "")
    assert row is not None
    assert (row.seq, row.lease_id) == (given.seq, given.jti)
    assert len(device.shop.events("lease_adopted")) == 1
    device.shop.server.close()
