"""How long a refused key takes says nothing about it: Welch's t over many turns, dudect's 4.5.

Both kinds are asked for in turn, in an order by chance, and a fiftieth of the slowest is cut off on
either side: what the computer does besides is no signal.
"""

from __future__ import annotations

import math
import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.server.conftest import template
from tests.server.world import START, Clock, Computer, Shop

from modelseal.admin import Role
from modelseal.errors import CredentialInvalid, UnknownLicenseKey
from modelseal.license import license_key
from modelseal.server.services import calls, limits, open_server

TURNS = 2000


@pytest.fixture
def shop(tmp_path, template, monkeypatch):
    """A shop with a thousand licenses, so that an index has something to say, and no limits."""
    import shutil

    for name in ("NETWORK", "ACTIVATION", "KEY", "GUESSING"):
        endless = replace(getattr(limits, name), burst=10**9)
        monkeypatch.setattr(limits, name, endless)
        assert getattr(calls.limits, name) is endless
    home = shutil.copytree(template, tmp_path / "shop")
    clock = Clock(START)
    with open_server(home, now=clock) as server:
        made = Shop(home, clock, server)
        made.plan()
        made.keys = [made.license().license_key for _ in range(1000)]  # type: ignore[attr-defined]
        yield made


def signal(acts: dict[str, Callable[[], None]], turns: int) -> float:
    """Welch's t between the times of the two ``acts``."""
    taken: dict[str, list[float]] = {name: [] for name in acts}
    order = [name for name in acts for _ in range(turns)]
    random.Random(1).shuffle(order)
    for name in order:
        start = time.perf_counter()
        acts[name]()
        taken[name].append(time.perf_counter() - start)
    cut = {name: sorted(found)[: int(len(found) * 0.98)] for name, found in taken.items()}
    one, two = cut.values()
    spread = statistics.variance(one) / len(one) + statistics.variance(two) / len(two)
    return (statistics.fmean(one) - statistics.fmean(two)) / math.sqrt(spread)


def near(key: str) -> str:
    """An unknown license key with the first fifteen symbols of ``key`` and right check symbols."""
    while (text := key[:20] + license_key.generate(os.urandom)[20:]) == key:
        pass
    return text


@pytest.mark.soak
def test_an_unknown_license_key_takes_as_long_as_one_that_is_nearly_right(shop: Shop) -> None:
    device = Computer(shop)

    def ask(text: str) -> Callable[[], None]:
        nonce = "n" * 43
        token = device.sign(
            device.request("lookup", nonce=nonce, license_key=device.sealed_key(text, nonce))
        )

        def act() -> None:
            with pytest.raises(UnknownLicenseKey):
                shop.server.devices.lookup(token)

        return act

    acts = {"far": ask(license_key.generate(os.urandom)), "near": ask(near(shop.keys[500]))}  # type: ignore[attr-defined]
    for act in acts.values():
        act()
    found = signal(acts, TURNS)
    print(f"license key: t = {found:.2f}")
    assert abs(found) < 4.5


@pytest.mark.soak
def test_an_unknown_admin_token_takes_as_long_as_one_that_is_nearly_right(shop: Shop) -> None:
    real = shop.admin.create_token(Role.OWNER, 86400, "x").token

    def ask(token: str) -> Callable[[], None]:
        def act() -> None:
            with pytest.raises(CredentialInvalid):
                shop.server.tokens.authenticate(token)

        return act

    nearly = real[:-1] + ("A" if real[-1] != "A" else "B")
    found = signal({"far": ask("mst_" + "z" * 43), "near": ask(nearly)}, TURNS * 5)
    print(f"admin token: t = {found:.2f}")
    assert abs(found) < 4.5


__all__ = ["template"]
