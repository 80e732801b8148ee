"""The form of app recipes, and what of a model a second reader gets."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests import onnx_models

from modelseal.errors import EgressRefused, RecipeInvalid
from modelseal.frameworks.onnx.part import Selection, part
from modelseal.runtime import recipes, who
from modelseal.runtime.recipes import force

START = 'typ = "modelseal-app-recipe"\nversion = 1\nname = "a"\ntitle = "A"\n'


@pytest.mark.parametrize("name", sorted(force.shipped()))
def test_a_recipe_survives_being_written_and_read(name: str) -> None:
    recipe = force.shipped()[name]
    assert recipe.name == name
    assert recipes.decode(recipes.encode(recipe)) == recipe


@pytest.mark.parametrize(
    "text",
    [
        "",
        START + "odd = 1\n",
        START.replace("1", "2"),
        START.replace('"a"', '"A b"'),
        START + '[[reader]]\nmodule = "m"\nfiles = []\n',
        START + '[[reader]]\nmodule = "m; import os"\nfiles = ["*"]\n',
        START + '[[reader]]\nmodule = "m"\nfiles = ["*"]\nnode_names = 65\n',
        START + f'[[reader]]\nmodule = "m"\nfiles = ["*"]\ninitializers = {list(range(17))}\n',
        START + '[[check]]\nmodule = "m"\nfiles = ["*"]\nkind = "sha256"\nanswer = "all"\n',
        START + '[[check]]\nmodule = "m"\nfiles = ["' + "x" * 501 + '"]\nkind = "sha256"\n',
        START + f"notes = {'x' * recipes.MAX_BYTES!r}\n",
        "\x00",
        START + "a" * 5000 + " = " + "[" * 3000,
    ],
)
def test_what_breaks_a_rule_is_refused(text: str) -> None:
    with pytest.raises(RecipeInvalid):
        recipes.decode(text.encode())
    with pytest.raises(RecipeInvalid):
        recipes.decode(b"\xff\xfe" + text.encode())


def test_texts_of_any_kind_are_written_so_that_toml_reads_them() -> None:
    odd = recipes.decode(START.encode())
    for notes in ('"\\\n\t\x7f', "\u2028\U0001f600", "'''\"\"\"", "\x01\x1f"):
        given = recipes.Recipe(
            **{**{f: getattr(odd, f) for f in odd.__struct_fields__}, "notes": notes}
        )
        assert recipes.decode(recipes.encode(given)).notes == notes


def test_patterns_match_the_end_of_a_path() -> None:
    assert recipes.matches(["models/*.onnx"], "/opt/app/models/a.onnx")
    assert not recipes.matches(["models/*.onnx"], "/opt/app/models/sub/a.onnx")
    assert not recipes.matches(["models/*.onnx"], "/opt/app/mymodels/a.onnx")
    assert recipes.matches(["models/**/*.onnx"], "/opt/app/models/sub/a.onnx")


def _part(data: bytes, *wanted: int | str, node_names: int = 0) -> onnx.ModelProto:
    found = part(memoryview(data), Selection(wanted, node_names), lambda _: memoryview(b""))
    model = onnx.ModelProto()
    model.ParseFromString(bytes(found))
    return model


def test_a_part_holds_the_named_initializers_and_no_graph() -> None:
    data = onnx_models.convolutions()
    whole = onnx.load_model_from_string(data)
    names = [tensor.name for tensor in whole.graph.initializer]
    for wanted in ((-1,), (names[-1],), ()):
        found = _part(data, *wanted)
        assert [t.name for t in found.graph.initializer] == ([names[-1]] if wanted else [])
        assert not found.graph.node and found.graph.name == ""
        assert list(found.graph.output) == list(whole.graph.output)
    assert found.opset_import == whole.opset_import
    last = numpy_helper.to_array(_part(data, -1).graph.initializer[-1])
    assert np.array_equal(last, numpy_helper.to_array(whole.graph.initializer[-1]))
    third = _part(data, 2)
    assert third.graph.initializer[2] == whole.graph.initializer[2]
    assert [t.name for t in third.graph.initializer if t.name] == [names[2]]
    assert len(third.graph.initializer) == len(names)


def test_node_names_come_without_what_the_nodes_do() -> None:
    model = onnx.load_model_from_string(onnx_models.convolutions())
    for number, node in enumerate(model.graph.node):
        node.name = f"Sub_{number}"
    found = _part(model.SerializeToString(), node_names=2)
    assert [node.name for node in found.graph.node] == ["Sub_0", "Sub_1"]
    assert not any(n.op_type or n.input or n.output or n.attribute for n in found.graph.node)


def test_weights_among_the_inputs_stay_inside_and_all_of_them_are_never_given() -> None:
    data = onnx.load_model_from_string(onnx_models.convolutions())
    weight = data.graph.initializer[0]
    data.graph.input.append(
        helper.make_tensor_value_info(weight.name, TensorProto.FLOAT, weight.dims)
    )
    found = _part(data.SerializeToString(), -1)
    assert weight.name not in [value.name for value in found.graph.input]
    assert len(found.graph.input) == len(data.graph.input) - 1
    with pytest.raises(EgressRefused):
        _part(data.SerializeToString(), *[t.name for t in data.graph.initializer])


def test_an_initializer_in_a_file_of_its_own_comes_with_its_data() -> None:
    data = onnx.load_model_from_string(onnx_models.convolutions())
    tensor = data.graph.initializer[-1]
    raw = b"??" + tensor.raw_data + b"??"
    onnx.external_data_helper.set_external_data(tensor, "w.bin", 2, len(raw) - 4)
    tensor.ClearField("raw_data")
    found = part(
        memoryview(data.SerializeToString()),
        Selection([-1]),
        {"w.bin": memoryview(raw)}.__getitem__,
    )
    model = onnx.load_model_from_string(bytes(found))
    assert model.graph.initializer[-1].raw_data == raw[2:-2]
    assert not model.graph.initializer[-1].external_data


def test_who_asks_is_told_by_the_module_wherever_it_is_installed() -> None:
    def asks(module: str) -> object:
        code = compile("found = is_own(1)", "/opt/hook/site-packages/some.py", "exec")
        told: dict[str, object] = {"__name__": module, "is_own": who.is_own}
        exec(code, told)
        return told["found"]

    assert asks("modelseal.runtime.sniff") is True
    assert asks("modelseal.runtime.hook.files_") is asks("program") is False
