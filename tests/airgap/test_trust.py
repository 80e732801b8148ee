"""Newer keys and roots reach a device without a network in the response itself."""

from __future__ import annotations

import msgspec
import pytest
from tests.server.world import DAY

from modelseal import errors
from modelseal.desk import rotating
from modelseal.desk import workspace as workspaces
from modelseal.license import air_gap
from modelseal.trust import Use


@pytest.fixture
def device(gap, shop):
    """A device with a lease."""
    shop.plan()
    made = gap()
    made.round(shop.license().license_key)
    return made


def _rotate(shop) -> None:
    with workspaces.open(shop.home) as desk:
        rotating.rotate(desk, shop.admin, [Use.LEASE, Use.LICENSE, Use.STATUS], now=shop.clock())


def _rotate_root(shop) -> None:
    with workspaces.open(shop.home) as desk:
        rotating.rotate_root(desk, shop.admin, now=shop.clock())


def test_a_response_carries_no_trust_that_the_device_has(device):
    """Nothing travels that is not needed: codes and sticks are small."""
    assert air_gap.decode(device.answer(device.ask())).trust is None


def test_a_device_offline_through_two_rotations_recovers_by_one_response(device, shop):
    """Signing keys and root changed, twice; the program starts anew and still believes."""
    for _ in range(2):
        shop.clock.pass_(days=2)
        _rotate(shop)
        _rotate_root(shop)
    shop.clock.pass_(days=1)
    data = device.answer(device.ask())
    carried = air_gap.decode(data).trust
    assert carried is not None and len(carried.roots) == 2
    assert device.take(data).trust_updated
    device.restart()
    assert device.trust.root_version == shop.server.context.trust.root_version == 3
    assert device.opens()
    assert air_gap.decode(device.answer(device.ask())).trust is None
    device.round()
    assert device.opens()


def test_the_catalog_goes_on_from_the_roots_that_came_by_file(device, shop):
    """What was written for the next start is what the catalog's own client reads."""
    _rotate_root(shop)
    device.round()
    history = device.state / "catalog" / "root_history"
    assert [path.name for path in sorted(history.iterdir())] == ["2.root.json"]
    assert (device.state / "catalog" / "root.json").read_bytes() == (
        history / "2.root.json"
    ).read_bytes()


def test_trust_that_does_not_follow_is_refused_and_nothing_changes(device, shop):
    """A root left out, or edited, or the key list of before: the lease is not taken either."""
    _rotate(shop)
    _rotate_root(shop)
    data = device.answer(device.ask())
    response = air_gap.decode(data)
    before = device.snapshot()
    for changes, kind in (
        ({"roots": []}, errors.InvalidBytes),
        ({"key_list": response.trust.key_list.replace(b"lease", b"leasf", 1)}, errors.InvalidBytes),
        ({"roots": [response.trust.roots[0][:-3] + b"00}"]}, errors.InvalidBytes),
    ):
        trust = msgspec.structs.replace(response.trust, **changes)
        forged = air_gap.encode(msgspec.structs.replace(response, trust=trust))
        with pytest.raises(kind):
            device.take(forged)
        assert device.snapshot() == before
    with pytest.raises(errors.TokenKeyUnknown):
        device.take(air_gap.encode(msgspec.structs.replace(response, trust=None)))
    assert device.snapshot() == before
    device.take(data)
    assert device.opens()


def test_a_denial_brings_newer_trust_too(device, shop):
    """It is signed by the new key, and carried out."""
    _rotate(shop)
    shop.admin.revoke_device(device.id)
    with pytest.raises(errors.DeviceRevoked):
        device.round()
    assert device.trust.keys_version == shop.server.context.trust.keys_version
    assert not device.opens()


def test_a_lease_ahead_outlives_a_rotation(gap, shop):
    """It was signed by the key of before, which the list keeps until it has ended."""
    shop.plan()
    device = gap()
    device.round(shop.license().license_key, next_count=2)
    _rotate(shop)
    shop.clock.now += 6 * DAY
    device.type(device.code())
    assert device.opens()
