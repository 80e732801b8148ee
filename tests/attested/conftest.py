"""The TPMs of ``tests/leases``, and one shop with models of three levels."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import tests.attested.boots as boots
from tests.client.real_shop import Shop, running
from tests.client.world import computer
from tests.leases.conftest import chip, factory, new_tpm, tpm, trust_roots
from tests.leases.test_client import Device

from modelseal.admin import PlanDraft
from modelseal.client import Client, Ports
from modelseal.errors import KeyStoreUnavailable
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.runtime import default
from modelseal.server.services.limits import Limiter

__all__ = ["chip", "factory", "new_tpm", "tpm"]


class NoTpm:
    """A computer without one."""

    def clock(self):
        raise KeyStoreUnavailable("no TPM here")


SWAP = PlanEntitlement(id="face.swap")
RESTORE = PlanEntitlement(id="face.restore", min_level=3)
TERMS = {
    "measured": Plan(entitlements=[SWAP, RESTORE], seats=99),
    "measured-online": Plan(entitlements=[SWAP, RESTORE], enforcement="online", seats=99),
    "two-levels": Plan(
        entitlements=[PlanEntitlement(id="face.swap", min_level=2), RESTORE], seats=99
    ),
    "measured-hard": Plan(entitlements=[SWAP, RESTORE], enforcement="hardware", seats=99),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory, factory) -> Iterator[Shop]:
    """``swap.onnx`` opens at once, ``restore.onnx`` for machines of L3."""
    with running(tmp_path_factory.mktemp("shop")) as made:
        trust_roots(made.server.home, factory)
        for name, terms in TERMS.items():
            made.server.admin.create_plan(PlanDraft(name=name, terms=terms))
        yield made
        made.offset[0] = timedelta(0)


@pytest.fixture
def device(shop, tmp_path, tpm):
    """A computer with a TPM of its own; the policy is the usual one again."""
    boots.policy(shop.server.home)
    made = Device(shop, tmp_path / "state", tpm.address)
    shop.server.services.devices.limiter = Limiter()
    yield made
    for client in made.clients:
        client.close()
    shop.offset[0] = timedelta(0)


@pytest.fixture
def entered(shop, tmp_path):
    """Activates a client under a plan on a machine without a TPM; ``kernel`` is for ``Ports``."""
    made = []
    shop.server.services.devices.limiter = Limiter()

    def make(plan, *, kernel=None, collectors=None):
        ports = Ports(traits=computer, tpm=lambda _a: NoTpm(), **(kernel or {}))
        client = Client(
            state=tmp_path / f"state{len(made)}", server=shop.server.url, ports=ports,
            background=False, trust=shop.server.home / "trust.json", collectors=collectors,
        )  # fmt: skip
        made.append(client)
        client.activate(shop.issue(plan)[0])
        return client

    yield make
    for client in made:
        client.close()
    default.use(None)
