"""Videos, frame by frame."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from test_labelling import source_type

from face_fusion import cli, labelling

SIZE = (256, 300)


def _write(path, frames, size=SIZE):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 12.5, size)
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def _read(path):
    capture = cv2.VideoCapture(str(path))
    rate, frames = capture.get(cv2.CAP_PROP_FPS), []
    while True:
        ok, frame = capture.read()
        if not ok:
            return rate, frames
        frames.append(frame)


@pytest.fixture(scope="module")
def clip(hopper, tmp_path_factory):
    """Four frames with a moving face, then one without."""
    small = cv2.resize(hopper, SIZE, interpolation=cv2.INTER_AREA)
    moved = [np.roll(small, 4 * step, axis=1) for step in range(4)]
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return _write(path, [*moved, np.full((SIZE[1], SIZE[0], 3), 90, dtype=np.uint8)])


@pytest.fixture
def run(models_dir, astronaut_file, tmp_path, capsys):
    def running(target, output, *more):
        arguments = [f"--source={astronaut_file}", f"--target={target}", f"--models={models_dir}"]
        code = cli.main([*arguments, f"--output={tmp_path / output}", *more])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return running


def _only(folder, *names):
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_every_frame_with_a_face_is_swapped_and_every_frame_labelled(run, clip, tmp_path):
    """Number of frames, their size and rate stay; frames without a face are told of."""
    code, out, err = run(clip, "out.mp4", "--json")
    assert code == 0
    assert json.loads(out) | {"frames": 5, "frames_swapped": 4} == json.loads(out)
    assert "1 of 5 frames show no face" in err
    assert "Frames: 100%" in err
    rate, frames = _read(tmp_path / "out.mp4")
    before = _read(clip)[1]
    assert rate == 12.5
    assert [frame.shape for frame in frames] == [(300, 256, 3)] * 5
    for index, (frame, old) in enumerate(zip(frames, before, strict=True)):
        assert (frame[-16:, :60].min(axis=2) > 170).any()  # the label's letters
        face = np.abs(frame[100:160, 100:150].astype(int) - old[100:160, 100:150]).mean()
        assert (face > 8) == (index < 4)
    _only(tmp_path, "out.mp4")


def test_the_video_file_carries_the_label(run, clip, tmp_path):
    """An XMP box at its end, where the specification wants it: at the top level."""
    assert run(clip, "out.mp4")[0] == 0
    data = (tmp_path / "out.mp4").read_bytes()
    boxes, at = {}, 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        boxes[data[at + 4 : at + 8]] = data[at + 8 : at + length]
        at += length
    assert at == len(data)
    assert {b"ftyp", b"moov", b"mdat", b"uuid"} <= set(boxes)
    assert boxes[b"uuid"][:16].hex() == "be7acfcb97a942e89c71999491e3afac"
    assert source_type(boxes[b"uuid"][16:]) == labelling.SOURCE_TYPE


def test_the_same_video_gives_the_same_bytes(run, clip, tmp_path):
    """Twice the same file."""
    run(clip, "one.mp4")
    run(clip, "two.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_restored_frames_are_four_times_as_large(run, hopper, tmp_path):
    """Every frame, also of odd sizes."""
    small = cv2.resize(hopper, (131, 151), interpolation=cv2.INTER_AREA)
    clip = _write(tmp_path / "in.mp4", [small] * 2, (131, 151))
    shape = _read(clip)[1][0].shape
    assert run(clip, "out.mov", "--restore")[0] == 0
    frames = _read(tmp_path / "out.mov")[1]
    assert [frame.shape for frame in frames] == [(4 * shape[0], 4 * shape[1], 3)] * 2


def test_a_video_without_a_face_leaves_no_output(run, tmp_path):
    """Exit code 4."""
    grey = np.full((SIZE[1], SIZE[0], 3), 90, dtype=np.uint8)
    clip = _write(tmp_path / "grey.mp4", [grey] * 2)
    code, _, err = run(clip, "out.mp4")
    assert code == 4
    assert "any of the 2 frames" in err
    _only(tmp_path, "grey.mp4")


@pytest.mark.parametrize("content", [b"", b"no video", None])
def test_a_file_that_is_no_video_is_named(run, clip, tmp_path, content):
    """Also one whose end is missing."""
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(clip.read_bytes()[:400] if content is None else content)
    code, _, err = run(bad, "out.mp4")
    assert code == 4
    assert "bad.mp4" in err
    _only(tmp_path, "bad.mp4")


def test_a_video_is_not_written_into_a_picture(run, clip, tmp_path):
    """Exit code 2, naming the endings that work."""
    code, _, err = run(clip, "out.png")
    assert code == 2
    assert ".mp4" in err
    _only(tmp_path)
