"""Regions, triangles, shapes and masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from face_fusion import blend, colour, detect, mask, shape, warp
from face_fusion.geometry import Region, apply_affine, sample

seeds = st.integers(0, 2**32 - 1)


def _points(seed, count=60, side=120):
    return np.random.default_rng(seed).uniform(5, side - 5, (count, 2)).astype(np.float32)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_the_triangles_cover_the_convex_hull(seed):
    """Every pixel inside the hull has a triangle, and one that really holds it."""
    points = _points(seed)
    triangles = warp.triangulate(points)
    labels = warp.label_map(points, triangles, 120, 120)
    hull = np.zeros((120, 120), dtype=np.uint8)
    outline = cv2.convexHull(points).reshape(-1, 2)
    cv2.fillConvexPoly(hull, np.round(outline * 16).astype(np.int32), 255, shift=4)
    inside = cv2.erode(hull, np.ones((5, 5), dtype=np.uint8)) > 0
    assert (labels[inside] >= 0).all()
    for y, x in np.argwhere(inside)[::97]:
        corners = points[triangles[labels[y, x]]]
        assert cv2.pointPolygonTest(corners, (float(x), float(y)), True) > -1.5


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_triangulation_is_delaunay(seed):
    """No point lies inside the circle round any triangle."""
    points = _points(seed, 25).astype(np.float64)
    for triangle in warp.triangulate(points.astype(np.float32)):
        a, b, c = points[triangle]
        matrix = 2 * np.array([b - a, c - a])
        center = np.linalg.solve(matrix, np.array([b @ b - a @ a, c @ c - a @ a]))
        radius = np.linalg.norm(a - center)
        assert (np.linalg.norm(points - center, axis=1) > radius * (1 - 1e-3) - 1e-2).all()


def test_points_given_twice_do_no_harm():
    """Coinciding points and points on a line are triangulated without a crash."""
    points = np.array([[10, 10], [10, 10], [20, 10], [30, 10], [20, 30]], dtype=np.float32)
    labels = warp.label_map(points, warp.triangulate(points), 40, 40)
    assert labels[15, 20] >= 0


def test_bending_a_face_onto_itself_changes_nothing(fusion, hopper):
    """With equal points source and result are equal inside the face."""
    points = fusion.find_face(hopper).mesh.points
    bent, covered = warp.warp_face(hopper, points, points, *hopper.shape[:2])
    assert covered.sum() > 10_000
    assert np.abs(bent.astype(int) - hopper)[covered].max() <= 1


def test_the_label_map_covers_the_face(fusion, hopper):
    """No pixel of the face's mask is without a triangle."""
    face = fusion.find_face(hopper).mesh
    height, width = hopper.shape[:2]
    labels = warp.label_map(face.points, warp.triangulate(face.points), height, width)
    area = mask.face_mask(face.points, face.width, height, width)
    assert (area > 0).sum() > 5_000
    assert (labels[area > 0] >= 0).all()


def test_the_mask_stays_within_the_face_and_below_the_hairline(fusion, astronaut):
    """It lies inside the oval, and lower than the oval's top by a tenth of the face's width."""
    face = fusion.find_face(astronaut).mesh
    height, width = astronaut.shape[:2]
    oval = mask.fill(face.points[list(mask.OVAL)], height, width)
    area = mask.face_mask(face.points, face.width, height, width)
    assert not area[oval == 0].any()
    top = np.argwhere(area)[:, 0].min()
    assert top > np.argwhere(oval)[:, 0].min() + 0.1 * face.width


def test_hair_is_not_taken_for_glasses(fusion, astronaut):
    """A face without glasses has nothing to remove."""
    face = fusion.find_face(astronaut).mesh
    height, width = astronaut.shape[:2]
    area = mask.face_mask(face.points, face.width, height, width)
    skin = blend.skin_weight(colour.to_lab(astronaut), mask.skin_mask(face.points, area) > 0)
    assert not mask.glasses_ends(face.points, area, skin, face.width).any()


def test_glasses_are_found_where_the_mask_cuts_them(fusion, hopper):
    """Both ends of the frame, and not much else."""
    face = fusion.find_face(hopper).mesh
    height, width = hopper.shape[:2]
    area = mask.face_mask(face.points, face.width, height, width)
    skin = blend.skin_weight(colour.to_lab(hopper), mask.skin_mask(face.points, area) > 0)
    ends = mask.glasses_ends(face.points, area, skin, face.width)
    columns = np.argwhere(ends)[:, 1]
    middle = face.points[:, 0].mean()
    assert (columns < middle).any()
    assert (columns > middle).any()
    assert (ends > 0).sum() < 0.1 * (area > 0).sum()


@given(seeds)
@settings(max_examples=30)
def test_the_feather_is_nought_outside_and_one_deep_inside(seed):
    """It never falls towards the middle of a disc and keeps between 0 and 1."""
    radius = int(np.random.default_rng(seed).integers(8, 40))
    area = np.zeros((100, 100), dtype=np.uint8)
    cv2.circle(area, (50, 50), radius, 255, -1)
    alpha = mask.feather(area, radius / 3)
    assert alpha.min() == 0
    assert alpha.max() == pytest.approx(1)
    assert not alpha[area == 0].any()
    assert (np.diff(alpha[50, :51]) >= -1e-6).all()


