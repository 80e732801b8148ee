"""The 468 points of a face: MediaPipe's face mesh (192 px), looked at twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from face_fusion.geometry import Picture, Points, Region, apply_affine, model_input, sample
from face_fusion.models import Session

INPUT_SIZE = 192
POINTS = 468
MIN_SCORE = 0.5
_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners


@dataclass(frozen=True)
class Mesh:
    """The points in pixels of the picture, their depth, and how sure the model is (0 to 1)."""

    points: Points
    depth: NDArray[np.float32]
    score: float

    @property
    def solid(self) -> NDArray[np.float32]:
        """468 x 3: the points with their depth, in pixels of the picture."""
        return np.concatenate([self.points, self.depth[:, None]], axis=1)

    @property
    def width(self) -> float:
        """Pixels between the two sides of the face at the height of the ears."""
        return float(np.linalg.norm(self.points[454] - self.points[234]))

    @property
    def region(self) -> Region:
        """The face and half as much again, upright by the eyes."""
        right, left = self.points[_RIGHT_EYE], self.points[_LEFT_EYE]
        angle = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])
        upright = apply_affine(turn, self.points)
        low, high = upright.min(axis=0), upright.max(axis=0)
        center = apply_affine(turn[:, :2].T @ np.eye(2, 3), ((low + high) / 2)[None])[0]
        return Region(float(center[0]), float(center[1]), float((high - low).max()) * 1.5, angle)


def look(session: Session, picture: Picture, region: Region) -> Mesh:
    """The mesh as seen in one region."""
    tensor = model_input(sample(picture, region, INPUT_SIZE), 0.0, 1.0)
    points, logit = session.run(["conv2d_20", "conv2d_30"], {session.get_inputs()[0].name: tensor})
    solid = points.reshape(POINTS, 3)
    score = 1 / (1 + np.exp(-float(np.clip(logit.reshape(-1)[0], -80, 80))))
    flat = apply_affine(region.to_picture(INPUT_SIZE), solid[:, :2] - 0.5)
    depth = solid[:, 2] * np.float32(region.side / INPUT_SIZE)
    return Mesh(flat, depth.astype(np.float32), float(score))


def find_mesh(session: Session, picture: Picture, region: Region) -> Mesh | None:
    """The mesh of the face near `region`, from a second look; None if there is no face."""
    first = look(session, picture, region)
    if first.score < MIN_SCORE:
        return None
    second = look(session, picture, first.region)
    return second if second.score >= MIN_SCORE else None
