"""A shop without a network; each workspace is a copy of one that was made once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.airgap.world import Gap
from tests.server.world import START, Clock, Shop

from modelseal.desk import workspace as workspaces
from modelseal.server.services import open_server


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A workspace with the published model ``swap.onnx``, and the folder it was sealed in."""
    folder = tmp_path_factory.mktemp("made")
    home = folder / "shop"
    workspaces.init(home, "facefusion", now=START, random=os.urandom)
    clock = Clock()
    with open_server(home, now=clock) as server:
        Shop(home, clock, server).publish(folder, "swap.onnx", "face.swap")
    return home, folder


@pytest.fixture
def shop(tmp_path: Path, made: tuple[Path, Path]) -> Iterator[Shop]:
    """A fresh shop whose clock stands still."""
    home = tmp_path / "shop"
    shutil.copytree(made[0], home)
    clock = Clock()
    with open_server(home, now=clock) as server:
        yield Shop(home, clock, server)


@pytest.fixture
def gap(shop: Shop, tmp_path: Path, made: tuple[Path, Path]) -> Iterator[Callable[..., Gap]]:
    """Makes devices without a network, by name."""
    opened: list[Gap] = []

    def make(name: str = "laptop", **more: object) -> Gap:
        device = Gap(shop, tmp_path / name, made[1] / "swap.onnx.sealed", **more)
        opened.append(device)
        return device

    yield make
    for device in opened:
        device.close()
