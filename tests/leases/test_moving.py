"""A device with a hardware lease, or one that only a TPM's level opens, moves its key as well."""

from __future__ import annotations

import pytest
from tests.client.real_shop import opens

# one shop and one kind of device for both files
from tests.leases.test_client import device, shop  # noqa: F401 - fixtures

from modelseal.client.identity import kind_of
from modelseal.errors import KeyNotInLease, NotEntitled


@pytest.mark.parametrize("plan", ["hard", "levels"])
def test_level_and_enforcement_go_on_under_the_new_key(shop, device, tpm, plan):  # noqa: F811
    client = device.activated(plan)
    before = client.status()
    after = client.move_device(f"tpm2://{tpm.address}")
    assert kind_of((device.state / "device.key").read_bytes()) == "tpm2"
    assert (after.device_id, after.level) == (before.device_id, 2)
    assert after.lease.enforcement == before.lease.enforcement == "hardware"
    assert opens(client, shop.swap)
    again = device.client()
    assert again.renew().level == 2 and opens(again, shop.swap)
    if plan == "levels":
        assert opens(again, shop.restore)
    with tpm.connect() as chip:
        assert chip.reap() == 0


def test_a_key_in_a_tpm_of_nobodys_reaches_no_level(shop, device, new_tpm):  # noqa: F811
    """A software TPM without a verified endorsement chain is L0: higher keys never come."""
    fresh = new_tpm(fresh=True)
    device.address = fresh.address
    client = device.activated("levels")
    status = client.move_device(f"tpm2://{fresh.address}")
    assert status.level == 0 and status.level_missing
    assert all(item.level == 0 for item in client.standing().lease.keys)
    assert opens(client, shop.swap)
    with pytest.raises((KeyNotInLease, NotEntitled)):
        opens(client, shop.restore)
