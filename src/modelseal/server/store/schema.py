"""The schema's versions: Alembic, from the first one on.

Alembic itself is loaded only where a schema is made or changed: it is a third of the start of
every publisher's command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from modelseal.errors import ConfigInvalid, Unavailable
from modelseal.server.store import dialect
from modelseal.server.store.engine import Store

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER = Path(__file__).parent.parent / "migrations"
HEAD = "0003"
"""The version this release works with: the newest in ``migrations/versions``."""


def current(store: Store) -> str | None:
    """The version of a store; None for an empty one."""

    def read(tx: sa.Connection) -> str | None:
        if not sa.inspect(tx).has_table("alembic_version"):
            return None
        found: str | None = tx.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return found

    return store.read(read)


def migrate(store: Store) -> str:
    """The store has this release's schema; the version it has now.

    Raises ``ConfigInvalid`` for a store that a newer release made.
    """
    found = current(store)
    if found == HEAD:
        return HEAD
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigInvalid("the database was made by a newer release", schema=found)
    try:
        with store.engine.connect() as connection:
            writing = dialect.writing(connection)
            with writing.begin():
                config.attributes["connection"] = writing
                command.upgrade(config, "head")
    except DBAPIError as error:
        if current(store) != HEAD:  # otherwise another process was faster
            raise dialect.translate(error) from None
    return HEAD


def check(store: Store) -> None:
    """Returns when the store has this release's schema; raises ``Unavailable`` otherwise."""
    found = current(store)
    if found != HEAD:
        raise Unavailable("the database waits for `modelseal server migrate`", schema=found or "")


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return config
