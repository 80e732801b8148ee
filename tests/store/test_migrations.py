"""A store of every schema that was ever released comes forward, with what it held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from tests.server.world import Clock
from tests.store.snapshots import forget

from modelseal.server.services import migrate, open_server
from modelseal.server.services.config import load
from modelseal.server.store import schema, tables
from modelseal.server.store.engine import Store

VERSIONS = [
    script.revision
    for script in ScriptDirectory.from_config(schema._config()).walk_revisions()
][::-1]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, copied: Callable[[Path], Path]) -> Path:
    made = copied(tmp_path / "shop")
    forget(made)
    return made


@pytest.fixture
def empty(home: Path) -> Iterator[Store]:
    """An empty store of either kind."""
    opened = Store(load(home / "server").database, home / "server")
    yield opened
    opened.close()


def up_to(empty: Store, version: str) -> None:
    config = schema._config()
    with empty.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_store_of_an_older_schema_keeps_its_rows_and_serves(
    home: Path, empty: Store, version: str
) -> None:
    up_to(empty, version)
    with empty.engine.begin() as connection:
        connection.execute(text("INSERT INTO counters (name, value) VALUES ('old', 41)"))
    empty.close()
    assert migrate(home) == schema.HEAD
    with open_server(home, now=Clock(), migrate_store=False) as server:
        server.ready()
        kept = server.context.store.read(
            lambda tx: tx.scalar(text("SELECT value FROM counters WHERE name = 'old'"))
        )
    assert kept == 41


def test_the_migrations_make_exactly_the_tables_of_this_release(empty: Store) -> None:
    schema.migrate(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables.metadata) == []
