"""The pictures of the story: kept as PNG beside the report, and small inside it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import cv2
import numpy as np
from face_fusion.geometry import Picture

MAX_SIDE = 900
QUALITY = 86


def read(path: Path) -> Picture:
    """The pixels of a picture file."""
    data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path.name} is no picture")
    return np.asarray(picture, dtype=np.uint8)


def pixels_digest(path: Path) -> str:
    """SHA-256 over size and pixels: equal when the pictures are equal, bit for bit."""
    picture = read(path)
    shape = repr(picture.shape).encode()
    return hashlib.sha256(shape + picture.tobytes()).hexdigest()


def detail(
    swap: Picture, restored: Picture, rows: slice, columns: slice
) -> tuple[Picture, Picture]:
    """The same piece of both at the same size: the first enlarged four times, the second as is."""
    piece = swap[rows, columns]
    plain = cv2.resize(piece, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    large = restored[rows.start * 4 : rows.stop * 4, columns.start * 4 : columns.stop * 4]
    return np.asarray(plain, dtype=np.uint8), large


def save_png(picture: Picture, path: Path) -> None:
    """``path`` holds the picture as PNG."""
    path.write_bytes(_encoded(picture, ".png", []))


def inside_page(path: Path) -> str:
    """The picture as a ``data:`` address, at most ``MAX_SIDE`` pixels in width and height."""
    picture = read(path)
    part = MAX_SIDE / max(picture.shape[:2])
    if part < 1:
        picture = np.asarray(
            cv2.resize(picture, None, fx=part, fy=part, interpolation=cv2.INTER_AREA),
            dtype=np.uint8,
        )
    data = _encoded(picture, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _encoded(picture: Picture, suffix: str, options: list[int]) -> bytes:
    worked, data = cv2.imencode(suffix, picture, options)
    if not worked:
        raise ValueError(f"no {suffix} came out of the picture")
    return data.tobytes()
