"""Rotated square regions of a picture, and sampling them into a model's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""Height x width x 3, BGR, 8 bits."""

Points = NDArray[np.float32]
"""n x 2, x then y, in pixels; pixel centres have whole-number coordinates."""


@dataclass(frozen=True)
class Region:
    """A square of a picture: centre and side in pixels, turned by `angle` radians."""

    center_x: float
    center_y: float
    side: float
    angle: float

    def to_picture(self, size: int) -> NDArray[np.float64]:
        """The 2 x 3 matrix that maps pixels of a `size` x `size` sample to the picture."""
        scale = self.side / size
        cos, sin = np.cos(self.angle) * scale, np.sin(self.angle) * scale
        half = (size - 1) / 2
        return np.array(
            [
                [cos, -sin, self.center_x - cos * half + sin * half],
                [sin, cos, self.center_y - sin * half - cos * half],
            ]
        )


def sample(picture: Picture, region: Region, size: int) -> Picture:
    """The region as a `size` x `size` picture; what lies outside the picture is black."""
    matrix = region.to_picture(size)
    source: Picture = picture
    shrink = region.side / size
    if shrink > 2:  # average first, or the sample would alias
        factor = 1 / shrink
        source = np.asarray(
            cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA),
            dtype=np.uint8,
        )
        ratio = np.array([source.shape[1] / picture.shape[1], source.shape[0] / picture.shape[0]])
        # pixel centres: x' = (x + 0.5) * ratio - 0.5
        matrix = matrix * ratio[:, None]
        matrix[:, 2] += 0.5 * ratio - 0.5
    warped = cv2.warpAffine(
        source, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return np.asarray(warped, dtype=np.uint8)


def apply_affine(matrix: NDArray[Any], points: NDArray[Any]) -> Points:
    """n x 2 points mapped by a 2 x 3 matrix."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], dtype=np.float32)


def model_input(bgr: Picture, low: float, high: float) -> NDArray[np.float32]:
    """A sample as 1 x 3 x size x size RGB between `low` and `high`."""
    rgb = bgr[:, :, ::-1].astype(np.float32) * ((high - low) / 255) + low
    return np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], dtype=np.float32)
