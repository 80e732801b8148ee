"""Real-ESRGAN: a picture at four times its width and height, tile by tile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from face_fusion.geometry import Picture
from face_fusion.models import Session

SCALE = 4
TILE = 192
OVERLAP = {"fast": 20, "best": 16}
"""Pixels of surroundings per tile. 18 convolutions of 3 x 3 see 18 pixels far: with 20 the
fast model's tiles equal the whole picture; upstream takes 10 for the best model."""


def restore(
    session: Session,
    picture: Picture,
    model: str,
    on_progress: Callable[[float], None] | None = None,
) -> Picture:
    """The picture at exactly four times its size; `on_progress` hears the part done, 0 to 1."""
    height, width = picture.shape[:2]
    pad = OVERLAP[model]
    padded = np.pad(picture, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    output = np.empty((height * SCALE, width * SCALE, 3), dtype=np.uint8)
    name = session.get_inputs()[0].name
    corners = [(y, x) for y in range(0, height, TILE) for x in range(0, width, TILE)]
    for done, (y, x) in enumerate(corners, start=1):
        rows, columns = min(TILE, height - y), min(TILE, width - x)
        tile = padded[y : y + rows + 2 * pad, x : x + columns + 2 * pad, ::-1]
        tensor = np.ascontiguousarray(tile.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        result = session.run(None, {name: tensor})[0][0]
        inner = result[:, pad * SCALE : (pad + rows) * SCALE, pad * SCALE : (pad + columns) * SCALE]
        pixels = np.clip(np.rint(inner * 255), 0, 255).astype(np.uint8)
        place = output[y * SCALE : (y + rows) * SCALE, x * SCALE : (x + columns) * SCALE]
        place[:] = pixels[::-1].transpose(1, 2, 0)
        if on_progress is not None:
            on_progress(done / len(corners))
    return output
