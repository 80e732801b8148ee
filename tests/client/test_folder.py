"""The state folder's files: whole or not at all, private, with errors that name them."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys

import pytest

from modelseal.client.folder import Folder
from modelseal.errors import (
    DiskFull,
    StateDamaged,
    StateNotReadable,
    StateNotWritable,
    StorageFailed,
)


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path / "state")
    made.create()
    return made


def test_what_was_written_is_read_again_and_private(folder):
    folder.write("a", b"one")
    folder.write("a", b"two")
    assert folder.read("a", 10) == b"two"
    assert stat.S_IMODE((folder.path / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert [p.name for p in folder.path.iterdir()] == ["a"]


def test_a_missing_file_is_none_and_a_missing_folder_too(folder, tmp_path):
    assert folder.read("nothing", 10) is None
    assert Folder(tmp_path / "elsewhere").read("a", 10) is None
    assert not Folder(tmp_path / "elsewhere").exists()


def test_a_file_larger_than_any_of_ours_is_damaged(folder):
    folder.write("a", b"x" * 11)
    with pytest.raises(StateDamaged) as caught:
        folder.read("a", 10)
    assert caught.value.params["path"] == str(folder.path / "a")


def test_a_folder_where_a_file_belongs_is_damaged(folder):
    (folder.path / "a").mkdir()
    with pytest.raises(StateDamaged):
        folder.read("a", 10)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, StateNotWritable),
        (errno.EACCES, StateNotWritable),
        (errno.EIO, StorageFailed),
    ],
)
def test_a_failing_write_leaves_the_old_file_and_nothing_else(folder, monkeypatch, number, kind):
    folder.write("a", b"old")

    def fail(path, data):
        path.write_bytes(data[:1])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folder, "_write_through", fail)
    with pytest.raises(kind):
        folder.write("a", b"new")
    assert folder.read("a", 10) == b"old"
    assert [p.name for p in folder.path.iterdir()] == ["a"]


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 64 KiB, where this user may mount one."""
    place = tmp_path / "tiny"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], capture_output=True
    )
    if done.returncode != 0:
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_truly_full_disk_is_disk_full_and_keeps_what_was_there(tiny_disk):
    folder = Folder(tiny_disk / "state")
    folder.create()
    folder.write("lease.jwt", b"old")
    with pytest.raises(DiskFull):
        folder.write("lease.jwt", b"n" * 200_000)
    assert folder.read("lease.jwt", 10) == b"old"
    with pytest.raises(DiskFull):
        folder.append("journal", b"n" * 200_000)


def _as_user(code: str, *arguments: str) -> str:
    """What ``code`` prints, run as an ordinary user (nobody)."""
    program = code.replace("DROP", "os.setgid(65534); os.setuid(65534)")
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root to drop from")
def test_activated_as_root_a_user_is_told_who_owns_the_state(folder, tmp_path):
    for place in (tmp_path, *tmp_path.parents[:2]):
        place.chmod(0o755)
    folder.write("lease.jwt", b"x")
    code = (
        "import os, sys; from pathlib import Path\n"
        "from modelseal.client.folder import Folder\n"
        "from modelseal.errors import ModelsealError\n"
        "DROP\n"
        "try: Folder(Path(sys.argv[1])).read('lease.jwt', 10)\n"
        "except ModelsealError as e: print(e.code, e.params['owner'])\n"
        "try: Folder(Path(sys.argv[1])).write('lease.jwt', b'1')\n"
        "except ModelsealError as e: print(e.code, e.params['owner'])\n"
    )
    said = _as_user(code, str(folder.path)).splitlines()
    assert said == ["state_not_readable root", "state_not_writable root"]


def test_no_right_to_read_is_not_readable(folder):
    from modelseal.client.folder import translate

    error = translate(PermissionError(errno.EACCES, "x"), folder.path / "a", writing=False)
    assert isinstance(error, StateNotReadable)
    assert "ali" not in error.detail


def test_leftovers_of_dead_writers_are_swept(folder):
    (folder.path / ".new-0123").write_bytes(b"half")
    folder.sweep()
    assert list(folder.path.iterdir()) == []
