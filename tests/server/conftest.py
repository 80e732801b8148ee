"""One workspace is made once per kind of store; every test works on its own copy.

What depends on the store runs over both kinds: ``store`` is a parameter of every test that asks
for a shop, directly or not, in the modules of ``CONTRACT``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.server.processes import Nursery, clock
from tests.server.world import START, Clock, Computer, Shop
from tests.store.postgres import Postgres, configure

from modelseal.desk import workspace as workspaces
from modelseal.server.services import open_server

CONTRACT = frozenset({
    "test_activation", "test_admin", "test_budgets", "test_events", "test_lost_replies",
    "test_processes", "test_relayed", "test_renewal", "test_seats", "test_webhooks",
    "test_workers",
})  # fmt: skip
"""The suite that both stores pass."""
RARELY = frozenset({"test_admin", "test_events"})
"""What depends least on the store: over the second one only in long runs."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    module = metafunc.module.__name__.rpartition(".")[2]
    if module in CONTRACT and "store" in metafunc.fixturenames:
        marks = [pytest.mark.soak] if module in RARELY else []
        metafunc.parametrize("store", ["sqlite", pytest.param("postgresql", marks=marks)])


@pytest.fixture
def store() -> str:
    """Which kind of store the test's shop has."""
    return "sqlite"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL server for the whole run."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with an empty, migrated store, a SQLite file."""
    home = tmp_path_factory.mktemp("template") / "shop"
    workspaces.init(home, "facefusion", now=START, random=os.urandom)
    open_server(home, now=lambda: START).close()
    return home


@pytest.fixture(scope="session")
def other_template(template: Path, postgres: Postgres) -> Path:
    """The same on PostgreSQL, in the database ``template_shop``."""
    home = Path(shutil.copytree(template, template.with_name("postgresql")))
    (home / "server" / "modelseal.db").unlink()
    postgres.do("CREATE DATABASE template_shop TEMPLATE template0")
    configure(home, postgres.url("template_shop"))
    open_server(home, now=lambda: START).close()
    return home


@pytest.fixture
def copied(store: str, request: pytest.FixtureRequest) -> Iterator[Callable[[Path], Path]]:
    """Makes a workspace of its own at a path, with a store of the kind asked for."""
    databases: list[str] = []

    def copy(home: Path) -> Path:
        if store == "sqlite":
            return Path(shutil.copytree(request.getfixturevalue("template"), home))
        server: Postgres = request.getfixturevalue("postgres")
        shutil.copytree(request.getfixturevalue("other_template"), home)
        databases.append(server.create("template_shop"))
        configure(home, server.url(databases[-1]))
        return home

    yield copy
    for name in databases:
        request.getfixturevalue("postgres").drop(name)


@pytest.fixture
def shop(tmp_path: Path, copied: Callable[[Path], Path]) -> Iterator[Shop]:
    """A fresh shop whose clock stands still."""
    home = copied(tmp_path / "shop")
    clock = Clock()
    with open_server(home, now=clock) as server:
        yield Shop(home, clock, server)


@pytest.fixture
def computer(shop: Shop) -> Computer:
    """A computer that asks this shop."""
    return Computer(shop)


@pytest.fixture
def here(tmp_path: Path, copied: Callable[[Path], Path]) -> Iterator[Shop]:
    """A shop opened in this process, by the real clock."""
    home = copied(tmp_path / "shop")
    with open_server(home) as server:
        shop = Shop(home, clock, server)  # type: ignore[arg-type]
        shop.plan("basic", "face.swap")
        yield shop


@pytest.fixture
def nursery(here: Shop) -> Iterator[Nursery]:
    """Where servers over that shop are started."""
    made = Nursery(here.home)
    yield made
    made.close()
