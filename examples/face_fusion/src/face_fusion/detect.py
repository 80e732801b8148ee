"""Finding faces: BlazeFace, back camera variant (256 px, 896 anchors).

Decoding and weighted suppression follow MediaPipe's `ssd_anchors_calculator`,
`tflite_tensors_to_detections_calculator` and `non_max_suppression_calculator`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from face_fusion.geometry import Picture, Points, Region, apply_affine, model_input, sample
from face_fusion.models import Session

INPUT_SIZE = 256
MIN_SCORE = 0.6
MIN_OVERLAP = 0.3
_LAYERS = ((16, 2), (8, 6))  # grid cells per side, anchors per cell


@dataclass(frozen=True)
class Detection:
    """One face: box corners and six key points in pixels of the picture.

    Key points: right eye, left eye (the person's), nose, mouth, right ear, left ear.
    """

    corners: Points
    keypoints: Points
    score: float

    @property
    def region(self) -> Region:
        """The face and half as much again, upright by the eyes: the mesh's first region."""
        right, left = self.keypoints[0], self.keypoints[1]
        angle = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
        center = self.corners.mean(axis=0)
        side = float(np.linalg.norm(self.corners[1] - self.corners[0]))
        return Region(float(center[0]), float(center[1]), side * 1.5, angle)

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        sides = self.corners[1:3] - self.corners[0:2]
        return float(np.prod(np.linalg.norm(sides, axis=1)))


def anchors() -> NDArray[np.float32]:
    """896 x 2 anchor centres in parts of the input's side."""
    rows = []
    for cells, per_cell in _LAYERS:
        centers = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        grid = np.stack(np.meshgrid(centers, centers), axis=-1).reshape(-1, 2)
        rows.append(np.repeat(grid, per_cell, axis=0))
    return np.concatenate(rows)


def decode(
    regressors: NDArray[np.float32], logits: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes and key points (k x 8 x 2 in parts of the side) and scores of likely faces.

    Rows 0 and 1 are the box's upper left and lower right corner.
    """
    values = regressors.reshape(-1, 8, 2) / INPUT_SIZE
    scores = 1 / (1 + np.exp(-np.clip(logits.reshape(-1), -80, 80)))
    keep = scores > MIN_SCORE
    values, scores, centers = values[keep], scores[keep], anchors()[keep]
    points = values + centers[:, None]
    half = values[:, 1] / 2
    points[:, 1] = points[:, 0] + half
    points[:, 0] = points[:, 0] - half
    valid = np.all(half > 0, axis=1)
    return points[valid].astype(np.float32), scores[valid].astype(np.float32)


def overlap(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of one box (2 x 2) with many (n x 2 x 2), 0 to 1."""
    low = np.maximum(box[0], boxes[:, 0])
    high = np.minimum(box[1], boxes[:, 1])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    union = np.prod(box[1] - box[0]) + np.prod(boxes[:, 1] - boxes[:, 0], axis=1) - common
    return np.asarray(common / union, dtype=np.float32)


def suppress(
    points: NDArray[np.float32], scores: NDArray[np.float32]
) -> list[tuple[NDArray[np.float32], float]]:
    """Weighted suppression: each face once, as the mean of its overlapping boxes."""
    order = np.argsort(-scores, kind="stable")
    found = []
    while len(order):
        best = order[0]
        same = overlap(points[best, :2], points[order, :2]) > MIN_OVERLAP
        same[0] = True
        group = order[same]
        weights = scores[group] / scores[group].sum()
        mean = np.tensordot(weights, points[group], axes=1).astype(np.float32)
        found.append((mean, float(scores[best])))
        order = order[~same]
    return found


def _views(height: int, width: int) -> Iterator[list[Region]]:
    """Ways to look at a picture, the usual one first.

    Whole; then with a border (a face that fills the picture), then turned by quarters,
    then in overlapping tiles (small faces in a group).
    """
    side = float(max(height, width))
    middle = ((width - 1) / 2, (height - 1) / 2)
    yield [Region(*middle, side, 0.0)]
    yield [Region(*middle, side * 1.8, 0.0)]
    yield [Region(*middle, side, np.pi / 2 * turn) for turn in (1, 3, 2)]
    for parts in (2, 4):
        tile = side / parts * 1.3
        grid = (np.arange(parts) + 0.5) / parts
        yield [Region(x * width, y * height, tile, 0.0) for y in grid for x in grid]


def detect(session: Session, picture: Picture) -> Iterator[Detection]:
    """Likely faces, view by view, the largest of a view first.

    Take the first that the mesh confirms: later views are looked at only when asked for.
    """
    name = session.get_inputs()[0].name
    for regions in _views(*picture.shape[:2]):
        found: list[Detection] = []
        for region in regions:
            tensor = model_input(sample(picture, region, INPUT_SIZE), -1.0, 1.0)
            regressors, logits = session.run(["regressors", "classificators"], {name: tensor})
            matrix = region.to_picture(INPUT_SIZE)
            for points, score in suppress(*decode(regressors, logits)):
                found.append(_to_picture(points, score, matrix))
        yield from sorted(found, key=lambda face: -face.area)


def _to_picture(
    points: NDArray[np.float32], score: float, matrix: NDArray[np.float64]
) -> Detection:
    (x0, y0), (x1, y1) = points[:2]
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float32)
    pixels = [apply_affine(matrix, p * INPUT_SIZE - 0.5) for p in (corners, points[2:])]
    return Detection(corners=pixels[0], keypoints=pixels[1], score=score)
