"""Video files, frame by frame.

OpenCV reads and writes the pictures only: sound and subtitles are not carried over, and its
writer offers no metadata, so the label is appended to the finished file as an XMP box.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from face_fusion.errors import NoFaceFound, OutputNotWritable, PictureUnreadable
from face_fusion.files import appearing
from face_fusion.geometry import Picture
from face_fusion.labelling import label, mp4_label
from face_fusion.pipeline import Face, FaceFusion

FRAMES_PER_SECOND = 25.0  # where the file does not say


@dataclass(frozen=True)
class VideoResult:
    """How many frames were written, and in how many of them a face was swapped."""

    frames: int
    swapped: int


@dataclass(frozen=True)
class _Input:
    capture: Any
    frames_per_second: float
    frames: int

    def pictures(self) -> Iterator[Picture]:
        while True:
            ok, frame = self.capture.read()
            if not ok:
                return
            yield np.asarray(frame, dtype=np.uint8)


def _open(path: Path) -> _Input:
    capture = cv2.VideoCapture(str(path)) if path.is_file() else None
    if capture is None or not capture.isOpened():
        raise PictureUnreadable(
            f"{path} cannot be read as a video.", "Check the file's name; take an MP4 file."
        )
    rate = capture.get(cv2.CAP_PROP_FPS)
    frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return _Input(
        capture,
        rate if math.isfinite(rate) and 0 < rate <= 1000 else FRAMES_PER_SECOND,
        int(frames) if math.isfinite(frames) and frames > 0 else 0,
    )


class _Writer:
    """Writes labelled frames; the first one decides the size."""

    def __init__(self, path: Path, frames_per_second: float) -> None:
        self._path, self._rate = path, frames_per_second
        self._writer: Any = None
        self.frames = 0

    def write(self, picture: Picture) -> None:
        if self._writer is None:
            size = (picture.shape[1], picture.shape[0])
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), code, self._rate, size)
            if not self._writer.isOpened():
                raise _unwritable(self._path)
        self._writer.write(label(picture))
        self.frames += 1

    def finish(self) -> None:
        """Closes the file and reads it back: OpenCV's writer tells nobody that a disk is full."""
        self.release()
        back = cv2.VideoCapture(str(self._path))
        written = int(back.get(cv2.CAP_PROP_FRAME_COUNT)) if back.isOpened() else 0
        back.release()
        if written != self.frames:
            raise _unwritable(self._path)
        with self._path.open("ab") as file:
            file.write(mp4_label())

    def release(self) -> None:
        if self._writer is not None:
            self._writer.release()


def _unwritable(path: Path) -> OutputNotWritable:
    return OutputNotWritable(
        f"The video cannot be written into {path.parent}.",
        "Check the disk's free space; without --restore frames are 16 times smaller.",
    )


def swap_video(
    fusion: FaceFusion,
    source: Face,
    target: Path,
    output: Path,
    restore_model: str | None = None,
    on_frame: Callable[[int, int], None] | None = None,
) -> VideoResult:
    """Writes the target video with the source's face in every frame that shows a face.

    Frames without a face are written as they are; all frames are labelled. `on_frame` hears the
    frames done and the frames announced by the file (0: not known). Raises PictureUnreadable,
    NoFaceFound (no frame shows a face), OutputNotWritable; then no output is left.
    """
    opened = _open(target)
    swapped = 0
    try:
        with appearing(output) as part:
            writer = _Writer(part, opened.frames_per_second)
            try:
                for frame in opened.pictures():
                    picture = frame
                    try:
                        picture = fusion.swap(source, frame).image
                        swapped += 1
                    except NoFaceFound:
                        pass
                    if restore_model is not None:
                        picture = fusion.restore(picture, restore_model).image
                    writer.write(picture)
                    if on_frame is not None:
                        on_frame(writer.frames, opened.frames)
                _check(target, writer.frames, swapped)
                writer.finish()
            finally:
                writer.release()
    finally:
        opened.capture.release()
    return VideoResult(writer.frames, swapped)


def _check(target: Path, frames: int, swapped: int) -> None:
    if frames == 0:
        raise PictureUnreadable(f"{target} holds no frame that can be read.", "Take an MP4 file.")
    if swapped == 0:
        raise NoFaceFound(
            f"No face was found in any of the {frames} frames of {target}.",
            "Take a video in which a face is seen from the front.",
        )
