"""Setting the new face into the picture without a seam.

Poisson blending takes the difference between old and new picture along the mask's edge and
spreads it inwards. Where that edge crosses glasses, hair or a glint, the difference there is
not one of light, and it would run into the face as a streak. So the edge is cleaned first:
only skin speaks for the light, and its word is carried on smoothly over the places between.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from face_fusion.colour import Lab, skin_statistics, to_bgr
from face_fusion.geometry import Picture
from face_fusion.mask import Mask

SKIN_LIMIT = 2.6  # spreads of the skin's colour; what lies farther out is not skin
SKIN_SPREAD = np.array([4, 3, 3], dtype=np.float32)
"""The least spread (L, a, b) that a face's skin is taken to have."""


def skin_weight(lab: Lab, skin: NDArray[np.bool_]) -> NDArray[np.float32]:
    """1 where a pixel has the colour of this face's skin, falling to 0 where it does not."""
    mean, std = skin_statistics(lab, skin)
    distance = np.abs(lab - mean) / np.maximum(std, SKIN_SPREAD)
    far = distance.max(axis=2)
    return np.asarray(np.clip(SKIN_LIMIT + 0.5 - far, 0, 1), dtype=np.float32)


def smooth_difference(difference: Lab, weight: NDArray[np.float32], face_width: float) -> Lab:
    """The difference of light, known where `weight` is, carried on smoothly to everywhere.

    Worked out at a face width of about 64 pixels: light on skin has no finer detail.
    """
    height, width = weight.shape
    size = (max(1, round(width * 64 / face_width)), max(1, round(height * 64 / face_width)))
    size = size if face_width > 64 else (width, height)
    known = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    heavy = cv2.resize(difference * weight[..., None], size, interpolation=cv2.INTER_AREA)
    total = float(known.sum())
    mean = heavy.sum(axis=(0, 1)) / total if total > 0 else np.zeros(3, dtype=np.float32)
    field = np.broadcast_to(mean, heavy.shape).astype(np.float32)
    sigma = 0.05 * size[0] * face_width / width
    for spread in (sigma * 4, sigma * 2, sigma):  # from coarse to fine, trusting what is near
        near = cv2.GaussianBlur(known, (0, 0), spread)[..., None]
        local = cv2.GaussianBlur(heavy, (0, 0), spread) / (near + 1e-6)
        trust = near / (near + 0.05)
        field = field * (1 - trust) + local * trust
    return np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR))


def blend(
    face: Lab,
    target: Lab,
    target_picture: Picture,
    mask: Mask,
    alpha: NDArray[np.float32],
    weight: NDArray[np.float32],
    face_width: float,
) -> Picture:
    """The target with the face set in.

    Arguments: the bent, colour-matched face; the target crop in LAB and BGR; where the face
    goes (mask, and alpha 0 to 1 within it); where both show skin; the face's width in pixels.
    """
    field = smooth_difference(target - face, weight, face_width)
    edge = to_bgr(face + field)
    x, y, width, height = cv2.boundingRect(mask)
    center = (x + width // 2, y + height // 2)
    cloned = cv2.seamlessClone(to_bgr(face), edge, mask, center, cv2.NORMAL_CLONE)
    mixed = target_picture + (cloned.astype(np.float32) - target_picture) * alpha[..., None]
    return np.asarray(np.clip(np.rint(mixed), 0, 255), dtype=np.uint8)
