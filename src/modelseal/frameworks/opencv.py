"""OpenCV's ``cv2.dnn`` networks over opened memory."""

from __future__ import annotations

from collections.abc import Mapping
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
