"""Small models with the inputs and outputs of those that a package would download."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def make(name: str, folder: Path) -> None:
    """The models of ``name`` in ``folder``."""
    {"insightface": _insightface, "pooch": _pooch}[name](folder)


def _pooch(folder: Path) -> None:
    weight = _weight("w", 1, 3, 3, 3)
    conv = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    made = folder / "custom.onnx"
    _save(
        [conv],
        [("x", [1, 3, 64, 64])],
        [("y", [1, 1, 64, 64])],
        [weight, _weight("more", 64, 64)],
        made,
    )
    (folder / "md5").write_text(hashlib.md5(made.read_bytes()).hexdigest())


def _insightface(folder: Path) -> None:
    toy = folder / "models" / "toy"
    _embedder(toy / "w600k.onnx", 112, 512, normalised=True)
    _embedder(toy / "genderage.onnx", 96, 3, normalised=False)
    _embedder(toy / "2d106det.onnx", 192, 212, normalised=False)
    _detector(toy / "det.onnx")
    _swapper(folder / "models" / "inswapper_128.onnx")
    package = folder / "pkg"
    _detector(package / "det.onnx")
    _embedder(package / "rec.onnx", 112, 512, normalised=True)
    told = {
        task: {"file": file, "sha256": hashlib.sha256((package / file).read_bytes()).hexdigest()}
        for task, file in (("detection", "det.onnx"), ("recognition", "rec.onnx"))
    }
    manifest = {"manifest_version": 2, "model_id": "pkg", "license": "MODEL.LICENSE", "tasks": told}
    (package / "manifest.json").write_text(json.dumps(manifest))
    (package / "MODEL.LICENSE").write_text("none")


def _embedder(path: Path, size: int, count: int, *, normalised: bool) -> None:
    step = size // 12
    nodes, weights, last = [], [], "x"
    if normalised:  # the names by which InsightFace knows that the graph does it itself
        nodes += [
            helper.make_node("Sub", ["x", "mean"], ["a"], name="Sub_0"),
            helper.make_node("Mul", ["a", "scale"], ["b"], name="Mul_1"),
        ]
        weights, last = [_weight("mean", 1), _weight("scale", 1)], "b"
    side = size // step
    nodes += [
        helper.make_node("Conv", [last, "w1"], ["c"], name="Conv_2", strides=[step, step]),
        helper.make_node("Flatten", ["c"], ["d"], name="Flatten_3"),
        helper.make_node("MatMul", ["d", "w2"], ["out"], name="MatMul_4"),
    ]
    weights += [_weight("w1", 4, 3, step, step), _weight("w2", 4 * side * side, count)]
    _save(nodes, [("x", [None, 3, size, size])], [("out", [None, count])], weights, path)


def _detector(path: Path) -> None:
    nodes, outputs, weights = [], [], []
    for step in (8, 16, 32):
        weights.append(_weight(f"p{step}", 1, 3, step, step))
        nodes.append(
            helper.make_node("Conv", ["x", f"p{step}"], [f"c{step}"], strides=[step, step])
        )
    for kind, width, end in (("score", 1, "Sigmoid"), ("bbox", 4, "Abs"), ("kps", 10, "Abs")):
        weights.append(numpy_helper.from_array(np.array([-1, width], np.int64), f"shape_{kind}"))
        for step in (8, 16, 32):
            at = f"{kind}{step}"
            weights.append(_weight(f"w_{at}", 2 * width, 1, 1, 1))
            nodes += [
                helper.make_node("Conv", [f"c{step}", f"w_{at}"], [f"a_{at}"]),
                helper.make_node("Transpose", [f"a_{at}"], [f"b_{at}"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"b_{at}", f"shape_{kind}"], [f"d_{at}"]),
                helper.make_node(end, [f"d_{at}"], [at]),
            ]
            outputs.append((at, [None, width]))
    _save(nodes, [("x", [1, 3, 640, 640])], outputs, weights, path)


def _swapper(path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["target", "w1"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("MatMul", ["source", "w2"], ["s"]),
        helper.make_node("Reshape", ["s", "shape"], ["t"]),
        helper.make_node("Add", ["c", "t"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["out"]),
    ]
    shape = numpy_helper.from_array(np.array([1, 3, 1, 1], np.int64), "shape")
    weights = [_weight("w1", 3, 3, 3, 3), _weight("w2", 512, 3), shape, _weight("emap", 512, 512)]
    inputs = [("target", [1, 3, 128, 128]), ("source", [1, 512])]
    _save(nodes, inputs, [("out", [1, 3, 128, 128])], weights, path)


def _weight(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(len(name) + sum(shape)).standard_normal(shape) * 0.05
    return numpy_helper.from_array(values.astype(np.float32), name)


def _save(nodes, inputs, outputs, weights, path: Path) -> None:
    def value(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes, "g", [value(*v) for v in inputs], [value(*v) for v in outputs], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
