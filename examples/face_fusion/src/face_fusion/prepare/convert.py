"""Turns a folder of model files as shipped into the ONNX files the program loads.

Runs as a process of its own (`python -m face_fusion.prepare.convert FROM TO`), in whichever
environment has the converters.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from face_fusion import models
from face_fusion.prepare.ncnn_to_onnx import convert

TFLITE = {
    models.DETECTOR: "face_detection_back.tflite",
    models.MESH: "face_landmark.tflite",
}
NCNN = {
    models.RESTORE["fast"]: "realesr-animevideov3-x4",
    models.RESTORE["best"]: "realesrgan-x4plus",
}


def in_order(model: Any) -> Any:
    """The same ONNX model with its parts in an order that only their names decide.

    tflite2onnx walks sets of objects, so that its order changes from run to run. Nodes come
    after those they read from, the others by the name of their first output.
    """
    graph = model.graph
    for part in (graph.initializer, graph.value_info):
        ordered = sorted(part, key=lambda item: item.name)
        del part[:]
        part.extend(ordered)
    known = {item.name for item in (*graph.input, *graph.initializer)} | {""}
    waiting = sorted(graph.node, key=lambda node: node.output[0])
    del graph.node[:]
    while waiting:
        node = next(node for node in waiting if known.issuperset(node.input))
        waiting.remove(node)
        known.update(node.output)
        graph.node.append(node)
    return model


def convert_all(shipped: Path, output: Path) -> None:
    """Writes all four ONNX files into `output`."""
    import onnx
    import tflite2onnx

    logging.getLogger("tflite2onnx").setLevel(logging.ERROR)
    for name, stem in TFLITE.items():
        tflite2onnx.convert(str(shipped / stem), str(output / name))
        model = in_order(onnx.load(str(output / name)))
        onnx.checker.check_model(model)
        (output / name).write_bytes(model.SerializeToString(deterministic=True))
    for name, stem in NCNN.items():
        param = (shipped / f"{stem}.param").read_text(encoding="utf-8")
        (output / name).write_bytes(convert(param, (shipped / f"{stem}.bin").read_bytes()))


if __name__ == "__main__":
    convert_all(Path(sys.argv[1]), Path(sys.argv[2]))