@given(seeds)
@settings(max_examples=50)
def test_aligning_undoes_any_turn_move_and_size(seed):
    """A shape moved, turned and scaled in space is brought back onto itself."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(30, 3)).astype(np.float32) * 50
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    moved = points @ turn.T * rng.uniform(0.2, 5) + rng.normal(size=3) * 100
    assert np.allclose(shape.align(moved.astype(np.float32), points), points, atol=0.05)


def test_the_outline_and_the_mouth_stay_where_the_target_has_them(fusion, astronaut, hopper):
    """Only the features between follow the source."""
    source, target = fusion.find_face(astronaut).mesh, fusion.find_face(hopper).mesh
    fused = shape.fused_points(source, target)
    bound = [*mask.OVAL, *mask.LIPS]
    assert np.allclose(fused[bound], target.points[bound], atol=1e-3)
    assert np.abs(fused - target.points).max() > 2


@given(st.floats(10, 90), st.floats(10, 90), st.floats(8, 150), st.floats(-3.1, 3.1), seeds)
@settings(max_examples=40, deadline=None)
def test_a_region_samples_where_its_matrix_points(x, y, side, angle, seed):
    """The sample's pixel and the picture's point it stands for have the same colour."""
    ys, xs = np.mgrid[0:100, 0:100]
    picture = np.stack([xs * 2, ys * 2, (xs + ys)], axis=-1).astype(np.uint8)
    region = Region(x, y, side, angle)
    taken = sample(picture, region, 64)
    spots = np.random.default_rng(seed).integers(2, 62, (20, 2))
    for (u, v), (px, py) in zip(spots, apply_affine(region.to_picture(64), spots), strict=True):
        if 3 < px < 96 and 3 < py < 96:
            assert np.abs(taken[v, u] - np.array([px * 2, py * 2, px + py])).max() < 4


def test_there_are_896_anchors_inside_the_input():
    """Two of 16 x 16 and six of 8 x 8, all between 0 and 1."""
    found = detect.anchors()
    assert found.shape == (896, 2)
    assert (found > 0).all()
    assert (found < 1).all()
    assert len(np.unique(found, axis=0)) == 16 * 16 + 8 * 8


@given(seeds)
@settings(max_examples=40)
def test_suppression_leaves_faces_that_do_not_overlap(seed):
    """Clusters of boxes become one box each, with the best score of the cluster."""
    rng = np.random.default_rng(seed)
    centers = np.array([[0.2, 0.2], [0.8, 0.2], [0.5, 0.8]])
    which = np.concatenate([np.arange(3), rng.integers(0, 3, 12)])
    middle = centers[which] + rng.normal(scale=0.005, size=(15, 2))
    points = np.repeat(middle[:, None], 8, axis=1)
    points[:, 0] -= 0.1
    points[:, 1] += 0.1
    scores = rng.uniform(0.6, 1, 15).astype(np.float32)
    found = detect.suppress(points.astype(np.float32), scores)
    assert len(found) == 3
    best = sorted(float(scores[which == index].max()) for index in range(3))
    assert sorted(score for _, score in found) == pytest.approx(best)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_picture_on_its_side_shows_its_face(fusion, hopper, turns):
    """Turned by quarters, the mesh lies on the same spots."""
    upright = fusion.find_face(hopper).mesh.points[1]
    height, width = hopper.shape[:2]
    x, y = fusion.find_face(np.ascontiguousarray(np.rot90(hopper, turns))).mesh.points[1]
    back = {0: (x, y), 1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y),
            3: (y, height - 1 - x)}[turns]  # fmt: skip
    assert np.linalg.norm(np.array(back) - upright) < 6


def test_small_faces_and_faces_that_fill_the_picture_are_found(fusion, hopper):
    """A face of 60 pixels in a picture of 1600, and one cut close."""
    wide = np.full((1200, 1600, 3), 128, dtype=np.uint8)
    wide[700:900, 1200:1371] = cv2.resize(hopper, (171, 200), interpolation=cv2.INTER_AREA)
    assert 1200 < fusion.find_face(wide).mesh.points[1][0] < 1371
    close = hopper[130:345, 155:370]
    assert fusion.find_face(np.ascontiguousarray(close)).mesh.width > 150


@given(seeds)
@settings(max_examples=25)
def test_colour_transfer_gives_the_targets_mean(seed):
    """Within the skin, mean equals mean, and the gain keeps to its limits."""
    rng = np.random.default_rng(seed)
    where = np.ones((20, 20), dtype=bool)
    source = rng.normal([60, 10, 15], rng.uniform(1, 9, 3), (20, 20, 3)).astype(np.float32)
    target = rng.normal([40, 20, 5], rng.uniform(1, 9, 3), (20, 20, 3)).astype(np.float32)
    moved = colour.transfer(source, where, target, where)
    wanted = colour.skin_statistics(target, where)[0]
    assert np.abs(moved.mean(axis=(0, 1)) - wanted).max() < 3
    gain = moved.std(axis=(0, 1)) / source.std(axis=(0, 1))
    assert (gain > 0.59).all()
    assert (gain < 1.41).all()
