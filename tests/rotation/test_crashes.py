"""A rotation that stops anywhere: customers go on, and the same command again ends it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.rotation.conftest import Drill

from modelseal.admin import AdminApi
from modelseal.desk import rotating
from modelseal.desk import workspace as workspaces
from modelseal.errors import Unavailable
from modelseal.server.services import rekeying
from modelseal.trust import Use

Rotation = Callable[[Any, AdminApi], object]


class Stops:
    """An ``AdminApi`` that fails at the ``at``-th call, before or after it took effect."""

    def __init__(self, api: AdminApi, at: int, *, after: bool) -> None:
        self._api = api
        self._left = at
        self._after = after
        self.reached = False

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._api, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left:
                return real(*args, **kwargs)
            self.reached = True
            if self._after:
                real(*args, **kwargs)
            raise Unavailable("the line broke")

        return call


def signing(desk: Any, api: AdminApi) -> object:
    return rotating.rotate(desk, api)


def root(desk: Any, api: AdminApi) -> object:
    return rotating.rotate_root(desk, api)


def publisher(desk: Any, api: AdminApi) -> object:
    return rotating.rotate(desk, api, [Use.PUBLISHER, Use.SEALING])


@pytest.mark.parametrize("after", [False, True], ids=["question lost", "answer lost"])
@pytest.mark.parametrize("rotation", [signing, root, publisher])
def test_a_line_that_breaks_at_any_call_leaves_a_rotation_that_can_be_repeated(
    drill: Drill, rotation: Rotation, after: bool
) -> None:
    """At every call in turn: customers renew, models are published, the repeat ends it."""
    laptop = drill.activated("laptop")
    api = drill.another_process()
    first = drill.desk.trust
    for at in range(1, 20):
        stops = Stops(api, at, after=after)
        with contextlib.suppress(Unavailable):
            rotation(drill.desk, stops)  # type: ignore[arg-type]
        laptop.renew()
        assert drill.opens(laptop)
        drill.desk.close()
        rotation(drill.desk, api)
        _is_whole(drill, api)
        laptop.renew()
        assert drill.opens(laptop)
        if not stops.reached:
            break
    assert at > 3
    assert drill.desk.trust.keys_version > first.keys_version
    laptop.pull(drill.folder / "models")
    assert laptop.trust.raw == drill.desk.trust.raw
    drill.publish("later.onnx")


def _is_whole(drill: Drill, api: AdminApi) -> None:
    """No set is left without an end beside a newer one, and desk, server and file agree."""
    trust = drill.desk.trust
    for use in (*rotating.SIGNING, Use.SEALING):
        assert len({key.set for key in trust.keys(use) if key.not_after is None}) == 1
    state = api.catalog_state()
    assert (state.root.version, state.keys.version) == (trust.root_version, trust.keys_version)
    assert workspaces.open(drill.desk.home).trust.raw == trust.raw
    assert (drill.desk.desk / "tuf" / "keys.json").read_bytes() == state.keys.data
    assert (drill.desk.desk / "tuf" / f"{trust.root_version}.root.json").exists()


STEPS = (
    "make", "name", "fence", "files", "rows section_keys", "rows secrets", "record", "erase",
    "forget",
)  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_a_key_encryption_key_rotation_that_stops_leaves_every_row_readable(
    drill: Drill, step: str
) -> None:
    """The running server goes on to give keys, a restarted one too, and the repeat erases."""
    laptop = drill.activated("laptop")
    api = drill.another_process()

    def stop(now: str) -> None:
        if now == step:
            raise Unavailable("the power went")

    rekeying = api._server.rekeying  # type: ignore[attr-defined]
    rekeying.on_step = stop
    with pytest.raises(Unavailable):
        api.rotate_kek()
    laptop.renew()
    assert drill.opens(laptop)
    second = drill.publish("second.onnx")
    drill.server.stop()
    drill.server.start()
    laptop.renew()
    assert drill.opens(laptop, second)
    done = drill.another_process().rotate_kek()
    assert done.resumed == (step not in ("make", "name"))
    _only_key(drill, done.kek)
    third = drill.publish("third.onnx")
    laptop.renew()
    assert drill.opens(laptop) and drill.opens(laptop, second) and drill.opens(laptop, third)
    drill.server.stop()
    drill.server.start()
    laptop.renew()
    assert drill.opens(laptop, third)


def _only_key(drill: Drill, uri: str) -> None:
    """``server.toml`` names one key, and the first one is gone from the disk."""
    drill.desk.close()
    assert (drill.desk.kek_uri, drill.desk.kek_old) == (uri, [])
    assert not (drill.desk.server / "kek.key").exists()
    assert drill.desk.online_keys.check() > 0


def test_moving_the_key_encryption_key_changes_no_sealed_file(
    drill: Drill, tmp_path: Path, api: AdminApi
) -> None:
    blobs = {p: p.read_bytes() for p in drill.desk.server.rglob("blobs/**/*") if p.is_file()}
    assert blobs
    laptop = drill.activated("laptop")
    moved = api.rotate_kek(f"file:{tmp_path}/token.key")
    assert (moved.previous, moved.kept) == (["file:kek.key"], [])
    assert moved.rows >= 2 and moved.files == 8
    _only_key(drill, f"file:{tmp_path}/token.key")
    assert {p: p.read_bytes() for p in blobs} == blobs
    laptop.renew()
    assert drill.opens(laptop)


_CHILD = """
import os, signal, sys
from modelseal.desk import rotating, workspace
from modelseal.keys import files
from modelseal.server.services import LocalAdmin, open_server

