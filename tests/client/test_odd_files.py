"""Whatever lies where a file of the state folder belongs: an error of ours, at once, and a way out.

A pipe must not keep anybody waiting, a folder is not deleted, a link is not followed when writing.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys

import pytest
from tests.client.world import START, World, seal

from modelseal import errors
from modelseal.errors import Forked, ModelsealError, OutputExists, StateDamaged

MODEL = seal()
PROVING = ["license.jwt", "lease.jwt", "lease.key", "device.key", "state.json"]
OTHERS = ["denial.jwt", "trust.json", "verified.json", "lease.bundle", "journal", "journal.1"]
CATALOG = ["root.json", "timestamp.json", "snapshot.json", "targets.json", "keys.json"]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and links of POSIX")


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    made.server.publish(MODEL)
    return made


@pytest.fixture
def key(world):
    made = world.server.issue("face.swap", seats=3)
    with world.client() as client:
        client.activate(made)
        client.pull()
    return made


def _opens(client):
    return client.keys_for(MODEL.file_id, [1])[1].reveal() == MODEL.keys[1]


def _put(kind, place, tmp_path):
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    match kind:
        case "folder":
            place.mkdir()
            (place / "somebody's").write_text("precious")
        case "pipe":
            os.mkfifo(place)
        case "dangling":
            place.symlink_to(tmp_path / "nowhere")
        case "loop":
            place.symlink_to(place)
        case "device":
            place.symlink_to("/dev/zero")
        case "empty":
            place.write_bytes(b"")


KINDS = ["folder", "pipe", "dangling", "loop", "device", "empty"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROVING)
def test_something_else_in_a_files_place_is_damage_and_activating_heals(
    world, key, name, kind, tmp_path
):
    _put(kind, world.state / name, tmp_path)
    with world.client() as client:
        try:
            client.status()
            assert _opens(client)
        except ModelsealError as error:
            assert error.code in ("state_damaged", "not_activated", "key_not_in_lease")
            assert error.reason
            assert error.next_step
        client.activate(key)
        assert client.status().state == "ACTIVE"
        assert _opens(client)
        assert (world.state / name).is_file()
        assert not (world.state / name).is_symlink()
        assert not (tmp_path / "nowhere").exists()
    if kind == "folder":
        kept = list(world.state.rglob("somebody's"))
        assert [place.read_text() for place in kept] == ["precious"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OTHERS)
def test_something_else_in_place_of_a_file_that_can_be_spared_stops_no_renewal(
    world, key, name, kind, tmp_path
):
    _put(kind, world.state / name, tmp_path)
    with world.client() as client:
        if name not in ("denial.jwt", "trust.json"):
            assert _opens(client)
        client.renew()
        assert client.status().state == "ACTIVE"
        assert _opens(client)
        client.journal.read()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*CATALOG, "root_history", "targets", "targets/keys"])
def test_something_else_in_the_catalog_is_fetched_again(world, key, name, kind, tmp_path):
    _put(kind, world.state / "catalog" / name, tmp_path)
    with world.client() as client:
        assert _opens(client)
        assert client.pull().models[0].outcome == "present"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_something_else_in_a_models_place_is_never_overwritten(world, key, kind, tmp_path):
    target = tmp_path / "models"
    target.mkdir()
    _put(kind, target / "swap.onnx", tmp_path)
    with world.client() as client:
        if kind == "dangling":  # nothing of anybody's is there
            assert client.pull(target).models[0].outcome == "downloaded"
        else:
            with pytest.raises(OutputExists) as caught:
                client.pull(target)
            assert caught.value.next_step
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "device"])
def test_something_else_in_place_of_an_unfinished_download_is_told(world, key, kind, tmp_path):
    target = tmp_path / "models"
    target.mkdir()
    _put(kind, target / f".swap.onnx.{MODEL.digest[:16]}.part", tmp_path)
    with world.client() as client:
        with pytest.raises(errors.Unavailable) as caught:
            client.pull(target)
        assert caught.value.next_step
        assert _opens(client)


def test_a_state_folder_that_is_a_link_works_like_the_folder_it_names(world, key, tmp_path):
    (tmp_path / "link").symlink_to(world.state)
    with world.client(tmp_path / "link") as client:
        assert _opens(client)
        client.renew()
    assert (tmp_path / "link").is_symlink()


# -- copies made while something was written


def test_a_copy_made_while_a_lease_was_replaced_says_so_and_the_license_key_heals_it(
    world, key, tmp_path
):
    """Any mixture of old and new files: an error of ours, or it works; never a wrong key."""
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(world.state, old)
    with world.client() as client:
        client.renew()
    shutil.copytree(world.state, new)
    names = ["license.jwt", "lease.jwt", "lease.key", "state.json"]
    for number, picks in enumerate(itertools.product([old, new], repeat=len(names))):
        mixed = tmp_path / f"mixed{number}"
        shutil.copytree(new, mixed)
        for name, source in zip(names, picks, strict=True):
            shutil.copy2(source / name, mixed / name)
        with world.client(mixed) as client:
            try:
                assert _opens(client)
            except (StateDamaged, Forked) as error:  # the older half is a copy of the past
                assert error.next_step
            client.activate(key)
            assert _opens(client)


# -- programs without a terminal


def test_without_standard_streams_everything_works_and_is_in_the_journal(tmp_path):
    """A windowed program: ``sys.stderr`` is None, also in the threads of the background."""
    code = (
        "import sys, os\n"
        "from pathlib import Path\n"
        "from tests.client.world import World, seal\n"
        "sys.stdout = sys.stderr = sys.stdin = None\n"
        "os.close(1); os.close(2)\n"
        "told = []\n"
        "def show(event):\n"
        "    told.append(event.name)\n"
        "    raise ValueError('a bug of the app')\n"
        "world = World(Path(sys.argv[1]))\n"
        "model = seal(); world.server.publish(model)\n"
        "key = world.server.issue('face.swap')\n"
        "with world.client(on_event=show, background=True) as client:\n"
        "    client.activate(key); client.pull(); client.keys_for(model.file_id, [1])\n"
        "    world.server.license_of(key).state = 'revoked'\n"
        "    try: client.renew()\n"
        "    except Exception as error: assert error.code == 'license_revoked', error\n"
        "    assert client._events.drain(10)\n"
        "    kinds = [entry['kind'] for entry in client.journal.read()]\n"
        "    assert 'refused' in kinds and 'callback_failed' in kinds, kinds\n"
        "os._exit(7 if 'refused' in told else 1)\n"
    )
    child = subprocess.run([sys.executable, "-c", code, str(tmp_path / "box")], check=False)
    assert child.returncode == 7


def test_the_start_of_the_world_is_not_the_files(world, key):
    """No file says more about time than the signed tokens: old and new mtimes change nothing."""
    for place in world.state.iterdir():
        os.utime(place, (0, 0))
    with world.client() as client:
        assert _opens(client)
        assert client.status().clock.floor == START


def test_a_file_in_place_of_the_state_folder_is_told_and_stays(world, tmp_path):
    place = tmp_path / "state"
    place.write_bytes(b"mine")
    with world.client(state=place) as client:
        for ask in (client.status, client.renew, lambda: client.activate("MS-" + "0" * 20)):
            with pytest.raises(ModelsealError) as raised:
                ask()
            assert raised.value.exit_code in (2, 5)
    assert place.read_bytes() == b"mine"
