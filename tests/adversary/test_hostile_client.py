"""A client rewritten to say yes gets nothing that the server did not give it: every gate is a key.

Each way of rewriting is run against a sealed model that this device may not open. The same search
of the process's memory finds the model where a license is in force.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.adversary.hostile import MASK

from modelseal.admin import IssueLicense, PlanDraft
from modelseal.client import Client
from modelseal.desk import publishing, sealing, workspace
from modelseal.errors import LicenseRevoked
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.testing.server import RunningServer

PROGRAM = Path(__file__).with_name("hostile.py")
MARKER = b"[sixty-four bytes that stand in the plaintext and nowhere else.]"
PLAIN = MARKER * 5000
STRATEGIES = (
    *("honest", "silent", "yes", "no", "equal", "through", "allowed+keep"),
    *("silent+yes+allowed+keep", "through+yes+allowed+keep", "silent+equal"),
    *("unsigned", "unsigned+blind+keep", "frozen+allowed+keep", "unsigned+through+blind+frozen"),
    *("answers", "answers+unsigned", "answers+unsigned+allowed+keep", "answers+unsigned+blind"),
    *("answers+unsigned+allowed+blind+keep+frozen", "answers+unsigned+yes+blind"),
)
STRONGEST = "answers+unsigned+allowed+blind+keep+frozen"


def some(place: int) -> list[str]:
    """A quarter of the rewritings, and the strongest; ``make soak`` runs each on every device."""
    chosen = [*STRATEGIES[place::4], STRONGEST]
    others = [each for each in STRATEGIES if each not in chosen]
    return [*dict.fromkeys(chosen), *(pytest.param(o, marks=pytest.mark.soak) for o in others)]


@dataclass
class Market:
    server: RunningServer
    swap: Path
    restore: Path

    def activated(self, state: Path, plan: str) -> str:
        """A device with a license of ``plan`` in ``state``; the license's id."""
        wish = IssueLicense(plan=plan, customer="li@example.com", expires_in_seconds=86400)
        made = self.server.admin.issue_license(wish)
        with self.client(state) as client:
            client.activate(made.license_key)
        return made.license_id

    def client(self, state: Path) -> Client:
        trust = self.server.trust
        return Client(state=state, server=self.server.url, trust=trust, background=False)

    def attempts(
        self, strategy: str, state: Path, model: Path, behind: int = 0, *, server: str = ""
    ) -> str:
        """What the rewritten program prints."""
        marker = bytes(byte ^ MASK for byte in MARKER).hex()
        server = server or self.server.url
        words = [strategy, state, server, self.server.trust, model, marker, behind]
        done = subprocess.run(
            [sys.executable, str(PROGRAM), *map(str, words)],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(folder)
    with server:
        swap = PlanEntitlement(id="face.swap")
        for name, terms in (
            ("trial", Plan(entitlements=[swap])),
            ("online", Plan(entitlements=[swap], enforcement="online")),
        ):
            server.admin.create_plan(PlanDraft(name=name, terms=terms))
        with workspace.open(server.home) as desk:
            for name in ("swap", "restore"):
                (folder / f"{name}.bin").write_bytes(PLAIN)
                sealed = folder / f"{name}.sealed"
                sealing.seal_paths(
                    desk, [folder / f"{name}.bin"], sealed, entitlements=[f"face.{name}"]
                )
                publishing.publish(desk, server.admin, sealed)
        yield Market(server, folder / "swap.sealed", folder / "restore.sealed")


@pytest.mark.parametrize("plan", ["trial", "online"])
def test_the_search_finds_the_model_of_a_licensed_device(
    market: Market, tmp_path: Path, plan: str
) -> None:
    market.activated(tmp_path / "state", plan)
    assert market.attempts("honest", tmp_path / "state", market.swap).startswith("found")
    assert market.attempts("yes", tmp_path / "state", market.restore).startswith("nothing")


@pytest.mark.parametrize("strategy", some(0))
def test_a_device_without_a_license_gets_nothing(
    market: Market, tmp_path: Path, strategy: str
) -> None:
    said = market.attempts(strategy, tmp_path / "state", market.swap)
    assert said.startswith("nothing"), said


@pytest.fixture(scope="module")
def trial(market: Market, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("trial") / "state"
    market.activated(state, "trial")
    return state


@pytest.mark.parametrize("strategy", some(1))
def test_what_was_not_paid_for_is_not_there(market: Market, trial: Path, strategy: str) -> None:
    said = market.attempts(strategy, trial, market.restore)
    assert said.startswith("nothing"), said


@pytest.fixture(scope="module")
def ended(market: Market, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device whose online license was revoked; it still holds its lease, and keeps it."""
    state = tmp_path_factory.mktemp("ended") / "state"
    license_id = market.activated(state, "online")
    market.server.admin.revoke_license(license_id, "chargeback")
    return state


@pytest.mark.parametrize("strategy", some(2))
def test_an_online_lease_that_ended_gives_nothing_whatever_the_clock_says(
    market: Market, ended: Path, strategy: str
) -> None:
    said = market.attempts(strategy, ended, market.swap, behind=3600)
    assert said.startswith("nothing"), said


@pytest.fixture(scope="module")
def denied(market: Market, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device whose software lease was denied, and erased by the client as it came."""
    state = tmp_path_factory.mktemp("denied") / "state"
    license_id = market.activated(state, "trial")
    market.server.admin.revoke_license(license_id, "chargeback")
    with market.client(state) as client, pytest.raises(LicenseRevoked):
        client.renew()
    return state


@pytest.mark.parametrize("strategy", some(3))
def test_what_a_denial_erased_is_gone(market: Market, denied: Path, strategy: str) -> None:
    said = market.attempts(strategy, denied, market.swap)
    assert said.startswith("nothing"), said


def test_a_pretended_server_activates_a_client_without_checks_and_that_is_all(
    market: Market, tmp_path: Path
) -> None:
    """The proof that the pretence has teeth: what is left are the data keys, which it has not."""
    said = market.attempts("answers+unsigned", tmp_path / "state", market.swap)
    assert "activated: True" in said and said.startswith("nothing"), said
    said = market.attempts("answers", tmp_path / "honest", market.swap)
    assert "token_signature" in said and "activated: False" in said, said


def test_a_kept_software_lease_opens_for_who_rewrites_the_client(
    market: Market, tmp_path: Path
) -> None:
    """The stated limit (docs/threat-model.md), and the proof that the rewriting has teeth."""
    market.activated(tmp_path / "kept", "trial")
    nobody, ahead = "https://127.0.0.1:9", -30 * 86400
    shutil.copytree(tmp_path / "kept", tmp_path / "honest")
    said = market.attempts("honest", tmp_path / "honest", market.swap, ahead, server=nobody)
    assert said.startswith("nothing"), said
    said = market.attempts("allowed+keep", tmp_path / "kept", market.swap, ahead, server=nobody)
    assert said.startswith("found"), said
