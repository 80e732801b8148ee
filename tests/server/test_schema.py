"""The schema's version: named once, and kept in step with the migrations."""

from __future__ import annotations

import warnings

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from modelseal.desk import workspace
from modelseal.errors import ConfigInvalid, Unavailable
from modelseal.server.services import open_server
from modelseal.server.store import schema


@pytest.fixture
def home(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        workspace.init(tmp_path / "shop", "facefusion").close()
    return tmp_path / "shop"


def test_the_version_this_release_works_with_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(schema.FOLDER))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


def test_a_store_of_a_newer_release_is_refused_and_left_as_it_is(home):
    with open_server(home) as server:
        store = server.context.store
        assert schema.current(store) == schema.HEAD
        with store.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(ConfigInvalid):
            schema.migrate(store)
        with pytest.raises(Unavailable):
            schema.check(store)
        assert schema.current(store) == "9999"


def test_the_files_of_the_store_belong_to_their_user_alone(shop):
    """Whoever may look into the folder may still not read the database or its log."""
    shop.plan()
    found = sorted((shop.home / "server").glob("modelseal.db*"))
    assert len(found) >= 2
    assert {file.stat().st_mode & 0o777 for file in found} == {0o600}
