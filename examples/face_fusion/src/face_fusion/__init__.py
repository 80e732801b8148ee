"""Puts the face of one photograph into another, labelled SYNTHETIC."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from face_fusion.errors import FaceFusionError
    from face_fusion.labelling import label
    from face_fusion.models import Models
    from face_fusion.pipeline import Face, FaceFusion, Result

__all__ = ["Face", "FaceFusion", "FaceFusionError", "Models", "Result", "label"]
__version__ = "0.1.0"

_HOMES = {
    "Face": "pipeline",
    "FaceFusion": "pipeline",
    "FaceFusionError": "errors",
    "Models": "models",
    "Result": "pipeline",
    "label": "labelling",
}


def __getattr__(name: str) -> Any:
    # At first use: the prepare step runs where neither OpenCV nor onnxruntime is installed.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
