"""``modelseal.opencv``: the networks of ``cv2.dnn`` for sealed models.

    net = modelseal.opencv.readNetFromONNX("swap.onnx")

``readNet``, ``readNetFromONNX``, ``readNetFromTFLite`` and ``readNetFromTensorflow`` give the
``cv2.dnn.Net`` of a sealed file: weights first, then the configuration, which is found by itself
where it is in the same sealed model or sealed beside it. ``allow_plain`` lets a plain file pass.
Raises, beside what OpenCV raises: ``InputMissing``, ``NotSealed``, the refusals of the license,
``ContainerDamaged`` and its kin, ``ExtraMissing`` without OpenCV.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    from modelseal.frameworks.opencv import READERS, runtime

    if name not in READERS or not hasattr(runtime(), name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from modelseal.runtime.opencv import reader

    found = globals()[name] = reader(name)
    return found
