"""The two photographs for trying the program, where other packages have brought them.

`astronaut.png` (NASA, public domain) comes with scikit-image, `grace_hopper.jpg` (US Navy,
public domain) with matplotlib. Neither package is imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from face_fusion.errors import PictureUnreadable


def _in_package(package: str, path: str) -> Path:
    found = importlib.util.find_spec(package)
    for place in (found.submodule_search_locations or []) if found else []:
        if (Path(place) / path).is_file():
            return Path(place) / path
    raise PictureUnreadable(
        f"The photograph {path} of the package {package} is not there.",
        "Install it with: pip install 'face-fusion[test]'",
    )


def astronaut() -> Path:
    """Eileen Collins, 512 x 512; raises PictureUnreadable if scikit-image is not installed."""
    return _in_package("skimage", "data/astronaut.png")


def grace_hopper() -> Path:
    """Grace Hopper, 512 x 600; raises PictureUnreadable if matplotlib is not installed."""
    return _in_package("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")
