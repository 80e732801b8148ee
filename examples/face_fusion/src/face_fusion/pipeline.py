"""The program as functions: find faces, swap one, restore a picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np

from face_fusion import blend, colour, mask, models, restore, shape, warp
from face_fusion.detect import detect
from face_fusion.errors import NoFaceFound
from face_fusion.geometry import Picture, Points
from face_fusion.mesh import Mesh, find_mesh

MOUTH_OPEN = 0.06
"""Gap between the lips, in parts of the mouth's width, from which teeth may be seen."""


@dataclass(frozen=True)
class Face:
    """A picture and the mesh of its largest face."""

    picture: Picture
    mesh: Mesh


@dataclass(frozen=True)
class Result:
    """A picture without its label, and seconds of wall-clock time per step."""

    image: Picture
    timings: dict[str, float] = field(default_factory=dict)


class FaceFusion:
    """Swaps and restores with the models of one folder.

    Models are opened at their first use: `swap` needs the detector and the mesh, `restore`
    the restoration model of its name. Same input, same models, same number of threads: same
    output, bit for bit.
    """

    def __init__(self, source_of_models: models.Models) -> None:
        self._models = source_of_models

    def find_face(self, picture: Picture, what: str = "the picture") -> Face:
        """The largest face of a picture; raises NoFaceFound, naming `what`."""
        for face in detect(self._models.session(models.DETECTOR), picture):
            mesh = find_mesh(self._models.session(models.MESH), picture, face.region)
            if mesh is not None:
                return Face(picture, mesh)
        raise NoFaceFound(
            f"No face was found in {what}.",
            "Take a picture in which a face is seen from the front, at least 40 pixels wide.",
        )

    def swap(
        self, source: Picture | Face, target: Picture, what: str = "the target picture"
    ) -> Result:
        """The target with the face of the source; raises NoFaceFound, naming the target `what`.

        A `Face` from `find_face` saves looking for the source's face again, frame by frame.
        """
        timings: dict[str, float] = {}
        if not isinstance(source, Face):
            source = self.find_face(source, "the source picture")
        with _timed(timings, "find"):
            face = self.find_face(target, what)
        return Result(_swap(source, face, timings), timings)

    def restore(
        self,
        picture: Picture,
        model: str = "fast",
        on_progress: Callable[[float], None] | None = None,
    ) -> Result:
        """The picture at exactly four times its width and height.

        `model` is "fast" or "best"; `on_progress` hears the part done, 0 to 1.
        """
        timings: dict[str, float] = {}
        session = self._models.session(models.RESTORE[model])
        with _timed(timings, "restore"):
            image = restore.restore(session, picture, model, on_progress)
        return Result(image, timings)

    def open_models(self, restore_model: str | None = None) -> dict[str, float]:
        """Opens what `swap` needs, and one restoration model; seconds per model file."""
        names = [models.DETECTOR, models.MESH]
        if restore_model is not None:
            names.append(models.RESTORE[restore_model])
        timings: dict[str, float] = {}
        for name in names:
            with _timed(timings, name):
                self._models.session(name)
        return timings


def _crop(points: Points, picture: Picture) -> tuple[slice, slice]:
    """Rows and columns round the face, with a quarter of its size as margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = (high - low).max() * 0.25
    height, width = picture.shape[:2]
    x0, y0 = np.clip(np.floor(low - margin).astype(int), 0, [width, height])
    x1, y1 = np.clip(np.ceil(high + margin).astype(int) + 1, 0, [width, height])
    return slice(int(y0), int(y1)), slice(int(x0), int(x1))


def _swap(source: Face, target: Face, timings: dict[str, float]) -> Picture:
    rows, columns = _crop(target.mesh.points, target.picture)
    crop = target.picture[rows, columns]
    height, width = crop.shape[:2]
    offset = np.array([columns.start, rows.start], dtype=np.float32)
    points = target.mesh.points - offset
    face_width = target.mesh.width
    with _timed(timings, "warp"):
        fitted = warp.fit_resolution(
            source.picture, source.mesh.points, face_width, source.mesh.width
        )
        fused = shape.fused_points(source.mesh, target.mesh) - offset
        bent, covered = warp.warp_face(*fitted, fused, height, width)
    with _timed(timings, "colour"):
        area = mask.face_mask(points, face_width, height, width)
        area[~covered] = 0
        skin = mask.skin_mask(points, area) > 0
        target_lab, bent_lab = colour.to_lab(crop), colour.to_lab(bent)
        matched = colour.transfer(bent_lab, skin, target_lab, skin)
        matched = colour.match_detail(matched, target_lab, skin, face_width)
        target_skin = blend.skin_weight(target_lab, skin)
        source_skin = blend.skin_weight(matched, skin)
        source_skin[~covered] = 0
    with _timed(timings, "mask"):
        ends = mask.glasses_ends(points, area, target_skin, face_width)
        area = mask.without_hair(points, area, source_skin, face_width)
        alpha = mask.feather(area, face_width * 0.045)
        if min(mask.mouth_opening(points), mask.mouth_opening(source.mesh.points)) < MOUTH_OPEN:
            inside = mask.mouth_inside(points, face_width, height, width)
            alpha *= 1 - cv2.GaussianBlur(inside, (0, 0), face_width * 0.008) / np.float32(255)
    with _timed(timings, "blend"):
        if ends.any():
            crop = np.asarray(cv2.inpaint(crop, ends, 3, cv2.INPAINT_TELEA), dtype=np.uint8)
        mixed = blend.blend(
            matched, target_lab, crop, area, alpha, source_skin * target_skin, face_width
        )
    image = target.picture.copy()
    image[rows, columns] = mixed
    return image


@contextmanager
def _timed(timings: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[step] = timings.get(step, 0.0) + time.perf_counter() - start
