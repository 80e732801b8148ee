"""The prepared models, the two photographs, and the judge of faces."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import pytest

from face_fusion import FaceFusion, FaceFusionError, Models, samples
from face_fusion.cache import default_models_dir
from face_fusion.geometry import Picture
from face_fusion.prepare import packages, prepare

INSTALL = "install the judges with: pip install -r examples/face_fusion/test.txt"


def _missing(what: str) -> NoReturn:
    """Skips the test, with the one command to type; fails it where nothing may be skipped."""
    if os.environ.get("MODELSEAL_ALLOW_NO_SKIP"):
        pytest.fail(f"{what} is missing; {INSTALL}")
    pytest.skip(f"{what} is missing; {INSTALL}")


def needs(package: str) -> None:
    """Skips the test where `package` is not installed."""
    if importlib.util.find_spec(package) is None:
        _missing(package)


@pytest.fixture(scope="session")
def models_dir() -> Path:
    folder = Path(os.environ.get("FACE_FUSION_MODELS") or default_models_dir())
    prepare(folder)
    return folder


@pytest.fixture(scope="session")
def shipped(models_dir: Path) -> Path:
    """The models as they are shipped, for comparing; kept beside the prepared ones."""
    folder = models_dir.parent / "shipped-models"
    if not folder.is_dir():
        work = Path(tempfile.mkdtemp(dir=models_dir.parent))
        try:
            made = packages.download_models(packages.python_with_pip(work), work)
            made.rename(folder)
        finally:
            shutil.rmtree(work)
    return folder


@pytest.fixture(scope="session")
def fusion(models_dir: Path) -> FaceFusion:
    return FaceFusion(Models(models_dir))


def _photograph(find: Callable[[], Path]) -> Path:
    try:
        return find()
    except FaceFusionError:
        _missing("a photograph")


@pytest.fixture(scope="session")
def astronaut_file() -> Path:
    return _photograph(samples.astronaut)


@pytest.fixture(scope="session")
def hopper_file() -> Path:
    return _photograph(samples.grace_hopper)


@pytest.fixture(scope="session")
def astronaut(astronaut_file: Path) -> Picture:
    return np.asarray(cv2.imread(str(astronaut_file)), dtype=np.uint8)


@pytest.fixture(scope="session")
def hopper(hopper_file: Path) -> Picture:
    return np.asarray(cv2.imread(str(hopper_file)), dtype=np.uint8)


Embed = Callable[[Picture], np.ndarray]


@pytest.fixture(scope="session")
def embed() -> Embed:
    """dlib's face embedding: 128 numbers; two pictures of one person lie within 0.6."""
    needs("dlib")
    needs("face_recognition_models")
    import dlib

    found = importlib.util.find_spec("face_recognition_models")
    assert found is not None
    assert found.submodule_search_locations is not None
    folder = Path(found.submodule_search_locations[0]) / "models"
    shape = dlib.shape_predictor(str(folder / "shape_predictor_68_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(
        str(folder / "dlib_face_recognition_resnet_model_v1.dat")
    )
    detector = dlib.get_frontal_face_detector()

    def embedding(picture: Picture) -> np.ndarray:
        rgb = np.ascontiguousarray(picture[:, :, ::-1])
        face = max(detector(rgb, 1), key=lambda box: box.area())
        return np.array(network.compute_face_descriptor(rgb, shape(rgb, face)))

    return embedding
