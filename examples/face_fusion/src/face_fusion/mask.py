"""Which pixels of the target become the source's face."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from face_fusion.geometry import Points

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
RIGHT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178,
              88, 95)  # fmt: skip

EROSION = 0.045  # of the face's width
FOREHEAD_KEPT = 0.62  # of the way from the brows to the top of the oval
BAND = 0.3  # of the face's width, above and below the eyes: where glasses may be
MAX_FRONT = 0.25  # of the face's width: the tallest end of a pair of glasses
STEPS = 48

Mask = NDArray[np.uint8]


def fill(points: Points, height: int, width: int) -> Mask:
    """255 inside the polygon, 0 outside."""
    mask = np.zeros((height, width), dtype=np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], (255,), shift=4)
    return mask


def lowered_oval(points: Points) -> Points:
    """The outline of the face, cut below the hairline: the forehead is pressed to the brows."""
    oval = points[list(OVAL)].astype(np.float64)
    chin, top = points[152].astype(np.float64), points[10].astype(np.float64)
    length = float(np.linalg.norm(top - chin)) or 1.0
    up = (top - chin) / length
    brows = points[[105, 334, 66, 296]].astype(np.float64)
    brow_height = float(((brows - chin) @ up).mean())
    over = np.maximum((oval - chin) @ up - brow_height, 0)
    return np.asarray(oval - over[:, None] * (1 - FOREHEAD_KEPT) * up, dtype=np.float32)


def _disc(radius: int) -> Mask:
    size = 2 * max(radius, 1) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), dtype=np.uint8)


def face_mask(points: Points, face_width: float, height: int, width: int) -> Mask:
    """255 where the new face goes: the lowered oval, eroded by 4.5 % of the face's width."""
    whole = fill(lowered_oval(points), height, width)
    return np.asarray(cv2.erode(whole, _disc(round(face_width * EROSION))), dtype=np.uint8)


def without_hair(points: Points, mask: Mask, source_skin: NDArray[np.float32],
                 face_width: float) -> Mask:  # fmt: skip
    """The mask without the forehead wherever the source shows hair there instead of skin."""
    height, width = mask.shape
    brows = cv2.convexHull(points[[*RIGHT_BROW, *LEFT_BROW]]).reshape(-1, 2)
    below = lowered_oval(points)
    core = fill(np.asarray(brows, dtype=np.float32), height, width)
    eyes = np.array([points[i] for i in (127, 70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 356,
                                         454, 361, 397, 152, 172, 132, 234)])  # fmt: skip
    core |= fill(eyes, height, width)
    core = np.asarray(cv2.dilate(core, _disc(round(face_width * 0.025))), dtype=np.uint8)
    hair = ((source_skin < 0.5) & (core == 0)).astype(np.uint8)
    hair &= fill(below, height, width) > 0
    speck = _disc(round(face_width * 0.015))
    hair = cv2.morphologyEx(hair, cv2.MORPH_OPEN, speck)
    hair = cv2.dilate(hair, _disc(round(face_width * 0.05)))
    kept = np.where((hair > 0) & (core == 0), 0, mask).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(kept, cv2.MORPH_OPEN, _disc(round(face_width * 0.06))))


def mouth_opening(points: Points) -> float:
    """The gap between the lips in parts of the mouth's width."""
    gap = np.linalg.norm(points[[82, 13, 312]] - points[[87, 14, 317]], axis=1).mean()
    return float(gap / max(float(np.linalg.norm(points[308] - points[78])), 1e-3))


def mouth_inside(points: Points, face_width: float, height: int, width: int) -> Mask:
    """255 between the lips, and a thin line more."""
    inside = fill(points[list(INNER_LIPS)], height, width)
    return np.asarray(cv2.dilate(inside, _disc(round(face_width * 0.012))), dtype=np.uint8)


