"""TPMs from a factory of their own, and a shop that trusts it: for leases that hardware ends.

Making a TPM takes seconds, so one is made and its state copied: every test gets its own emulator,
fresh from the factory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.server.world import Clock, Shop
from tests.tpm import SwTpm

from modelseal.client.tpm import DeviceTpm
from modelseal.desk import workspace as workspaces
from modelseal.server.services import open_server


@pytest.fixture(scope="session")
def factory(tmp_path_factory: pytest.TempPathFactory) -> SwTpm:
    """A TPM with an endorsement certificate, switched off."""
    if shutil.which("swtpm") is None or shutil.which("swtpm_setup") is None:
        pytest.skip("needs swtpm: apt-get install swtpm swtpm-tools")
    made = SwTpm(tmp_path_factory.mktemp("tpm"))
    made.manufacture()
    return made


@pytest.fixture
def new_tpm(factory: SwTpm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable]:
    """Makes running TPMs: certified ones, or ``fresh`` ones of nobody's."""
    running: list[SwTpm] = []

    def make(*, fresh: bool = False) -> SwTpm:
        folder = tmp_path_factory.mktemp("t")  # short: the path of a socket has 108 bytes
        made = SwTpm(folder, authority=factory.authority)
        if not fresh:
            shutil.copytree(factory.state, made.state)
        running.append(made.start())
        return made

    yield make
    for each in running:
        each.kill()


@pytest.fixture
def tpm(new_tpm: Callable[..., SwTpm]) -> SwTpm:
    return new_tpm()


@pytest.fixture
def chip(tpm: SwTpm) -> DeviceTpm:
    """The running TPM as a client sees it."""
    return DeviceTpm(tpm.address)


def trust_roots(home: Path, tpm: SwTpm) -> Path:
    """The server at ``home`` believes the maker of ``tpm``; the folder in which that stands."""
    folder = home / "server" / "endorsements" / "tpm2"
    folder.mkdir(parents=True, exist_ok=True)
    for path in tpm.roots:
        shutil.copy(path, folder / path.name)
    return folder


@pytest.fixture(scope="session")
def start(factory: SwTpm) -> datetime:
    """When every test begins: its factory's certificates are valid from today on."""
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, factory: SwTpm, start: datetime) -> Path:
    """A workspace that trusts the factory, with two models."""
    folder, clock = tmp_path_factory.mktemp("template"), Clock(start)
    home = folder / "shop"
    workspaces.init(home, "facefusion", now=start, random=os.urandom)
    trust_roots(home, factory)
    with open_server(home, now=clock) as server:
        made = Shop(home, clock, server)
        made.publish(folder, "swap.onnx", "face.swap")
        made.publish(folder, "restore.onnx", "face.restore")
    return home


@pytest.fixture
def shop(template: Path, tmp_path: Path, start: datetime) -> Iterator[Shop]:
    """A shop that trusts the factory, with models for ``face.swap`` and ``face.restore``."""
    home, clock = Path(shutil.copytree(template, tmp_path / "shop")), Clock(start)
    with open_server(home, now=clock) as server:
        yield Shop(home, clock, server)
