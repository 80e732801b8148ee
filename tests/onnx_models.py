"""Small ONNX models made by tests, with the package ``onnx``."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


def feeds(session, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs for any of the models here and for silero-vad."""
    rng = np.random.default_rng(seed)
    found = {}
    for node in session.get_inputs():
        if node.name == "sr":
            found["sr"] = np.array(16000, dtype=np.int64)
            continue
        shape = [
            n if isinstance(n, int) else (1 if i == 0 else 512) for i, n in enumerate(node.shape)
        ]
        if node.name == "state":
            shape = [2, 1, 128]
        values = rng.standard_normal(shape) * 0.3
        found[node.name] = np.asarray(values, dtype=TYPES[node.type])
    return found


def _model(nodes, inputs, outputs, weights) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def _value(name: str, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def _array(seed: int, *shape: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 0.1).astype(np.float32)


def convolutions() -> bytes:
    """Convolution, batch normalisation, a constant expression, a matrix product."""
    weights = [
        numpy_helper.from_array(_array(1, 16, 3, 5, 5), "w1"),
        numpy_helper.from_array(_array(2, 16), "b1"),
        numpy_helper.from_array(_array(3, 32, 16, 3, 3), "w2"),
        *(
            numpy_helper.from_array(np.abs(_array(4 + i, 32)) + 0.5, n)
            for i, n in enumerate("smtv")
        ),
        numpy_helper.from_array(_array(9, 32, 64), "a"),
        numpy_helper.from_array(_array(10, 64, 64), "b"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c2", "s", "m", "t", "v"], ["n"]),
        helper.make_node("GlobalAveragePool", ["n"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["a", "b"], ["ab"]),
        helper.make_node("MatMul", ["f", "ab"], ["y"]),
    ]
    shape = [_value("x", [1, 3, 16, 16])], [_value("y", [1, 64])]
    return _model(nodes, *shape, weights).SerializeToString()


def embedding(table: bytes) -> bytes:
    """A model that looks up rows of 16 numbers; ONNX Runtime keeps the table as it is."""
    array = np.frombuffer(table, dtype=np.float32).reshape(-1, 16)
    nodes = [helper.make_node("Gather", ["table", "rows"], ["y"])]
    inputs = [_value("rows", [1], TensorProto.INT64)]
    weights = [numpy_helper.from_array(array, "table")]
    return _model(nodes, inputs, [_value("y", [1, 16])], weights).SerializeToString()


def _external(name: str, array: np.ndarray, location: str, offset: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", location),
        ("offset", str(offset)),
        ("length", str(array.nbytes)),
    ):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def with_external_data(location: str) -> tuple[bytes, bytes]:
    """A model of two matrix products whose weights lie in ``location``, and that file."""
    first, second = _array(1, 64, 64), _array(2, 64, 64)
    weights = [
        _external("w1", first, location, 64),
        _external("w2", second, location, 64 + first.nbytes),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("MatMul", ["h", "w2"], ["y"]),
    ]
    model = _model(nodes, [_value("x", [1, 64])], [_value("y", [1, 64])], weights)
    return model.SerializeToString(), bytes(64) + first.tobytes() + second.tobytes()


def with_external_data_in_a_branch(location: str) -> tuple[bytes, bytes]:
    """A model whose branch has an initializer of its own in ``location``, and that file."""
    weight = _array(1, 64, 64)
    branches = {}
    for which, name in (("then_branch", "t"), ("else_branch", "e")):
        branches[which] = helper.make_graph(
            [helper.make_node("MatMul", ["x", f"w{name}"], [f"y{name}"])],
            name,
            [],
            [_value(f"y{name}", [1, 64])],
            [_external(f"w{name}", weight, location, 0)],
        )
    nodes = [helper.make_node("If", ["c"], ["y"], **branches)]
    inputs = [_value("x", [1, 64]), _value("c", [], TensorProto.BOOL)]
    model = _model(nodes, inputs, [_value("y", [1, 64])], [])
    return model.SerializeToString(), weight.tobytes()


def inlined(model: bytes, files: dict[str, bytes]) -> bytes:
    """The same model with its external data inside, made by another way than ours."""
    proto = onnx.load_model_from_string(model)
    for graph in _graphs(proto.graph):
        for tensor in graph.initializer:
            told = {entry.key: entry.value for entry in tensor.external_data}
            if told:
                start = int(told["offset"])
                tensor.raw_data = files[told["location"]][start : start + int(told["length"])]
                tensor.ClearField("external_data")
                tensor.data_location = TensorProto.DEFAULT
    return proto.SerializeToString()


def _graphs(graph):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
