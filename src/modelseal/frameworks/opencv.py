"""OpenCV's ``cv2.dnn`` networks over opened memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelseal.errors import ExtraMissing, Misuse

READERS = {
    "readNetFromONNX": "onnx",
    "readNetFromTFLite": "tflite",
    "readNetFromTensorflow": "tensorflow",
    "readNet": "",
}
"""Readers that take a buffer instead of a path -> the format they read."""

ENDINGS = {"onnx": (".onnx",), "tflite": (".tflite",), "tensorflow": (".pb",)}
CONFIGS = {"tensorflow": ".pbtxt"}
FACES = ("FaceDetectorYN", "FaceRecognizerSF")
"""Classes of ``cv2`` whose ``create`` takes the path of a model and of its configuration, else a
format and the bytes of both."""
MODELS = (
    "Model", "ClassificationModel", "DetectionModel", "KeypointsModel", "SegmentationModel",
    "TextDetectionModel_DB", "TextDetectionModel_EAST", "TextRecognitionModel",
)  # fmt: skip
"""Classes of ``cv2.dnn`` that are made of a path, else of a network."""
TRACKERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "TrackerVit": (("net",), ("meanvalue", "stdvalue", "tracking_score_threshold")),
    "TrackerNano": (("backbone", "neckhead"), ()),
    "TrackerDaSiamRPN": (("model", "kernel_cls1", "kernel_r1"), ()),
}
"""Trackers of ``cv2`` -> of their parameters, the paths of models, which may be networks, too, and
what is said beside networks."""


def runtime() -> Any:
    """The module ``cv2.dnn``; ``ExtraMissing`` when OpenCV is not installed."""
    try:
        import cv2
    except ImportError:
        raise ExtraMissing("opencv is not installed", extra="opencv") from None
    return cv2.dnn


def format_of(reader: str, name: str, said: str = "") -> str:
    """The format of the file ``name`` for ``reader``; ``Misuse`` for one it does not know."""
    known = READERS[reader] or said.lower()
    if known:
        return known
    for form, endings in ENDINGS.items():
        if name.lower().endswith(endings):
            return form
    raise Misuse("OpenCV reads no model of this ending from memory", path=name)


def read(
    plain: Any, form: str, model: memoryview, config: memoryview | None, options: Mapping[str, Any]
) -> Any:
    """The ``cv2.dnn.Net`` that ``plain`` (the plain ``readNet``) makes; OpenCV has its own copy."""
    import numpy as np

    buffers = [np.frombuffer(each, np.uint8) for each in (model, config) if each is not None]
    return plain(form, *buffers, **options)


def create(
    plain: Any, form: str, model: memoryview, args: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    """What ``plain`` (``create`` of one of ``FACES``) makes; OpenCV has its own copy."""
    import numpy as np

    buffers = np.frombuffer(model, np.uint8), np.zeros(0, np.uint8)
    return plain(form, *buffers, *args, **options)
