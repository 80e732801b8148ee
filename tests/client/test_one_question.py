"""From one place in the chain there is one question, whatever is asked and refused meanwhile."""

from __future__ import annotations

import pytest
from tests.client.world import World

from modelseal.errors import ModelsealError, ServerUnreachable, UnknownLicenseKey
from modelseal.license import license_key

UNKNOWN = license_key.format_key(bytes(10))


def _losing(world, when):
    """The next exchange is lost ``before`` or ``after`` the server acted."""
    left = [when]

    def hook(moment, _method, _path):
        if left and left[0] == moment:
            left.clear()
            raise ServerUnreachable("lost")

    world.server.hooks.append(hook)


@pytest.fixture
def world(tmp_path):
    """A computer with a lease whose renewal was answered, but the answer was lost."""
    made = World(tmp_path)
    key = made.server.issue("face.swap")
    made.key = key
    with made.client() as client:
        client.activate(key)
        _losing(made, "after")
        with pytest.raises(ModelsealError):
            client.renew()
    return made


def _states(world):
    return [device.state for device in world.server.devices.values()]


def test_a_wrong_license_key_does_not_make_a_fork_of_an_unanswered_renewal(world):
    """The next renewal is answered with the lease that was lost."""
    with world.client() as client:
        with pytest.raises(UnknownLicenseKey):
            client.activate(UNKNOWN)
        client.renew()
        assert client.status().state == "ACTIVE"
    assert _states(world) == ["active"]


def test_entering_the_key_in_vain_after_an_unanswered_renewal_makes_no_fork(world):
    """A request that never arrived leaves the unanswered question as it was."""
    _losing(world, "before")
    with world.client() as client:
        with pytest.raises(ModelsealError):
            client.activate(world.key, label="laptop")
        client.renew()
        client.deactivate()
    assert _states(world) == ["returned"]
