"""The command line: what a person types, and what comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from face_fusion import cli


@pytest.fixture
def run(models_dir, astronaut_file, hopper_file, tmp_path, capsys):
    """Runs the program with usual arguments, of which a test may change some."""

    def running(*more, **changed):
        usual = {
            "source": astronaut_file,
            "target": hopper_file,
            "output": tmp_path / "out.png",
            "models": models_dir,
        }
        arguments = [f"--{name}={value}" for name, value in (usual | changed).items()]
        code = cli.main([*arguments, *more])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return running


def _only(folder, *names):
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_a_swap_writes_a_labelled_picture(run, tmp_path, hopper):
    """Of the target's size; nothing on stdout, the file's name on stderr, nothing else left."""
    code, out, err = run()
    assert (code, out) == (0, "")
    assert "out.png" in err
    picture = cv2.imread(str(tmp_path / "out.png"))
    assert picture.shape == hopper.shape
    assert (picture[-30:, :100].min(axis=2) > 200).any()
    assert b"SYNTHETIC" in (tmp_path / "out.png").read_bytes()
    _only(tmp_path, "out.png")


def test_restoring_gives_four_times_the_size_and_tells_its_times(run, tmp_path, hopper):
    """With --json stdout is one object with seconds per step and per model."""
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), cv2.resize(hopper, (256, 300), interpolation=cv2.INTER_AREA))
    code, out, err = run("--restore", "--json", target=small, output=tmp_path / "out.jpg")
    assert code == 0
    report = json.loads(out)
    assert (report["width"], report["height"]) == (1024, 1200)
    assert {"find", "warp", "colour", "mask", "blend", "restore"} <= set(report["step_seconds"])
    assert "restore_fast.onnx" in report["load_seconds"]
    assert "Restoring: 100%" in err
    assert cv2.imread(str(tmp_path / "out.jpg")).shape == (1200, 1024, 3)


def test_two_runs_write_the_same_bytes(run, tmp_path):
    """The file, not only its pixels."""
    run(output=tmp_path / "one.png")
    run(output=tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_an_existing_output_is_replaced_only_by_a_whole_one(run, tmp_path):
    """A failed run leaves the file of before."""
    (tmp_path / "out.png").write_text("before")
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), np.full((200, 200, 3), 128, dtype=np.uint8))
    assert run(target=grey)[0] == 4
    assert (tmp_path / "out.png").read_text() == "before"
    assert run()[0] == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    _only(tmp_path, "out.png", "grey.png")


@pytest.mark.parametrize("which", ["source", "target"])
def test_a_picture_without_a_face_is_named(run, tmp_path, which):
    """Exit code 4, and no output."""
    noise = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    code, _, err = run(**{which: tmp_path / "noise.png"})
    assert code == 4
    assert "No face" in err
    assert "noise.png" in err
    _only(tmp_path, "noise.png")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\xff" * 64, b"\xff\xd8\xff\xe0\x00\x10JF"]
)
@pytest.mark.parametrize("which", ["source", "target"])
def test_files_that_are_no_pictures_are_named(run, tmp_path, which, content):
    """Empty, text, or cut short: exit code 4."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(content)
    code, _, err = run(**{which: bad})
    assert code == 4
    assert "bad.jpg is no picture" in err
    _only(tmp_path, "bad.jpg")


def test_a_file_that_is_not_there_is_named(run, tmp_path):
    """With the system's own words."""
    code, _, err = run(source=tmp_path / "nowhere.png")
    assert code == 4
    assert "nowhere.png cannot be read: No such file" in err


def test_a_missing_model_names_the_prepare_step(run, tmp_path):
    """Exit code 5; with --json the error is the object on stdout."""
    (tmp_path / "empty").mkdir()
    code, out, err = run("--json", models=tmp_path / "empty")
    assert code == 5
    assert "python -m face_fusion.prepare" in err
    assert json.loads(out)["code"] == "model_missing"


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("out.bmp", 2, "SYNTHETIC label"),
        ("out", 2, "SYNTHETIC label"),
        ("out.mp4", 2, "SYNTHETIC label"),
        ("no/such/out.png", 5, "does not exist"),
        ("folder.png", 5, "is a folder"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_first(run, tmp_path, name, code, word):
    """Before any model is opened."""
    (tmp_path / "folder.png").mkdir()
    found, _, err = run(output=tmp_path / name, models=tmp_path / "nowhere")
    assert found == code
    assert word in err


def test_an_input_is_never_overwritten(run, tmp_path, hopper):
    """Also under another name of the same file."""
    target = tmp_path / "target.png"
    cv2.imwrite(str(target), hopper)
    os.link(target, tmp_path / "same.png")
    before = target.read_bytes()
    code, _, err = run(target=target, output=tmp_path / "same.png")
    assert code == 5
    assert "one of the inputs" in err
    assert target.read_bytes() == before


def test_a_full_disk_leaves_no_half_written_file(run, tmp_path, monkeypatch):
    """The temporary file is gone as well."""
    from face_fusion import files

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    code, _, err = run()
    assert code == 5
    assert "No space left" in err
    _only(tmp_path)


@pytest.mark.parametrize("arguments", [[], ["--threads=-1"], ["--restore-model=other"]])
def test_wrong_use_gives_the_usage(astronaut_file, hopper_file, arguments, capsys, tmp_path):
    """Exit code 2."""
    full = [f"--source={astronaut_file}", f"--target={hopper_file}", f"--output={tmp_path}/a.png"]
    with pytest.raises(SystemExit) as left:
        cli.main([*full, *arguments] if arguments else [])
    assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_the_program_as_typed(models_dir, astronaut_file, hopper_file, tmp_path):
    """A process of its own, warnings as errors, without a stderr to talk to."""
    command = [sys.executable, "-W", "error", "-m", "face_fusion", "--source", astronaut_file]
    command += ["--target", hopper_file, "--output", tmp_path / "out.png"]
    env = {**os.environ, "FACE_FUSION_MODELS": str(models_dir)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Written: ")
    broken = subprocess.run(
        [*command[:-4], "--target", __file__, "--output", tmp_path / "b.png"],
        capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    assert broken.returncode == 4
    assert "Traceback" not in broken.stderr
    assert len(broken.stderr.splitlines()) == 2
    _only(tmp_path, "out.png")


def test_a_picture_too_small_for_the_label_is_refused(run, tmp_path):
    """Nothing leaves the program without a label that can be read."""
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((40, 63, 3), dtype=np.uint8))
    code, _, err = run(target=tmp_path / "tiny.png")
    assert code == 4
    assert "63 x 40" in err


def test_a_mistake_in_the_program_is_told_in_two_lines(run, tmp_path, monkeypatch):
    """Exit code 1 and no output; with --debug the error itself."""
    from face_fusion import pipeline

    def broken(*_):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(pipeline.warp, "warp_face", broken)
    code, out, err = run("--json")
    assert code == 1
    assert json.loads(out)["code"] == "unexpected"
    assert "ZeroDivisionError: oh" in err
    _only(tmp_path)
    with pytest.raises(ZeroDivisionError):
        run("--debug")
