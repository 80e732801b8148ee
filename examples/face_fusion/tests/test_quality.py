"""What the pictures must be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from face_fusion import Face, FaceFusion, Models, blend, colour, mask
from face_fusion.pipeline import _crop

CLOSE, FAR = 0.40, 0.60


def _distance(embed, one, other):
    return float(np.linalg.norm(embed(one) - embed(other)))


@pytest.fixture(scope="module")
def both(fusion, astronaut, hopper):
    """(source, target, swapped) in both directions."""
    return {
        "astronaut onto hopper": (astronaut, hopper, fusion.swap(astronaut, hopper).image),
        "hopper onto astronaut": (hopper, astronaut, fusion.swap(hopper, astronaut).image),
    }


def test_the_judge_tells_the_two_people_apart(embed, astronaut, hopper):
    """Without a swap the photographs are of two people."""
    assert _distance(embed, astronaut, hopper) > FAR


@pytest.mark.parametrize("way", ["astronaut onto hopper", "hopper onto astronaut"])
def test_the_swapped_face_is_the_source_and_no_longer_the_target(embed, both, way):
    """At most 0.40 from the source, at least 0.60 from the target, in both directions."""
    source, target, swapped = both[way]
    assert _distance(embed, swapped, source) <= CLOSE
    assert _distance(embed, swapped, target) >= FAR


@pytest.mark.parametrize(("size", "turn"), [(0.6, 0), (1.7, 0), (1.0, 12), (1.0, -15)])
def test_a_resized_or_tilted_target_is_swapped_as_well(
    embed, fusion, astronaut, hopper, size, turn
):
    """The bar holds for the target at other sizes, and nearly for a tilted head."""
    height, width = hopper.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, size)
    matrix[:, 2] += np.array([width, height]) * (size - 1) / 2
    whole = (round(width * size), round(height * size))
    target = cv2.warpAffine(hopper, matrix, whole, borderMode=cv2.BORDER_REPLICATE)
    swapped = fusion.swap(astronaut, target).image
    assert swapped.shape == target.shape
    assert _distance(embed, swapped, astronaut) <= (CLOSE if turn == 0 else 0.45)


def test_nothing_changes_outside_the_face(fusion, both):
    """Pixels away from the face are the target's own, bit for bit."""
    for _, target, swapped in both.values():
        points = fusion.find_face(target).mesh.points
        rows, columns = _crop(points, target)
        outside = np.ones(target.shape[:2], dtype=bool)
        outside[rows, columns] = False
        assert outside.any()
        assert np.array_equal(swapped[outside], target[outside])
        assert not np.array_equal(swapped, target)


def test_the_same_input_gives_the_same_pixels(both, models_dir, astronaut, hopper):
    """A second run, with models opened anew and the source's face found before, changes no bit."""
    again = FaceFusion(Models(models_dir))
    face = again.find_face(astronaut)
    assert isinstance(face, Face)
    assert np.array_equal(again.swap(face, hopper).image, both["astronaut onto hopper"][2])


def _strange(picture, points, face_width):
    """Part of the face's edge beside the eyes that has no skin's colour."""
    height, width = picture.shape[:2]
    area = mask.face_mask(points, face_width, height, width)
    lab = colour.to_lab(picture)
    skin = mask.skin_mask(points, area) > 0
    across, down, middle = mask._eye_axes(points)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1) - middle
    beside = np.abs(grid @ across / face_width)
    below = grid @ down / face_width
    place = (beside > 0.38) & (beside < 0.5) & (np.abs(below) < 0.15)
    weight = blend.skin_weight(lab, skin)
    return float((weight[place & (area > 0)] < 0.5).mean())


def test_glasses_of_the_target_leave_no_streak(fusion, both):
    """Where the mask crosses the frame, what shows is skin, unlike with plain cloning."""
    _, target, swapped = both["astronaut onto hopper"]
    found = fusion.find_face(target)
    points, width = found.mesh.points, found.mesh.width
    before, after = _strange(target, points, width), _strange(swapped, points, width)
    assert before > 0.15  # the glasses are there
    assert after < before / 3


def test_the_mouth_keeps_the_targets_expression(fusion, both):
    """A closed mouth stays closed and shows no teeth of the source; a smile stays a smile."""
    for _, target, swapped in both.values():
        was = mask.mouth_opening(fusion.find_face(target).mesh.points)
        now = mask.mouth_opening(fusion.find_face(swapped).mesh.points)
        assert (now > 0.06) == (was > 0.06)


def test_restored_pictures_are_four_times_as_large(fusion, hopper):
    """Exactly, also where the tiles do not divide the picture, and the content stays."""
    picture = hopper[100:321, 150:347]
    heard = []
    restored = fusion.restore(picture, "fast", heard.append).image
    assert restored.shape == (4 * 221, 4 * 197, 3)
    assert heard == sorted(heard)
    assert heard[-1] == 1
    small = cv2.resize(restored, (197, 221), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - picture).mean() < 6
    assert np.abs(small[:, :, ::-1].astype(int) - picture).mean() > 20  # channels in order


def test_tiles_of_the_fast_model_join_without_a_seam(fusion, hopper, monkeypatch):
    """In tiles or in one piece: the same pixels, to one grey level of rounding."""
    from face_fusion import restore

    picture = hopper[150:250, 200:300]
    whole = fusion.restore(picture).image
    monkeypatch.setattr(restore, "TILE", 37)
    tiled = fusion.restore(picture).image
    assert np.abs(tiled.astype(int) - whole).max() <= 1
