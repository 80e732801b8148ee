"""The schema's versions: Alembic, from the first one on."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from modelseal.errors import ConfigInvalid, Unavailable
from modelseal.server.store import dialect
from modelseal.server.store.engine import Store

FOLDER = Path(__file__).parent.parent / "migrations"


def head() -> str:
    """The version this release works with."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    return found or ""


def current(store: Store) -> str | None:
    """The version of a store; None for an empty one."""
    return store.read(lambda tx: MigrationContext.configure(tx).get_current_revision())


def migrate(store: Store) -> str:
    """The store has this release's schema; the version it has now.

    Raises ``ConfigInvalid`` for a store that a newer release made.
    """
    wanted = head()
    found = current(store)
    if found == wanted:
        return wanted
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigInvalid("the database was made by a newer release", schema=found)
    config = _config()
    try:
        with store.engine.connect() as connection:
            writing = dialect.writing(connection)
            with writing.begin():
                config.attributes["connection"] = writing
                command.upgrade(config, "head")
    except DBAPIError as error:
        raise dialect.translate(error) from None
    return wanted


def check(store: Store) -> None:
    """Returns when the store has this release's schema; raises ``Unavailable`` otherwise."""
    found = current(store)
    if found != head():
        raise Unavailable("the database waits for `modelseal server migrate`", schema=found or "")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return config
