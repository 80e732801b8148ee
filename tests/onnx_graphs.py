"""Graphs that ONNX Runtime optimises in different ways, with weights large enough to move out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def _weight(name: str, *shape: int, kind: type = np.float32, scale: float = 0.1) -> TensorProto:
    rng = np.random.default_rng(sum(name.encode()))
    return numpy_helper.from_array((rng.standard_normal(shape) * scale).astype(kind), name)


def _value(name: str, shape: list, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes, inputs, outputs, weights) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def convolutions() -> bytes:
    """Convolutions with batch normalisation; free batch, height and width."""
    weights = [_weight("w1", 16, 3, 5, 5), _weight("w2", 32, 16, 3, 3), _weight("w3", 8, 32, 1, 1)]
    for name in "smt":
        weights.append(_weight(name, 32))
    weights.append(numpy_helper.from_array(np.full(32, 0.7, np.float32), "v"))
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "m", "t", "v"], ["d"]),
        helper.make_node("Sigmoid", ["d"], ["e"]),
        helper.make_node("Conv", ["e", "w3"], ["y"]),
    ]
    free = ["n", 3, "h", "w"]
    return _model(nodes, [_value("x", free)], [_value("y", ["n", 8, "h", "w"])], weights)


def products() -> bytes:
    """Matrix products and Gemm, one weight large, one used twice."""
    weights = [_weight("big", 512, 600), _weight("b", 600), _weight("twice", 600, 600)]
    nodes = [
        helper.make_node("Gemm", ["x", "big", "b"], ["h"]),
        helper.make_node("MatMul", ["h", "twice"], ["i"]),
        helper.make_node("Tanh", ["i"], ["j"]),
        helper.make_node("MatMul", ["j", "twice"], ["y"]),
    ]
    return _model(nodes, [_value("x", ["n", 512])], [_value("y", ["n", 600])], weights)


def many_convolutions(size_bytes: int) -> bytes:
    """Convolutions with ``size_bytes`` of weights in all, 2.25 MiB each."""
    count = size_bytes // (256 * 256 * 36)
    nodes = [
        helper.make_node("Conv", [f"h{i}", f"w{i}"], [f"h{i + 1}"], pads=[1] * 4)
        for i in range(count)
    ]
    weights = [_weight(f"w{i}", 256, 256, 3, 3) for i in range(count)]
    shape = [1, 256, 8, 8]
    return _model(nodes, [_value("h0", shape)], [_value(f"h{count}", shape)], weights)


def wide_products(size_bytes: int) -> bytes:
    """Matrix products with about so many bytes of weights, 1 MiB each."""
    count = max(1, size_bytes >> 20)
    weights = [_weight(f"w{n}", 512, 512) for n in range(count)]
    names = ["x", *(f"h{n}" for n in range(count - 1)), "y"]
    nodes = [helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]]) for n in range(count)]
    return _model(nodes, [_value("x", [1, 512])], [_value("y", [1, 512])], weights)


def recurrent() -> bytes:
    """An LSTM whose weights are repacked."""
    weights = [_weight("w", 1, 256, 64), _weight("r", 1, 256, 64), _weight("b", 1, 512)]
    nodes = [helper.make_node("LSTM", ["x", "w", "r", "b"], ["y"], hidden_size=64)]
    return _model(nodes, [_value("x", ["t", 1, 64])], [_value("y", ["t", 1, 1, 64])], weights)


def loop() -> bytes:
    """A loop whose body has weights of its own and uses one from outside."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["h", "inner"], ["m"]),
            helper.make_node("Add", ["m", "outer"], ["h2"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [_value("i", [], TensorProto.INT64), _value("go", [], TensorProto.BOOL), _value("h", None)],
        [_value("on", [], TensorProto.BOOL), _value("h2", None)],
        [_weight("inner", 64, 64)],
    )
    weights = [
        _weight("outer", 64, 64),
        numpy_helper.from_array(np.array(3, np.int64), "times"),
        numpy_helper.from_array(np.array(True), "go0"),
    ]
    nodes = [helper.make_node("Loop", ["times", "go0", "x"], ["y"], body=body)]
    return _model(nodes, [_value("x", [64, 64])], [_value("y", [64, 64])], weights)


def quantised() -> bytes:
    """Convolution and product between QuantizeLinear and DequantizeLinear."""
    rng = np.random.default_rng(5)
    arrays = {
        "wq": rng.integers(-90, 90, (16, 8, 3, 3), dtype=np.int8),
        "mq": rng.integers(-90, 90, (64, 128), dtype=np.int8),
        "s": np.float32(0.02), "z": np.uint8(128), "sw": np.float32(0.01), "zw": np.int8(0),
    }  # fmt: skip
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]
    nodes, last = [], "x"
    for number, (op, weight) in enumerate((("Conv", "wq"), ("MatMul", "mq"))):
        q, d, w, out, oq, od = (f"{n}{number}" for n in ("q", "d", "w", "o", "oq", "od"))
        nodes += [
            helper.make_node("QuantizeLinear", [last, "s", "z"], [q]),
            helper.make_node("DequantizeLinear", [q, "s", "z"], [d]),
            helper.make_node("DequantizeLinear", [weight, "sw", "zw"], [w]),
            helper.make_node(op, [d, w], [out]),
            helper.make_node("QuantizeLinear", [out, "s", "z"], [oq]),
            helper.make_node("DequantizeLinear", [oq, "s", "z"], [od]),
        ]
        last = od
    return _model(nodes, [_value("x", [1, 8, 10, 66])], [_value(last, [1, 16, 8, 128])], weights)


def halves() -> bytes:
    """16-bit floats."""
    weights = [_weight("w", 128, 96, kind=np.float16), _weight("v", 96, 64, kind=np.float16)]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    return _model(nodes, [_value("x", ["n", 128], HALF)], [_value("y", ["n", 64], HALF)], weights)


def lookup() -> bytes:
    """A table that stays as it is, beside a product; whole numbers as input."""
    weights = [_weight("table", 9000, 64), _weight("w", 64, 80)]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("MatMul", ["e", "w"], ["y"]),
    ]
    ids = _value("ids", ["n", "t"], TensorProto.INT64)
    return _model(nodes, [ids], [_value("y", ["n", "t", 80])], weights)


def random() -> bytes:
    """A model that never answers the same twice."""
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["r"]),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    return _model(nodes, [_value("x", [4])], [_value("y", [4])], [])


ALL: dict[str, Callable[[], bytes]] = {
    "convolutions": convolutions, "products": products, "recurrent": recurrent, "loop": loop,
    "quantised": quantised, "halves": halves, "lookup": lookup,
}  # fmt: skip
