"""Files of the state folder are read again only when they changed, and then at once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelseal.client import folder as folders
from modelseal.client.folder import Folder
from modelseal.errors import StateDamaged


def test_an_untouched_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_SETTLED_NS", 0)
    folder, opened = Folder(tmp_path), []
    real = folders.open_file
    monkeypatch.setattr(folders, "open_file", lambda path: opened.append(path) or real(path))
    (tmp_path / "a").write_bytes(b"one")
    assert [folder.read("a", 10) for _ in range(3)] == [b"one"] * 3
    assert len(opened) == 1
    for text in (b"two", b"six", b"and longer"):  # in place, also of the same length
        time.sleep(0.02)
        (tmp_path / "a").write_bytes(text)
        assert folder.read("a", 10) == text
    folder.write("a", b"new")
    assert folder.read("a", 10) == b"new"
    (tmp_path / "a").write_bytes(b"0123456789x")
    with pytest.raises(StateDamaged):
        folder.read("a", 10)
    (tmp_path / "a").unlink()
    assert folder.read("a", 10) is None


def test_a_file_that_was_just_written_is_read_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_SETTLED_NS", 3600 * 10**9)
    folder = Folder(tmp_path)
    (tmp_path / "a").write_bytes(b"one")
    os.utime(tmp_path / "a", (0, 0))  # its change time is now, whatever its own time tells
    assert folder.read("a", 10) == b"one"
    assert folder._known == {}
