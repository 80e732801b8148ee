"""The second client, when keys are too many for a token, and when the publisher's keys change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelseal.desk import rotating, workspace

from . import opened
from .encoding import Refused
from .market import MAY_OPEN, PACKS, Market, pull, refusal
from .market import market as open_market


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("market")) as found:
        yield found


@pytest.mark.parametrize("plan", ["packs", "packs-online"])
def test_keys_of_many_sections_come_in_a_bundle(market: Market, tmp_path: Path, plan: str) -> None:
    with market.device(tmp_path / "laptop") as device:
        device.activate(market.issue(plan)[0])
        token = device.release([]) if plan == "packs-online" else device.lease
        assert token and token["bundle"] and len(token["keys"]) == 1
        found = opened.open_all(device, pull(device, tmp_path / "models"))
        assert len(found) == PACKS
        assert all(found[name] == market.plain[name] for name in found)


def test_after_all_keys_were_rotated_an_old_device_follows_the_chain_of_roots(
    tmp_path: Path,
) -> None:
    (tmp_path / "shop").mkdir()
    with open_market(tmp_path / "shop", "ES256") as market:
        with market.device(tmp_path / "laptop") as device:
            device.activate(market.issue("trial")[0])
            before = device.keys
            with workspace.open(market.server.home) as desk:
                rotating.rotate_root(desk, market.server.admin)
                rotating.rotate(desk, market.server.admin)
                rotating.rotate_root(desk, market.server.admin)
            device.renew()
            after = device.keys
            assert device.catalog.trust.root.version == 3 and after.version > before.version
            assert {key.kid for key in before.of("lease", device.clock())} < {
                key.kid for key in after.keys
            }
        with market.device(tmp_path / "laptop") as device:
            assert device.keys.version == after.version
            found = opened.open_all(device, pull(device, tmp_path / "models"))
            assert found.keys() == MAY_OPEN["trial"]
            assert all(found[name] == market.plain[name] for name in found)


def test_metadata_of_before_is_never_believed_again(market: Market, tmp_path: Path) -> None:
    with market.device(tmp_path / "laptop") as device:
        device.refresh()
        timestamp = device.catalog.versions["timestamp"]
        device.catalog.versions["timestamp"] = timestamp + 1
        refused: Refused = refusal(device.refresh)
        assert refused.code == "trust_rollback"
