"""Keys in a TPM, typed: activation, the move, the key-encryption key, and the messages."""

from __future__ import annotations

import pytest
from tests.cli.world import OPENS, here, serving
from tests.tpm import emulator, requires_swtpm

from modelseal.tpm2.chip import state

pytestmark = requires_swtpm


@pytest.fixture
def tpm():
    with emulator() as found:
        yield found


def well(ran):
    assert ran.code == 0, ran
    return ran


def test_a_device_moves_its_key_into_the_tpm_and_opens_models(shop, shell, laptop, tpm, tmp_path):
    uri = f"tpm2://{tpm.address}"
    before = shell("status", "--state", "laptop", "--json").json
    moved = well(shell("keys", "move", "device", "--to", uri, "--state", "laptop", "--json")).json
    assert moved["device_id"] == before["device_id"]
    assert moved["lease"]["seq"] == before["lease"]["seq"] + 1
    assert moved["level"] == 0, "no endorsement certificate was verified"
    well(shell("pull", "--state", "laptop", "--to", "models"))
    (tmp_path / "app.py").write_text(OPENS)
    opened = well(shell("run", "--state", "laptop", "--", "python", "app.py", "models/swap.onnx"))
    assert "opened" in opened.out
    again = shell("keys", "move", "device", "--to", uri, "--state", "laptop", "--json")
    again.refused("conflict", 2)

    with tpm.connect() as chip:
        state.clear(chip)
    lines = shell("lease", "renew", "--state", "laptop").told(3)
    assert "cleared" in lines[0] and "--replace" in lines[-1]
    tpm.kill()
    shell("lease", "renew", "--state", "laptop", "--json").refused("key_store_unavailable", 5)


def test_activation_makes_the_key_in_the_tpm_or_says_why_not(shop, shell, tpm):
    key, _ = shop.issue()
    named = (*shop.names, "--state", "hard")
    absent = shell("activate", key, *named, "--device-key", "tpm2:///dev/no-such-tpm", "--json")
    absent.refused("key_store_unavailable", 5)
    odd = shell("activate", key, *named, "--device-key", "file:device.key", "--json")
    odd.refused("config_invalid", 2)
    active = shell("activate", key, *named, "--device-key", f"tpm2://{tpm.address}", "--json")
    assert well(active).json["state"] == "ACTIVE"
    assert well(shell("lease", "renew", "--state", "hard", "--json")).json["state"] == "ACTIVE"


def test_the_key_encryption_key_lives_in_a_tpm_under_approved_states(shell, tpm):
    """A server whose kek is sealed; an update of the firmware needs but a signed policy."""
    home, owner = shell.folder / "shop", shell.folder / "owner.pem"
    well(here("init", "--home", home, "--product", "facefusion"))
    well(here("keys", "authority", owner, "--public", home / "server/owner.jwk"))
    uri = f"tpm2://{tpm.address}?file=kek.tpm2&pcrs=sha256:7&authority=owner.jwk"
    well(here("keys", "move", "kek", "--to", uri, "--home", home))
    assert not (home / "server/kek.key").exists()
    issue = ("license", "issue", "--plan", "one", "--customer", "li@example.com", "--home", home)
    well(here("plan", "create", "one", "--entitlement", "face.swap", "--home", home))
    well(here(*issue))
    with tpm.connect() as chip:
        state.extend_pcr(chip, 7, b"\1" * 32)
    here(*issue, "--json").refused("key_policy_failed", 3)
    policy = ("keys", "approve", home / "server/kek.tpm2.policy", "--by", owner)
    well(here(*policy, "--pcrs", "sha256:7", "--tpm", tpm.address))
    well(here(*issue))
    with serving(shell, "shop"):
        pass
