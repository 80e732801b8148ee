"""What only a store with many writers has to be asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from tests.server.world import Computer, Shop, hardware
from tests.store.postgres import Postgres

from modelseal.errors import (
    ConfigInvalid,
    Misuse,
    ModelsealError,
    StorageFailed,
)
from modelseal.server.services import database, open_server
from modelseal.server.services.config import ServerConfig
from modelseal.server.store import devices, dialect
from modelseal.server.store import tokens as token_store
from modelseal.server.store.engine import Store


@pytest.fixture
def store() -> str:
    return "postgresql"


@pytest.fixture
def name(shop: Shop) -> str:
    """The shop's database."""
    return str(shop.server.context.store.engine.url.database)


def test_a_write_that_met_another_is_run_anew_and_sees_it(shop: Shop) -> None:
    """Two that read a counter before either writes it: none of the steps is lost."""
    both = threading.Barrier(2)
    tries = []

    def step(tx: Connection) -> int:
        seen = token_store.counter(tx, "steps")
        tries.append(seen)
        if len(tries) <= 2:
            both.wait(60)
        return token_store.bump(tx, "steps")

    with ThreadPoolExecutor(2) as pool:
        came = [pool.submit(shop.server.context.store.write, step) for _ in range(2)]
        assert sorted(each.result() for each in came) == [1, 2]
    assert sorted(tries) == [0, 0, 1]


def test_a_connection_that_ended_before_the_commit_loses_nothing(
    shop: Shop, postgres: Postgres, name: str
) -> None:
    store = shop.server.context.store
    calls = []

    def act(tx: Connection) -> int:
        calls.append(1)
        if len(calls) == 1:
            postgres.cut(name)
        return token_store.bump(tx, "cut")

    assert store.write(act) == 1
    assert len(calls) == 2
    postgres.cut(name)
    assert store.read(token_store.counter, "cut") == 1


def test_a_commit_whose_answer_was_lost_is_not_repeated(
    shop: Shop, postgres: Postgres, name: str
) -> None:
    store = shop.server.context.store
    calls = []

    def act(tx: Connection) -> None:
        calls.append(token_store.bump(tx, "once"))
        postgres.cut(name)

    with pytest.raises(StorageFailed):
        store.write(act)
    assert calls == [1]
    assert store.read(token_store.counter, "once") in (0, 1)


def test_a_deterministic_collision_is_given_up_soon(shop: Shop) -> None:
    tried = []

    def act(tx: Connection) -> None:
        tried.append(1)
        for _ in range(2):
            tx.execute(text("INSERT INTO counters (name, value) VALUES ('same', 1)"))

    with pytest.raises(StorageFailed):
        shop.server.context.store.write(act)
    assert len(tried) == 1 + dialect.AGAIN["23505"]


@pytest.mark.parametrize("given", ["a\x00b", "x" * 65])
def test_a_text_that_no_column_takes_is_the_callers_mistake(shop: Shop, given: str) -> None:
    def act(tx: Connection) -> None:
        tx.execute(text("INSERT INTO counters (name, value) VALUES (:given, 1)"), {"given": given})

    with pytest.raises(Misuse):
        shop.server.context.store.write(act)
    with pytest.raises(ModelsealError) as caught:
        shop.admin.show_license(given)
    assert caught.value.code in ("misuse", "not_found")


def test_no_key_leaves_after_a_revocation_was_acknowledged(shop: Shop) -> None:
    """A release that read its device before the revocation is answered before it, or refused."""
    shop.plan("online", enforcement="online")
    device = Computer(shop)
    device.activate(shop.license("online").license_key)
    row = shop.server.context.store.read(devices.get, device.device_id or "")
    assert row is not None
    revoked = threading.Event()
    seen = []

    def release(tx: Connection) -> str:
        found = devices.get(tx, row.device_id)
        assert found is not None
        seen.append(found.state)
        if len(seen) == 1:
            shop.admin.revoke_device(row.device_id, "stolen")
            revoked.set()
        devices.hold(tx, found)
        return found.state

    assert shop.server.context.store.write(release) == "revoked"
    assert seen == ["active", "revoked"] and revoked.is_set()


