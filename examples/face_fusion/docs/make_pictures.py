"""Makes the two pictures of the README: `python docs/make_pictures.py` (needs the test extra)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from face_fusion import FaceFusion, Models, files, label, samples
from face_fusion.models import find_models_dir

HERE = Path(__file__).parent


def beside(*pictures: np.ndarray) -> np.ndarray:
    """Pictures side by side at one height, with a white gap."""
    height = min(picture.shape[0] for picture in pictures)
    row = []
    for picture in pictures:
        width = round(picture.shape[1] * height / picture.shape[0])
        scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        row += [scaled, np.full((height, 8, 3), 255, dtype=np.uint8)]
    return np.hstack(row[:-1])


def write(picture: np.ndarray, name: str) -> None:
    data = files.encode_picture(picture, ".jpg")
    print(name, picture.shape[1], "x", picture.shape[0], len(data) // 1024, "KiB")
    (HERE / name).write_bytes(data)


def main() -> None:
    fusion = FaceFusion(Models(find_models_dir(None)))
    collins = files.read_picture(samples.astronaut())
    hopper = files.read_picture(samples.grace_hopper())
    swapped = fusion.swap(collins, hopper).image
    back = fusion.swap(hopper, collins).image
    write(beside(collins, hopper, label(swapped), label(back)), "swap.jpg")
    piece = swapped[90:390, 120:400]
    restored = fusion.restore(np.ascontiguousarray(piece)).image
    plain = cv2.resize(piece, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    half = [label(cv2.resize(p, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA))
            for p in (plain, restored)]  # fmt: skip
    write(beside(*half), "restore.jpg")


if __name__ == "__main__":
    main()
