from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from demo.world import ROOT
from face_fusion import models
from face_fusion.prepare import prepare

MODELS = ROOT / ".cache" / "face-fusion" / "models"


@pytest.fixture(scope="session")
def prepared() -> Path:
    """The models as the prepare step leaves them."""
    prepare(MODELS)
    return MODELS


@pytest.fixture(scope="session")
def small(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with the fast restoration model also in the place of the best, which is large."""
    folder = tmp_path_factory.mktemp("models")
    for name in models.ALL:
        taken = models.RESTORE["fast"] if name == models.RESTORE["best"] else name
        shutil.copyfile(prepared / taken, folder / name)
    return folder


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """An empty folder for temporary files."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(scratch: Path) -> dict[str, str]:
    """What the demo is run with: its temporary files go to ``scratch``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MODELSEAL_")}
    return env | {"TMPDIR": str(scratch), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