def glasses_ends(
    points: Points, mask: Mask, target_skin: NDArray[np.float32], face_width: float
) -> Mask:
    """255 on what the mask would leave of the target's glasses: the ends of their front.

    Walks down the mask's edge beside each eye. Where the edge leaves skin and comes back to
    skin within a short way, at the same height on both sides, glasses cross it, and what is
    not skin beyond that place belongs to them. Hair is left alone: at the temples it has no
    skin above it, and a lock lies on one side only.
    """
    height, width = mask.shape
    across, down, middle = _eye_axes(points)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1) - middle
    beside, below = grid @ across / face_width, grid @ down / face_width
    reach = cv2.dilate(fill(points[list(OVAL)], height, width), _disc(round(face_width * 0.03)))
    inner = cv2.erode(mask, _disc(round(face_width * 0.03)))
    line = (inner > 0) & (cv2.erode(inner, _disc(1)) == 0)
    outside = (reach > 0) & (cv2.erode(inner, _disc(round(face_width * 0.04))) == 0)
    ends = np.zeros_like(mask)
    sides = [(beside * side > 0.2) & (np.abs(below) < BAND) for side in (-1, 1)]
    crossings = [_crossings(below[line & here], target_skin[line & here]) for here in sides]
    for here, (low, high) in _pairs(sides, crossings):
        piece = here & outside & (below > low - 0.03) & (below < high + 0.03)
        ends[_joined(piece & (target_skin < 0.5), line)] = 255
    return np.asarray(cv2.dilate(ends, _disc(round(face_width * 0.015))), dtype=np.uint8)


def _pairs(
    sides: list[NDArray[np.bool_]], crossings: list[list[tuple[float, float]]]
) -> Iterator[tuple[NDArray[np.bool_], tuple[float, float]]]:
    """Each side with those of its crossings that overlap one of the other side."""
    for here, own, others in zip(sides, crossings, reversed(crossings), strict=True):
        for low, high in own:
            if any(low < above and below < high for below, above in others):
                yield here, (low, high)


def _joined(piece: NDArray[np.bool_], line: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The parts of `piece` that hang together with a pixel of `line`."""
    labels = cv2.connectedComponents(piece.astype(np.uint8), connectivity=8)[1]
    touching = np.unique(labels[line & piece])
    return np.asarray(np.isin(labels, touching) & piece)


def _crossings(place: NDArray[np.float64], skin: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Stretches of no skin with skin at both ends, at most MAX_FRONT long."""
    bins = np.clip(((place + BAND) / (2 * BAND) * STEPS).astype(int), 0, STEPS - 1)
    seen = np.bincount(bins, minlength=STEPS)
    value = np.bincount(bins, weights=skin, minlength=STEPS)
    is_skin = (value >= 0.5 * seen) | (seen == 0)
    found, start = [], None
    for step in range(1, STEPS):
        if is_skin[step - 1] and not is_skin[step]:
            start = step
        elif is_skin[step] and start is not None:
            low, high = (2 * BAND * edge / STEPS - BAND for edge in (start, step))
            if high - low <= MAX_FRONT:
                found.append((low, high))
            start = None
    return found


def _eye_axes(points: Points) -> tuple[Points, Points, Points]:
    """The face's own directions, across and down, and the middle between the eyes."""
    across = points[454] - points[234]
    across = across / max(float(np.linalg.norm(across)), 1e-3)
    down = np.array([-across[1], across[0]], dtype=np.float32)
    return across, down, points[[33, 133, 362, 263]].mean(axis=0)


def skin_mask(points: Points, mask: Mask) -> Mask:
    """The part of `mask` that is usually bare skin: no eyes, brows or lips."""
    skin = mask.copy()
    height, width = mask.shape
    for part in (RIGHT_BROW, LEFT_BROW, RIGHT_EYE, LEFT_EYE, LIPS):
        hull = cv2.convexHull(points[list(part)]).reshape(-1, 2)
        skin[fill(np.asarray(hull, dtype=np.float32), height, width) > 0] = 0
    return skin


def feather(mask: Mask, radius: float) -> NDArray[np.float32]:
    """0 to 1: 0 outside the mask, rising to 1 over `radius` pixels from its edge inwards."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    ramp = np.clip(distance / max(radius, 1.0), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), dtype=np.float32)
