"""Servers that are down, proxies, portals, broken lines: told with what was seen, harming nothing.

After each, the same device renews and pulls by an ordinary command.
"""

from __future__ import annotations

import ssl

import pytest
import trustme
from tests.cli import network
from tests.cli.conftest import BIG_BYTES
from tests.cli.world import here


@pytest.fixture
def device(shop, shell):
    """The options of a device that is active, and that still is afterwards."""
    options = ("--state", shell.folder / "laptop", "--json")
    assert here("activate", shop.issue()[0], *shop.names, *options).code == 0
    before = here("status", *options).json["lease"]
    yield options
    after = here("status", *options).json
    assert (after["state"], after["lease"]) == ("ACTIVE", before)
    assert here("lease", "renew", *options).json["lease"]["seq"] == before["seq"] + 1


def _activates(shop, shell, key):
    ran = here("activate", key, *shop.names, "--state", shell.folder / "new", "--json")
    return ran.code == 0


def test_a_server_that_is_down_is_named_and_the_lease_goes_on(shop, shell, device):
    down = network.nowhere()
    refused = here("lease", "renew", "--server", down, *device).refused("server_unreachable", 5)
    assert down in refused["message"]
    assert "lease goes on" in refused["next_step"]
    key, _ = shop.issue()
    new = ("--state", shell.folder / "new", "--json")
    here("activate", key, "--server", down, "--trust", shop.trust, *new).refused(
        "server_unreachable", 5
    )
    assert _activates(shop, shell, key)


def test_a_certificate_of_another_authority_is_told_and_believed_by_nobody(shop, device):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with network.standing(network.Portal, context=context) as portal:
        url = network.address(portal, "https")
        refused = here("lease", "renew", "--server", url, *device).refused("certificate_invalid", 5)
    assert url in refused["message"]
    assert "--ca" in refused["next_step"]


def test_a_captive_portal_is_no_decision_and_is_told_by_its_title(shop, shell, device):
    with network.standing(network.Portal) as portal:
        url = network.address(portal)
        refused = here("lease", "renew", "--server", url, *device).refused("answer_unsigned", 5)
        assert "Hotel WiFi" in refused["message"]
        here("pull", "--server", url, *device).refused("answer_unsigned", 5)
        key, _ = shop.issue()
        new = ("--state", shell.folder / "new", "--json")
        here("activate", key, "--server", url, "--trust", shop.trust, *new).refused(
            "answer_unsigned", 5
        )
    assert _activates(shop, shell, key)


def test_a_proxy_that_answers_403_is_no_decision_and_is_told(shop, shell, device):
    with network.standing(network.Forbidding) as proxy:
        url = network.address(proxy)
        here("lease", "renew", "--server", url, *device).refused("answer_unsigned", 5)
        shell.more["HTTPS_PROXY"] = url
        shell("lease", "renew", *device).refused("server_unreachable", 5)
        assert "403 Blocked by policy" in shell("lease", "renew", *device[:2]).told(5)[1]


def test_through_a_proxy_everything_works(shop, shell, device):
    with network.standing(network.Tunnel) as proxy:
        shell.more["HTTPS_PROXY"] = network.address(proxy)
        assert shell("pull", "--to", "models", *device).code == 0
        assert proxy.tunnels > 0


def test_a_download_that_is_cut_off_is_taken_up_again_where_it_stopped(shop, shell):
    """The line breaks three times; the whole model comes over it but once."""
    key, _ = shop.issue("big")
    options = ("--state", shell.folder / "laptop", "--json")
    assert here("activate", key, *shop.names, *options).code == 0
    cuts = [BIG_BYTES // 3] * 3
    with network.standing(network.Tunnel, cuts=cuts) as proxy:
        shell.more["HTTPS_PROXY"] = network.address(proxy)
        while (ran := shell("pull", "--to", "models", *options)).code:
            ran.refused("server_unreachable", 5)
            assert not (shell.folder / "models" / "big.onnx").exists()
        assert proxy.cuts == []
    sealed = shop.home.parent / "big.onnx.sealed"
    assert (shell.folder / "models" / "big.onnx").read_bytes() == sealed.read_bytes()
    assert [p.name for p in (shell.folder / "models").iterdir()] == ["big.onnx"]
    assert here("verify", shell.folder / "models" / "big.onnx", "--trust", shop.trust).code == 0


def test_an_address_without_encryption_is_for_this_computer_only(shop, shell):
    ran = here(
        "activate", shop.issue()[0], "--server", "http://example.com", "--trust", shop.trust,
        "--state", shell.folder / "laptop", "--json",
    )  # fmt: skip
    assert "https" in ran.refused("config_invalid", 2)["message"]
