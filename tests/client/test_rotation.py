"""Keys and roots that change while devices are out there."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from tests.client.world import World, foundation, seal

from modelseal.client import keys
from modelseal.errors import LicenseRevoked, TokenKeyUnknown

MODEL = seal()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    made.server.publish(MODEL)
    made.key = made.server.issue("face.swap")
    with made.client() as client:
        client.activate(made.key)
    return made


def _opens(world):
    with world.client() as client:
        return client.keys_for(MODEL.file_id, [0])[0].reveal() == MODEL.keys[0]


def test_a_rotated_signing_key_is_learned_at_the_next_renewal(world):
    world.server.rotate_signing()
    with world.client() as client:
        client.renew()
        assert client.trust.keys_version == 2
    world.server.down = True
    assert _opens(world)


def test_a_denial_by_a_rotated_key_is_understood(world):
    world.server.rotate_signing()
    world.server.license_of(world.key).state = "revoked"
    with world.client() as client, pytest.raises(LicenseRevoked):
        client.renew()


def test_a_device_offline_through_two_rotations_recovers_by_the_chain(world):
    """The app still pins the first root; offline starts go on with what was learned."""
    for _ in range(2):
        world.server.rotate_root()
        world.server.rotate_signing()
    with world.client() as client:
        client.renew()
        assert (client.trust.root_version, client.trust.keys_version) == (3, 3)
    world.server.down = True
    with world.client() as client:
        assert client.config.pinned.root_version == 1
        assert client.trust.root_version == 3
    assert _opens(world)


def test_without_its_history_a_newer_trust_is_not_believed(world):
    """What cannot be reached from the pinned root by signatures does not count."""
    world.server.rotate_root()
    world.server.rotate_signing()
    with world.client() as client:
        client.renew()
    (world.state / "catalog" / "root_history" / "2.root.json").unlink()
    world.server.down = True
    with world.client() as client:
        assert client.trust.raw == foundation().trust.raw
        with pytest.raises(TokenKeyUnknown):
            client.status()
    world.server.down = False
    with world.client() as client:
        client.renew()
    assert _opens(world)


def test_rubbish_in_the_root_history_does_not_stop_the_catalog(world):
    world.server.rotate_signing()
    with world.client() as client:
        client.renew()
        (world.state / "catalog" / "root_history" / "2.root.json").write_bytes(b"rubbish")
        client.pull()


def test_a_key_that_no_catalog_lists_is_not_believed(world):
    catalog = world.server.key_list, world.server.keys_version, world.server.version
    world.server.rotate_signing()
    world.server.key_list, world.server.keys_version, world.server.version = catalog
    with world.client() as client, pytest.raises(TokenKeyUnknown):
        client.renew()
    assert _opens(world)


def test_what_is_sealed_for_a_lease_opens_until_its_signing_key_ends(world):
    """A key that ends early shortens the lease; what was sealed for it still names its own end."""
    with world.client() as client:
        client.activate(world.server.issue("face.swap"), switch=True)
        core = client._core
        held = core.held()
        shorter = msgspec.structs.replace(held.lease, exp=held.lease.exp - 3600)
        cut = dataclasses.replace(held, lease=shorter)
        assert keys.open_lease(core, cut) == keys.open_lease(core, held) != {}
