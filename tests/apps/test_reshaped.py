"""Programs that load a model, give its ends other shapes, and make their session of that."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.apps.conftest import Run
from tests.apps.test_observe import observe
from tests.runtime.shop import Shop

from modelseal.errors import EgressRefused
from modelseal.frameworks.onnx.part import Selection, mark_of, part, reshaped

RECIPE = """\
typ = "modelseal-app-recipe"
version = 1
name = "reshaping"
title = "A program of the tests"

[[reader]]
module = "__main__"
files = ["models/*.onnx"]
session = true
"""
RESHAPES = """\
import hashlib, sys, numpy as np, onnx, onnxruntime
path = sys.argv[1]
onnxruntime.set_default_logger_severity(4)

class Detector:
    def __init__(self, sizes):
        model = onnx.load(path)
        for value in (*model.graph.input, *model.graph.output):
            for place, name in zip((-1, -2), sizes):
                value.type.tensor_type.shape.dim[place].dim_param = name + value.name
        onnx.checker.check_model(model)
        self.session = onnxruntime.InferenceSession(model.SerializeToString())

    def run(self, side):
        drawn = np.linspace(0, 1, 3 * side * side, dtype=np.float32).reshape(1, 3, side, side)
        feeds = {each.name: drawn for each in self.session.get_inputs()}
        return hashlib.sha256(b"".join(each.tobytes() for each in self.session.run(None, feeds)))

for sizes in (("H", "W"), ("a", "b")):
    detector = Detector(sizes)
    ends = detector.session.get_inputs() + detector.session.get_outputs()
    print([(each.name, each.shape) for each in ends], detector.session.get_modelmeta().graph_name)
    for side in (32, 64, 96):
        print(side, detector.run(side).hexdigest())
"""
EDITS = """\
import sys, onnx, onnxruntime
def renamed(model): model.graph.output[0].name = "other"
def fewer(model): del model.graph.output[:]
def more(model): model.graph.output.append(model.graph.input[0])
def another(model): model.graph.node.add(op_type="Relu", input=["x"], output=["y"])
def weight(model): model.graph.initializer.add(name="w")
def told(model): model.metadata_props.add(key="a", value="b")
def older(model): model.opset_import[0].version = 9
def unmarked(model): model.metadata_props[0].value = "0" * 32
for edit in (renamed, fewer, more, another, weight, told, older, unmarked):
    model = onnx.load(sys.argv[1])
    (node,) = model.graph.node
    assert (node.domain, node.op_type) == ("modelseal", "Sealed") and not node.attribute
    assert not model.graph.initializer
    edit(model)
    try:
        onnxruntime.InferenceSession(model.SerializeToString())
        print(edit.__name__, "made")
    except Exception as error:
        print(edit.__name__, type(error).__name__)
"""


@pytest.fixture
def app(tmp_path: Path, shop: Shop) -> tuple[Path, Path]:
    """The program with a plain and with a sealed model, each in a folder of its own."""
    folders = tmp_path / "plain", tmp_path / "sealed"
    for folder in folders:
        (folder / "models").mkdir(parents=True)
        (folder / "app.py").write_text(RESHAPES)
    data = _free_of_a_size()
    (folders[0] / "models" / "m.onnx").write_bytes(data)
    sealed = shop.seal("m.onnx", data)[0].read_bytes()
    (folders[1] / "models" / "m.onnx").write_bytes(sealed)
    return folders


def _free_of_a_size() -> bytes:
    """A model that says 32 by 32, whose operators take any size; over a megabyte."""
    drawn = np.random.default_rng(1)
    weight, other = (
        onnx.numpy_helper.from_array(drawn.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w", (512, 3, 17, 17)), ("v", (3, 512, 3, 3)))
    )
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["a"], pads=[8] * 4),
        onnx.helper.make_node("Conv", ["a", "v"], ["y"], pads=[1] * 4),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 32, 32])
        for name in ("x", "y")
    ]
    graph = onnx.helper.make_graph(nodes, "detector", ends[:1], ends[1:], [weight, other])
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def _run(run: Run, folder: Path) -> subprocess.CompletedProcess[str]:
    return run(folder / "app.py", folder / "models" / "m.onnx")


def test_a_session_of_what_was_loaded_is_one_of_the_sealed_model_with_the_shapes_it_was_given(
    app: tuple[Path, Path], plain: Run, protected: Run
) -> None:
    (app[1] / "modelseal.recipe.toml").write_text(RECIPE)
    expected, found = _run(plain, app[0]), _run(protected, app[1])
    assert expected.returncode == 0 and "'Hx'" in expected.stdout, expected.stderr
    assert (found.returncode, found.stdout, found.stderr) == (0, expected.stdout, "")


def test_the_recipe_that_observing_writes_is_enough_for_it(
    app: tuple[Path, Path], environment: dict[str, str], plain: Run, protected: Run
) -> None:
    found = observe(environment, app[0], "models/m.onnx")
    assert found.returncode == 0, found.stderr
    recipe = (app[0] / "modelseal.recipe.toml").read_text()
    assert "session = true" in recipe and "node_names = 0" in recipe
    (app[1] / "modelseal.recipe.toml").write_text(recipe)
    assert _run(protected, app[1]).stdout == _run(plain, app[0]).stdout


def test_no_other_edit_of_it_becomes_a_session(app: tuple[Path, Path], protected: Run) -> None:
    (app[1] / "modelseal.recipe.toml").write_text(RECIPE)
    (app[1] / "app.py").write_text(EDITS)
    found = _run(protected, app[1])
    names = "renamed", "fewer", "more", "another", "weight", "told", "older", "unmarked"
    assert found.stdout.split() == [each for name in names for each in (name, "EgressRefused")]
    assert "edited copy" in found.stderr and found.returncode == 0


def test_without_the_word_session_in_the_recipe_it_is_refused_as_before(
    app: tuple[Path, Path], protected: Run
) -> None:
    (app[1] / "modelseal.recipe.toml").write_text(RECIPE.replace("session = true\n", ""))
    (app[1] / "app.py").write_text(RESHAPES.replace("onnx.checker", "# "))
    found = _run(protected, app[1])
    assert found.returncode == 1 and "[egress_refused]" in found.stderr


def test_a_part_for_a_session_is_a_sound_model_that_tells_no_more_than_a_session_does() -> None:
    data = _free_of_a_size()
    found = bytes(
        part(memoryview(data), Selection(session=True), lambda _: memoryview(b""), b"mark")
    )
    model = onnx.load_model_from_string(found)
    onnx.checker.check_model(model)
    assert len(found) < 500 and mark_of(found) == b"mark" and mark_of(data) == b""
    again = reshaped(found, model.SerializeToString())
    assert again is not None and [name for _, name in again] == ["x", "y"]
    assert reshaped(found, data) is None


def test_a_part_for_a_session_holds_no_initializer_unless_it_is_named() -> None:
    data = _free_of_a_size()
    with pytest.raises(EgressRefused):
        part(memoryview(data), Selection([0, 1], session=True), lambda _: memoryview(b""))
