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
from modelseal.server.store import dialect, tables
from modelseal.server.store.engine import Store

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER = Path(__file__).parent.parent / "migrations"
HEAD = "0013"
"""The version this release works with: the newest in ``migrations/versions``."""


def current(store: Store) -> str | None:
    """The version of a store; None for an empty one."""
    return store.read(version)


def version(tx: sa.Connection) -> str | None:
    """The version of the store of ``tx``; None for an empty one."""
    if not sa.inspect(tx).has_table("alembic_version"):
        return None
    found: str | None = tx.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def is_empty(tx: sa.Connection) -> bool:
    """True for a store of this release's schema in which nothing was ever done."""
    acts = sa.select(tables.events.c.event_id).where(tables.events.c.kind != "server_initialised")
    return tx.execute(acts.limit(1)).first() is None


def upgrade(tx: sa.Connection, to: str | None = None) -> None:
    """The store of ``tx`` has the schema ``to``, by default this release's.

    Raises ``ConfigInvalid`` for a version this release does not know.
    """
    from alembic import command
    from alembic.util import CommandError

    dialect.unhurried(tx)
    config = _config()
    config.attributes["connection"] = tx
    try:
        command.upgrade(config, to or HEAD)
    except CommandError:
        raise ConfigInvalid("this release does not know that schema", schema=str(to)) from None


def migrate(store: Store) -> str:
    """The store has this release's schema; the version it has now.

    Raises ``ConfigInvalid`` for a store that a newer release made.
    """
    found = current(store)
    if found == HEAD:
        return HEAD
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigInvalid("the database was made by a newer release", schema=found)
    try:
        with store.engine.connect() as connection:
            writing = dialect.writing(connection)
            with writing.begin():
                upgrade(writing)
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
