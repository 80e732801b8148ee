"""The classes of OpenCV that take a model's path, not only ``cv2.dnn.readNet``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.apps.conftest import Run
from tests.runtime.shop import Shop

Ends = dict[str, list[int]]


def _model(nodes: list[onnx.NodeProto], inputs: Ends, outputs: Ends, weights: Ends) -> bytes:
    drawn = np.random.default_rng(7)
    ends = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in each.items()]
        for each in (inputs, outputs)
    ]
    held = [
        numpy_helper.from_array((drawn.standard_normal(shape) * 1e-4).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    graph = helper.make_graph(nodes, "g", *ends, held)
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def _flat(source: str, weight: str, out: str, step: int, shape: list[int]) -> list[onnx.NodeProto]:
    """A convolution whose places stand in rows of ``out``."""
    wanted = numpy_helper.from_array(np.array(shape, np.int64), f"s_{out}")
    return [
        helper.make_node("Conv", [source, weight], [f"a_{out}"], strides=[step, step]),
        helper.make_node("Transpose", [f"a_{out}"], [f"b_{out}"], perm=[0, 2, 3, 1]),
        helper.make_node("Constant", [], [f"s_{out}"], value=wanted),
        helper.make_node("Reshape", [f"b_{out}", f"s_{out}"], [f"c_{out}"]),
        helper.make_node("Sigmoid", [f"c_{out}"], [out]),
    ]


def _yunet() -> bytes:
    nodes, outputs, weights = [], {}, {}
    for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        for step in (8, 16, 32):
            name = f"{kind}_{step}"
            outputs[name] = [1, (64 // step) ** 2, width]
            weights[f"w_{name}"] = [width, 3, step, step]
            nodes += _flat("input", f"w_{name}", name, step, outputs[name])
    return _model(nodes, {"input": [1, 3, 64, 64]}, outputs, weights)


def _sface() -> bytes:
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["a"], strides=[16, 16]),
        helper.make_node("Flatten", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "v"], ["fc1"]),
    ]
    weights = {"w": [4, 3, 16, 16], "v": [196, 128]}
    return _model(nodes, {"data": [1, 3, 112, 112]}, {"fc1": [1, 128]}, weights)


def _vit() -> bytes:
    outputs = {"output1": [1, 1, 16, 16], "output2": [1, 2, 16, 16], "output3": [1, 2, 16, 16]}
    nodes = [
        helper.make_node("Conv", ["template", "t"], ["p"], strides=[8, 8]),
        helper.make_node("GlobalAveragePool", ["p"], ["q"]),
        helper.make_node("Conv", ["search", "s"], ["r"], strides=[16, 16]),
        helper.make_node("Mul", ["r", "q"], ["f"]),
    ]
    weights = {"t": [8, 3, 8, 8], "s": [8, 3, 16, 16]}
    for name, shape in outputs.items():
        weights[f"w_{name}"] = [shape[1], 8, 1, 1]
        nodes += [
            helper.make_node("Conv", ["f", f"w_{name}"], [f"a_{name}"]),
            helper.make_node("Sigmoid", [f"a_{name}"], [name]),
        ]
    inputs = {"template": [1, 3, 128, 128], "search": [1, 3, 256, 256]}
    return _model(nodes, inputs, outputs, weights)


MODELS = {"yunet.onnx": _yunet, "sface.onnx": _sface, "vit.onnx": _vit}


@pytest.fixture
def folders(tmp_path: Path, shop: Shop) -> tuple[Path, Path]:
    """The models, plain and sealed."""
    places = tmp_path / "plain", tmp_path / "sealed"
    for place in places:
        place.mkdir()
    for name, make in MODELS.items():
        (places[0] / name).write_bytes(make())
        (places[1] / name).write_bytes(shop.seal(name, make())[0].read_bytes())
    return places


def test_detectors_recognisers_models_and_trackers_of_sealed_files_give_the_same(
    folders: tuple[Path, Path], plain: Run, protected: Run
) -> None:
    expected = plain("cv2_ways.py", folders[0])
    assert expected.returncode == 0 and expected.stdout.count("faces") == 3, expected.stderr
    found = protected("cv2_ways.py", folders[1])
    assert (found.returncode, found.stdout) == (0, expected.stdout), found.stderr
    assert "modelseal" not in found.stderr


WAYS = """\
import cv2, sys
path = sys.argv[1]
parameters = cv2.TrackerVit_Params()
parameters.net = path
for make in (
    lambda: cv2.FaceDetectorYN.create(path, "", (64, 64)),
    lambda: cv2.FaceRecognizerSF_create(path, ""),
    lambda: cv2.dnn.DetectionModel(path),
    lambda: cv2.TrackerVit.create(parameters),
):
    try:
        print("made", make())
    except Exception as error:
        print(error.code)
"""


def test_without_the_entitlement_each_of_them_is_refused(
    tmp_path: Path, shop: Shop, protected: Run
) -> None:
    program = tmp_path / "app.py"
    program.write_text(WAYS)
    model = shop.seal("other.onnx", _yunet(), entitlement="face.restore")[0]
    found = protected(program, model)
    assert found.stdout == "not_entitled\n" * 4 and "face.restore" in found.stderr
