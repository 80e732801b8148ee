"""Reading pictures, and writing files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from face_fusion.errors import FormatNotSupported, OutputNotWritable, PictureUnreadable
from face_fusion.geometry import Picture
from face_fusion.labelling import label_jpeg, label_png

PICTURES = (".png", ".jpg", ".jpeg")
VIDEOS = (".mp4", ".m4v", ".mov")
VIDEO_INPUTS = (*VIDEOS, ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
MAX_FILE_BYTES = 256 * 1024 * 1024
MIN_SIDE = 64  # pixels: below, neither a face nor the label could be made out


def read_picture(path: Path) -> Picture:
    """A picture as 8-bit BGR, turned upright by its EXIF data; raises PictureUnreadable."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PictureUnreadable(
                f"{path} is larger than {MAX_FILE_BYTES // 2**20} MiB.", "Take a smaller picture."
            )
        data = path.read_bytes()
    except OSError as error:
        raise PictureUnreadable(
            f"{path} cannot be read: {error.strerror or error}.",
            "Check the file's name and its permissions.",
        ) from error
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:  # more pixels than OPENCV_IO_MAX_IMAGE_PIXELS
        picture = None
    if picture is None:
        raise PictureUnreadable(
            f"{path} is no picture, is damaged, or is too large.",
            "Take a PNG, JPEG, WebP, TIFF or BMP file of at most 100 million pixels.",
        )
    if min(picture.shape[:2]) < MIN_SIDE:
        raise PictureUnreadable(
            f"{path} is only {picture.shape[1]} x {picture.shape[0]} pixels.",
            "Take a larger picture.",
        )
    return np.asarray(picture, dtype=np.uint8)


def encode_picture(picture: Picture, suffix: str) -> bytes:
    """The bytes of a PNG or JPEG file with the label in its metadata.

    The pixels are written as they are: label them first.
    """
    if suffix == ".png":
        return label_png(cv2.imencode(".png", picture)[1].tobytes())
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    return label_jpeg(cv2.imencode(".jpg", picture, quality)[1].tobytes())


def check_output(path: Path, inputs: list[Path], suffixes: tuple[str, ...]) -> None:
    """Nothing, if the output can be written; raises FormatNotSupported, OutputNotWritable.

    Asked before any work is done, so that nobody waits minutes for a refusal.
    """
    if path.suffix.lower() not in suffixes:
        raise FormatNotSupported(
            f"The output {path.name} would not be a {' or '.join(suffixes)} file.",
            "Take one of these endings: only they carry the SYNTHETIC label in their metadata.",
        )
    folder = path.parent
    if not folder.is_dir():
        raise OutputNotWritable(f"The folder {folder} does not exist.", "Make it first.")
    if path.is_dir():
        raise OutputNotWritable(f"{path} is a folder.", "Name a file with --output.")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise OutputNotWritable(f"{path} cannot be written.", "Check the folder's permissions.")
    for other in inputs:
        if path.exists() and other.exists() and path.samefile(other):
            raise OutputNotWritable(
                f"{path} is one of the inputs.", "Name another file with --output."
            )


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well.

    When it does not, the temporary file is removed and `path` is as it was.
    """
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OutputNotWritable(
            f"{path} cannot be written: {error.strerror or error}.",
            "Check the disk's free space and the folder's permissions.",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def write_picture(picture: Picture, path: Path) -> None:
    """Writes a labelled picture, whole or not at all; raises OutputNotWritable."""
    data = encode_picture(picture, path.suffix.lower())
    with appearing(path) as part:
        part.write_bytes(data)
