"""A crash at any step leaves a usable state, and the lost reply is answered with the same lease."""

from __future__ import annotations

import itertools

import pytest
from tests.client.faults import Crash, CrashingFolder, Fuse
from tests.client.world import World, seal

from modelseal.errors import LicenseRevoked, ModelsealError, StateDamaged

MODEL = seal()


def _world(tmp_path, number, fuse):
    world = World(tmp_path / str(number))
    world.server.publish(MODEL)
    world.make_folder = lambda path: CrashingFolder(path, fuse)
    world.server.hooks.append(fuse.hook)
    return world


def _opens(client):
    keys = client.keys_for(MODEL.file_id, [0, 1])
    assert {n: k.reveal() for n, k in keys.items()} == MODEL.keys


def _for_every_step(tmp_path, prepare, act, after):
    """``act`` is crashed at each of its steps in a fresh world; ``after`` judges what is left."""
    for number in itertools.count():
        fuse = Fuse()
        world = _world(tmp_path, number, fuse)
        key = world.server.issue("face.swap")
        prepare(world, key)
        fuse.steps, fuse.at = 0, number
        fuse.named.clear()
        try:
            act(world, key)
        except Crash:
            after(world, key, fuse.named[-1])
            continue
        assert number > 6, "the scenario has hardly any steps"
        return number
    raise AssertionError


def _active(server):
    return [d for d in server.devices.values() if d.state == "active"]


def _nothing(world, key):
    pass


def _activate(world, key):
    with world.client() as client:
        client.activate(key)


def _renew(world, key):
    with world.client() as client:
        client.renew()


def test_activation_survives_a_crash_at_every_step(tmp_path):
    """Entering the key again gives the one seat there is, and the keys open."""

    def after(world, key, where):
        with world.client() as client:
            client.status()
            client.activate(key)
            assert client.status().state == "ACTIVE", where
            _opens(client)
        assert len(_active(world.server)) == 1, where
        assert [d.state for d in world.server.devices.values()] == ["active"], where

    _for_every_step(tmp_path, _nothing, _activate, after)


def test_renewal_survives_a_crash_at_every_step(tmp_path):
    """The next renewal is never taken for a copy's, whatever was lost."""

    def after(world, key, where):
        with world.client() as client:
            client.status()
            client.renew()
            assert client.status().state == "ACTIVE", where
            _opens(client)
            client.renew()
        assert [d.state for d in world.server.devices.values()] == ["active"], where

    _for_every_step(tmp_path, _activate, _renew, after)


def test_a_model_opens_after_a_crash_at_every_step_of_a_renewal_even_offline(tmp_path):
    """Between any two steps the old or the new lease can be used without the server."""

    def after(world, key, where):
        world.server.down = True
        with world.client() as client:
            _opens(client)

    _for_every_step(tmp_path, _activate, _renew, after)


def test_a_revocation_is_carried_out_after_a_crash_at_every_step(tmp_path):
    """Once the denial has arrived no key is usable, and the refusal can be told."""

    def revoke(world, key):
        _activate(world, key)
        world.server.license_of(key).state = "revoked"

    def renew(world, key):
        with pytest.raises(LicenseRevoked):
            _renew(world, key)

    def after(world, key, where):
        with world.client() as client:
            with pytest.raises(LicenseRevoked):
                client.renew()
            with pytest.raises(LicenseRevoked):
                client.keys_for(MODEL.file_id, [0, 1])
            assert client.status().state == "REVOKED", where
        left = {p.name for p in world.state.iterdir()}
        assert "lease.jwt" not in left, where

    _for_every_step(tmp_path, revoke, renew, after)


def test_giving_the_seat_back_survives_a_crash_at_every_step(tmp_path):
    """Repeating it ends with the seat free and nothing that opens a model."""

    def give_back(world, key):
        with world.client() as client:
            client.deactivate()

    def after(world, key, where):
        with world.client() as client:
            try:
                client.deactivate()
            except ModelsealError as error:
                assert error.code in ("device_returned", "not_activated"), where
            with pytest.raises(ModelsealError):
                client.keys_for(MODEL.file_id, [0])
            assert client.status().state in ("RETURNED", "NOT_ACTIVATED"), where
            client.activate(key)
            _opens(client)
        assert len(_active(world.server)) == 1, where

    _for_every_step(tmp_path, _activate, give_back, after)


def test_replacing_a_damaged_identity_survives_a_crash_at_every_step(tmp_path):
    """A damaged device key costs an activation, never the folder."""

    def damage(world, key):
        _activate(world, key)
        world.server.license_of(key).seats = 3
        with pytest.raises(StateDamaged), world.client() as client:
            (world.state / "device.key").write_bytes(b"damaged")
            client.keys_for(MODEL.file_id, [0])

    def after(world, key, where):
        with world.client() as client:
            client.activate(key)
            assert client.status().state == "ACTIVE", where
            _opens(client)
        assert not (world.state / "previous").exists(), where

    _for_every_step(tmp_path, damage, _activate, after)


def test_a_lost_reply_is_answered_with_the_very_same_lease(tmp_path):
    """The server is asked twice and issues once."""
    fuse = Fuse()
    world = _world(tmp_path, 0, fuse)
    key = world.server.issue("face.swap")
    _activate(world, key)
    issued = []

    def lose(when, method, path):
        if when == "after" and method == "PUT":
            device = next(iter(world.server.devices.values()))
            issued.append((device.lease_id, device.seq))
            if len(issued) == 1:
                raise Crash("reply lost")

    world.server.hooks.append(lose)
    with pytest.raises(Crash):
        _renew(world, key)
    with world.client() as client:
        client.renew()
        assert client.status().lease.seq == issued[0][1]
    assert issued[0] == issued[1]
