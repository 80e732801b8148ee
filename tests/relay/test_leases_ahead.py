"""Leases ahead lie at a relay, and devices in the closed network live on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.airgap.conftest import made, shop  # noqa: F401 - fixtures
from tests.relay.closed import Inside, Site
from tests.server.world import Shop

from modelseal.license.plans import LeaseTerms

LEASE = LeaseTerms(max_seconds=6 * 86400, renew_after_seconds=2 * 86400, ahead=4)
PERIOD = {"days": 2, "hours": 3}
"""Until a lease is due: up to a sixteenth later than the plan says."""


@pytest.fixture
def site(shop: Shop, tmp_path: Path) -> Iterator[Site]:  # noqa: F811
    """A relay that was never synchronised."""
    built = Site(shop, tmp_path / "relay")
    yield built
    built.close()


@pytest.fixture
def device(shop: Shop, site: Site, tmp_path: Path, made) -> Iterator[Callable[..., Inside]]:  # noqa: F811
    """Makes devices in the closed network, by name."""
    opened: list[Inside] = []

    def make(name: str = "laptop", at: Site | None = None) -> Inside:
        built = Inside(shop, tmp_path / name, made[1] / "swap.onnx.sealed", at or site)
        opened.append(built)
        return built

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def key(shop: Shop) -> str:  # noqa: F811
    """A license key of a plan with four leases ahead."""
    shop.plan(lease=LEASE)
    return shop.license().license_key


def settled(site: Site, laptop: Inside, key: str) -> None:
    """The device is activated through the relay and its leases ahead lie there."""
    site.sync()
    assert not laptop.activate(key)
    site.sync()
    assert laptop.activate(key)
    assert site.codes == LEASE.ahead


def test_a_device_lives_on_leases_ahead_one_period_after_another(shop, site, device, key):  # noqa: F811
    laptop = device()
    settled(site, laptop, key)
    assert laptop.opens()
    for place in range(1, LEASE.ahead + 1):
        assert not laptop.renew()  # not due: the question waits, nothing is given out
        shop.clock.pass_(**PERIOD)
        assert laptop.renew()
        assert laptop.seq == 1 + place
        assert laptop.opens()
    shop.clock.pass_(**PERIOD)
    assert not laptop.renew()  # there are no more
    assert laptop.opens()  # the last one runs on
    site.sync()
    assert laptop.renew()
    assert laptop.seq == 2 + LEASE.ahead and site.codes == LEASE.ahead
    assert not shop.events("relay_overdrew", "fork_found")