left = int(sys.argv[3])

def counted(real):
    def write(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return write

files.replace, files.write_new, files.erase = map(
    counted, (files.replace, files.write_new, files.erase)
)
desk = workspace.open(sys.argv[1])
with open_server(sys.argv[1]) as server:
    api = LocalAdmin(server)
    {"signing": lambda: rotating.rotate(desk, api),
     "root": lambda: rotating.rotate_root(desk, api),
     "kek": lambda: api.rotate_kek()}[sys.argv[2]]()
"""


@pytest.mark.parametrize("what", ["signing", "root", "kek"])
def test_killed_at_every_write_to_the_disk_the_command_can_be_repeated(
    drill: Drill, what: str
) -> None:
    """kill -9 of the command's own process before its n-th file; then it is typed once more."""
    laptop = drill.activated("laptop")
    for at in range(1, 60, 3):
        code = subprocess.run(
            [sys.executable, "-c", _CHILD, drill.desk.home, what, str(at)], check=False
        ).returncode
        laptop.renew()
        assert drill.opens(laptop)
        done = subprocess.run(
            [sys.executable, "-m", "modelseal", "keys", "rotate", what, "--json"],
            env={**os.environ, "MODELSEAL_HOME": str(drill.desk.home)},
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
        drill.desk.close()
        _is_whole(drill, drill.server.admin)
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert at > 3 and code == 0
    laptop.renew()
    assert drill.opens(laptop)
    drill.desk.close()
    assert drill.desk.kek_old == [] and drill.desk.online_keys.check() > 0


def test_every_wrapped_column_of_the_store_is_rewrapped() -> None:
    """A new table with wrapped values that the rotation forgot would be lost with the old key."""
    from modelseal.server.store import tables, wrapped

    having = {table.name for table in tables.metadata.tables.values() if "wrapped" in table.c}
    assert having == set(wrapped.TABLES)


def test_more_rows_than_one_batch_are_all_rewrapped(drill: Drill) -> None:
    api = drill.another_process()
    context = api._server.context  # type: ignore[attr-defined]
    for number in range(rekeying.STEP + 3):
        context.secret(f"many-{number}")
    before = context.secret("many-7")
    done = api.rotate_kek()
    assert done.rows > rekeying.STEP
    fresh = drill.another_process()._server.context  # type: ignore[attr-defined]
    assert fresh.secret("many-7") == before
    assert fresh.secret(f"many-{rekeying.STEP + 2}") == context.secret(f"many-{rekeying.STEP + 2}")
