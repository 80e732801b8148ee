"""One workspace is made once; every test works on its own copy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.world import START, Clock, Computer, Shop

from modelseal.desk import workspace as workspaces
from modelseal.server.services import open_server


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with an empty, migrated store."""
    home = tmp_path_factory.mktemp("template") / "shop"
    workspaces.init(home, "facefusion", now=START, random=os.urandom)
    open_server(home, now=lambda: START).close()
    return home


@pytest.fixture
def shop(tmp_path: Path, template: Path) -> Iterator[Shop]:
    """A fresh shop whose clock stands still."""
    home = tmp_path / "shop"
    shutil.copytree(template, home)
    clock = Clock()
    with open_server(home, now=clock) as server:
        yield Shop(home, clock, server)


@pytest.fixture
def computer(shop: Shop) -> Computer:
    """A computer that asks this shop."""
    return Computer(shop)
