"""Keeping the source's features where the source has them, within the target's outline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from face_fusion.geometry import Points
from face_fusion.mask import LIPS, OVAL
from face_fusion.mesh import Mesh

KEPT = 0.75  # of the source's own proportions; 0 gives the target's, 1 the source's


def align(moving: NDArray[np.float32], fixed: NDArray[np.float32]) -> NDArray[np.float32]:
    """n x 3 points turned, scaled and moved onto others (Umeyama 1991, least squares)."""
    mean_m, mean_f = moving.mean(axis=0), fixed.mean(axis=0)
    a, b = (moving - mean_m).astype(np.float64), (fixed - mean_f).astype(np.float64)
    u, singular, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (singular * sign).sum() / max((a**2).sum(), 1e-9)
    return np.asarray(a @ (u * sign @ vt).T * scale + mean_f, dtype=np.float32)


def freedom(points: Points, width: float) -> NDArray[np.float32]:
    """How far each point may follow the source, 0 to 1.

    Nothing at the outline, where the face must meet the target's head, and nothing at the
    mouth, whose expression is the target's.
    """
    bound = np.concatenate([_between(points[list(OVAL)]), _between(points[list(LIPS)])])
    distance = np.linalg.norm(points[:, None] - bound[None], axis=2).min(axis=1)
    return np.asarray(np.clip(distance / (0.18 * width), 0, 1), dtype=np.float32)


def _between(ring: Points) -> Points:
    """A closed line with a point more between each two."""
    return np.concatenate([ring, (ring + np.roll(ring, 1, axis=0)) / 2])


def fused_points(source: Mesh, target: Mesh) -> Points:
    """Where the source's points go in the target's picture.

    The source's shape is turned to the target's pose in three dimensions first.
    """
    own = align(source.solid, target.solid)[:, :2]
    share = KEPT * freedom(target.points, target.width)
    return np.asarray(target.points + (own - target.points) * share[:, None], dtype=np.float32)