def test_one_computer_gets_one_trial_however_fast_it_asks(shop: Shop) -> None:
    shop.plan("trial", trial_once_per_device=True)
    gate = threading.Barrier(6)

    def ask(_number: int) -> str:
        device = Computer(shop, traits=hardware("a"))
        gate.wait(60)
        try:
            device.trial("trial")
        except ModelsealError as error:
            return error.code
        return "allowed"

    with ThreadPoolExecutor(6) as pool:
        came = list(pool.map(ask, range(6)))
    assert came.count("allowed") == 1, came
    assert set(came) == {"allowed", "trial_used"}
    assert len(shop.events("trial_started")) == 1


def test_whoever_wraps_holds_off_a_rotation_of_the_key(shop: Shop) -> None:
    """The fence of a rotation is moved only after what was wrapped before it is in the store."""
    context = shop.server.context
    order: list[str] = []
    wrapping, go_on = threading.Event(), threading.Event()

    def wrap(tx: Connection) -> None:
        token_store.held_counter(tx, "kek")
        wrapping.set()
        go_on.wait(60)
        order.append("wrapped")

    def rotate() -> None:
        context.store.write(token_store.bump, "kek")
        order.append("moved")

    context.store.write(token_store.bump, "kek")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(context.store.write, wrap)
        assert wrapping.wait(60)
        second = pool.submit(rotate)
        assert not order
        go_on.set()
        first.result(), second.result()
    assert order == ["wrapped", "moved"]


# -- which database, and its password


@pytest.fixture
def guarded(postgres: Postgres) -> Iterator[str]:
    """A database with its own user, who needs a password."""
    postgres.do("CREATE ROLE keeper LOGIN PASSWORD 'correct horse'")
    yield "keeper"
    postgres.do("DROP ROLE keeper")


def address(config: ServerConfig, folder: Path, flag: str | None = None, **env: str) -> str:
    url = database.address(config, folder, flag, env)
    return url.render_as_string(hide_password=False)


def test_the_flag_stands_above_the_environment_and_that_above_the_file(tmp_path: Path) -> None:
    config = ServerConfig(database="postgresql://a@h/one")
    env = {"MODELSEAL_DATABASE_URL": "postgresql://b:secret@h/two"}
    assert address(config, tmp_path) == "postgresql://a@h/one"
    assert address(config, tmp_path, **env) == "postgresql://b:secret@h/two"
    assert address(config, tmp_path, "postgresql://c@h/three", **env) == "postgresql://c@h/three"


def test_a_password_is_read_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("correct horse\nanything else")
    config = ServerConfig(database="postgresql://a@h/one", database_password_file="pw")
    assert address(config, tmp_path) == "postgresql://a:correct horse@h/one"
    config = ServerConfig(database="postgresql://a@h/one")
    env = {"MODELSEAL_DATABASE_PASSWORD_FILE": str(tmp_path / "pw")}
    assert address(config, tmp_path, **env) == "postgresql://a:correct horse@h/one"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"x" * 5000])
def test_a_password_file_that_holds_none_is_told(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "pw").write_bytes(content)
    config = ServerConfig(database="postgresql://a@h/one", database_password_file="pw")
    with pytest.raises(ConfigInvalid):
        address(config, tmp_path)


@pytest.mark.parametrize(
    "url", ["postgresql://a:secret@h/one", "postgresql://a@h/one?password=secret"]
)
def test_a_password_in_an_argument_or_in_the_configuration_is_refused(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(Misuse) as flag:
        address(ServerConfig(), tmp_path, url)
    with pytest.raises(ConfigInvalid) as written:
        address(ServerConfig(database=url), tmp_path)
    for caught in (flag, written):
        assert "secret" not in f"{caught.value!r} {caught.value} {caught.value.params}"


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://h/x", "postgresql+asyncpg://h/x", "postgresql://h:port/x"]
)
def test_what_is_no_database_of_ours_is_told_without_repeating_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        Store(database.address(ServerConfig(database=url), tmp_path, None, {}), tmp_path)
    assert not url or url not in str(caught.value)


def test_no_error_names_the_password(shop: Shop, guarded: str, postgres: Postgres) -> None:
    url = f"postgresql://{guarded}:wrong-one@/nowhere?host={postgres.host}"
    store = Store(url, shop.home)
    with pytest.raises(StorageFailed) as caught:
        store.ping()
    told = f"{caught.value!r} {caught.value} {caught.value.params} {store.engine!r} {store!r}"
    assert "wrong-one" not in told
    store.close()


def test_a_server_that_is_not_there_is_an_outage(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(StorageFailed):
        open_server(shop.home, database=f"postgresql://a@/x?host={tmp_path}")
