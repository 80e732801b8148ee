"""Giving the source's skin the target's light: mean and spread in LAB."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from face_fusion.geometry import Picture

GAIN_LOW, GAIN_HIGH = 0.6, 1.4
Lab = NDArray[np.float32]


def to_lab(picture: Picture) -> Lab:
    """L 0 to 100, a and b about -127 to 127."""
    scaled = picture.astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_BGR2Lab), dtype=np.float32)


def to_bgr(lab: Lab) -> Picture:
    """8-bit BGR; what lies outside its range is clipped."""
    bgr = cv2.cvtColor(lab, cv2.COLOR_Lab2BGR)
    return np.asarray(np.clip(np.rint(bgr * 255), 0, 255), dtype=np.uint8)


def skin_statistics(
    lab: Lab, where: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and spread (3 values each) of a face's skin, untouched by glasses or glints.

    Median and median absolute deviation find the skin; mean and deviation are taken of it.
    """
    values = lab[where]
    values = values[:: max(1, len(values) // 4096)]  # as many as the median needs
    if len(values) < 16:
        return np.zeros(3, np.float32), np.ones(3, np.float32)
    median = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - median), axis=0) + 1e-3
    skin = values[np.all(np.abs(values - median) < 3 * spread, axis=1)]
    if len(skin) < 16:
        return median.astype(np.float32), spread.astype(np.float32)
    return skin.mean(axis=0), skin.std(axis=0) + np.float32(1e-3)


def transfer(source: Lab, source_skin: NDArray[np.bool_], target: Lab,
             target_skin: NDArray[np.bool_]) -> Lab:  # fmt: skip
    """The source with the target's mean, and its spread as far as the gain of 0.6 to 1.4 goes."""
    mean_s, std_s = skin_statistics(source, source_skin)
    mean_t, std_t = skin_statistics(target, target_skin)
    gain = np.clip(std_t / std_s, GAIN_LOW, GAIN_HIGH).astype(np.float32)
    return np.asarray((source - mean_s) * gain + mean_t, dtype=np.float32)


def match_detail(face: Lab, target: Lab, skin: NDArray[np.bool_], face_width: float) -> Lab:
    """The face with its finest lightness detail as strong as on the target's skin.

    A small face made large is too smooth for its new place. The gain is clipped to 1 to 1.4, so
    that no wrinkles are copied and no noise is blown up.
    """
    fine = face[..., 0] - cv2.GaussianBlur(face[..., 0], (0, 0), face_width * 0.01)
    wanted = target[..., 0] - cv2.GaussianBlur(target[..., 0], (0, 0), face_width * 0.01)
    if not skin.any():
        return face
    has = float(np.median(np.abs(fine[skin]))) + 1e-3
    gain = float(np.clip(np.median(np.abs(wanted[skin])) / has, 1.0, 1.4))
    sharper = face.copy()
    sharper[..., 0] += np.float32(gain - 1) * fine
    return sharper
