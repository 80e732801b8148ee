"""Bringing the source's face into the target's shape: triangles, one label map, one remap."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from face_fusion.geometry import Picture, Points

OUTER = 64
_SHIFT = 4  # fractional bits of the rasteriser's coordinates


def triangulate(points: Points) -> NDArray[np.int32]:
    """Delaunay triangles (n x 3 point numbers) of points in general position or not.

    Points closer than float32 can tell are used once. The triangles cover the convex hull.
    """
    low = np.floor(points.min(axis=0)) - 2
    size = float(np.ceil((points.max(axis=0) - low).max())) + 3
    # Subdiv2D hangs the hull on three outer points; only when they are far off do the
    # flattest triangles at the hull become its own.
    plane = cv2.Subdiv2D((0, 0, int(size * OUTER), int(size * OUTER)))
    number: dict[tuple[float, float], int] = {}
    for index, (x, y) in enumerate((points - low).astype(np.float32).tolist()):
        if (x, y) not in number:
            number[x, y] = index
            plane.insert((x, y))
    corners = np.asarray(plane.getTriangleList(), dtype=np.float32).reshape(-1, 3, 2)
    rows = []
    for triangle in corners.tolist():
        found = [number.get((x, y)) for x, y in triangle]
        if None not in found:  # the others hang on the plane's own outer corners
            rows.append(found)
    return np.array(rows, dtype=np.int32).reshape(-1, 3)


def label_map(
    points: Points, triangles: NDArray[np.int32], height: int, width: int
) -> NDArray[np.int16]:
    """For each pixel the number of the triangle it lies in, -1 outside all of them."""
    labels = np.full((height, width), -1, dtype=np.int16)
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
    for index, triangle in enumerate(triangles):
        cv2.fillConvexPoly(labels, fixed[triangle], index, lineType=cv2.LINE_8, shift=_SHIFT)
    return labels


def _affines(target: Points, source: Points, triangles: NDArray[np.int32]) -> NDArray[np.float64]:
    """n x 3 x 2: for each triangle (x, y, 1) of the target times this is a source point."""
    corners = target[triangles].astype(np.float64)
    homogeneous = np.concatenate([corners, np.ones((*corners.shape[:2], 1))], axis=2)
    flat = np.abs(np.linalg.det(homogeneous)) < 1e-6
    homogeneous[flat] = np.eye(3)  # covers no pixel centre worth a value
    return np.asarray(np.linalg.solve(homogeneous, source[triangles].astype(np.float64)))


def warp_face(
    picture: Picture, source: Points, target: Points, height: int, width: int
) -> tuple[Picture, NDArray[np.bool_]]:
    """The source picture bent so that its points lie on the target's points.

    Arguments: the source picture and its points; the target's points within a height x width
    crop. Returns the bent picture of that size and where it has a value.
    """
    triangles = triangulate(target)
    labels = label_map(target, triangles, height, width)
    matrices = _affines(target, source, triangles).astype(np.float32)
    matrix = matrices[np.maximum(labels, 0)]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    map_xy = xs[..., None] * matrix[:, :, 0] + ys[..., None] * matrix[:, :, 1] + matrix[:, :, 2]
    bent = cv2.remap(
        picture, map_xy[..., 0], map_xy[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(bent, dtype=np.uint8), labels >= 0


def fit_resolution(
    picture: Picture, points: Points, target_width: float, source_width: float
) -> tuple[Picture, Points]:
    """The source picture, averaged down when its face is much larger than the target's."""
    factor = target_width / source_width
    if factor > 0.67:
        return picture, points
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    ratio = np.array([small.shape[1] / picture.shape[1], small.shape[0] / picture.shape[0]])
    moved = (points + 0.5) * ratio - 0.5
    return np.asarray(small, dtype=np.uint8), moved.astype(np.float32)
