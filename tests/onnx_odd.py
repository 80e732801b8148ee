"""ONNX models that keep their weights in unusual ways, each with its external files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Odd = tuple[bytes, dict[str, bytes]]
FLOAT = TensorProto.FLOAT
_RNG = np.random.default_rng(4)


def _weight(name: str, *shape: int) -> TensorProto:
    return numpy_helper.from_array(_RNG.standard_normal(shape).astype(np.float32), name)


def _raw(name: str, kind: int, *shape: int, size_bytes: int) -> TensorProto:
    return TensorProto(name=name, data_type=kind, dims=shape, raw_data=_RNG.bytes(size_bytes))


def _value(name: str, shape: list[int] | None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(
    nodes: list[onnx.NodeProto],
    weights: list[TensorProto],
    *,
    outputs: list[onnx.ValueInfoProto] | None = None,
    functions: tuple[onnx.FunctionProto, ...] = (),
    sparse: tuple[onnx.SparseTensorProto, ...] = (),
    size: int = 64,
    files: dict[str, bytes] | None = None,
) -> Odd:
    inputs = [_value("x", [1, size])]
    graph = helper.make_graph(
        nodes, "g", inputs, outputs or [_value("y", None)], weights, sparse_initializer=sparse
    )
    domains = [helper.make_opsetid("", 21), *(helper.make_opsetid(f.domain, 1) for f in functions)]
    model = helper.make_model(graph, opset_imports=domains, functions=functions)
    model.ir_version = 10
    return model.SerializeToString(), files or {}


def _dequantised(weight: TensorProto, size: int) -> Odd:
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    scale = numpy_helper.from_array(np.float32(0.25), "s")
    return _model(nodes, [weight, scale], size=size)


def _function(constant: TensorProto, files: dict[str, bytes]) -> Odd:
    body = [
        helper.make_node("Constant", [], ["k"], value=constant),
        helper.make_node("MatMul", ["a", "k"], ["b"]),
    ]
    function = helper.make_function("own", "F", ["a"], ["b"], body, [helper.make_opsetid("", 21)])
    nodes = [
        helper.make_node("F", ["x"], ["h"], domain="own"),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    return _model(nodes, [_weight("w", 64, 64)], functions=(function,), files=files)


def _outside(name: str, location: str, offset: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[64, 64])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("checksum", "none")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def function_with_external_constant() -> Odd:
    """A function of the model's own, whose constant lies in another file."""
    data = _weight("k", 64, 64).raw_data
    return _function(_outside("k", "weights/k.bin", 0), {"weights/k.bin": data})


def function_with_constant() -> Odd:
    """The same with the constant inside."""
    return _function(_weight("k", 64, 64), {})


def external_at_odd_places() -> Odd:
    """Two weights of one file at offsets that no alignment has, without lengths of their own."""
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    first, second = (_weight(name, 64, 64).raw_data for name in "vw")
    weights = [_outside("v", "./v.bin", 6), _outside("w", "w é.bin", 0)]
    return _model(nodes, weights, files={"v.bin": bytes(6) + first, "w é.bin": second})


def four_bits() -> Odd:
    """Two numbers in a byte, an odd number of them."""
    return _dequantised(_raw("w", TensorProto.INT4, 127, 129, size_bytes=127 * 129 // 2 + 1), 127)


def eight_bit_floats() -> Odd:
    """Numbers of a kind that numpy does not have."""
    finite = _RNG.integers(0, 0x70, 96 * 64, dtype=np.uint8).tobytes()
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT8E4M3FN, dims=[96, 64])
    weight.raw_data = finite
    return _dequantised(weight, 96)


def sparse_weights() -> Odd:
    """A weight of which only the numbers that are not zero are kept."""
    values = numpy_helper.from_array(np.arange(1, 2001, dtype=np.float32), "w")
    places = numpy_helper.from_array(np.arange(0, 4000, 2, dtype=np.int64), "places")
    sparse = helper.make_sparse_tensor(values, places, [64, 64])
    return _model([helper.make_node("MatMul", ["x", "w"], ["y"])], [], sparse=(sparse,))


def texts() -> Odd:
    """A table of texts beside a weight."""
    table = numpy_helper.from_array(np.array([f"word {i}" for i in range(900)], object), "table")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ArgMax", ["h"], ["i"], axis=1),
        helper.make_node("Gather", ["table", "i"], ["y"]),
    ]
    outputs = [_value("y", None, TensorProto.STRING)]
    return _model(nodes, [_weight("w", 64, 64), table], outputs=outputs)


def empty_weights() -> Odd:
    """A weight without any number."""
    nodes = [
        helper.make_node("Concat", ["x", "none"], ["h"], axis=0),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    none = numpy_helper.from_array(np.zeros((0, 64), np.float32), "none")
    return _model(nodes, [none, _weight("w", 64, 64)])


def numbers_one_by_one() -> Odd:
    """A weight in ``float_data``, not in one run of bytes."""
    weight = TensorProto(name="w", data_type=FLOAT, dims=[64, 64])
    weight.float_data.extend(_RNG.standard_normal(64 * 64).tolist())
    return _model([helper.make_node("MatMul", ["x", "w"], ["y"])], [weight])


def weight_as_output() -> Odd:
    """A weight that is an output, too, and one of a sequence."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("SequenceConstruct", ["y", "w"], ["both"]),
    ]
    sequence = helper.make_tensor_sequence_value_info("both", FLOAT, None)
    outputs = [_value("y", None), _value("w", [64, 64]), sequence]
    return _model(nodes, [_weight("w", 64, 64)], outputs=outputs)


def branches() -> Odd:
    """Branches with weights of their own, in a loop."""
    sides = {
        f"{side}_branch": helper.make_graph(
            [helper.make_node("MatMul", ["h", f"w {side}"], [f"out {side}"])],
            side, [], [_value(f"out {side}", None)], [_weight(f"w {side}", 64, 64)],
        )
        for side in ("then", "else")
    }  # fmt: skip
    body = helper.make_graph(
        [
            helper.make_node("If", ["go"], ["next"], **sides),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [_value("i", [], TensorProto.INT64), _value("go", [], TensorProto.BOOL), _value("h", None)],
        [_value("on", [], TensorProto.BOOL), _value("next", None)],
    )
    given = [
        numpy_helper.from_array(np.int64(2), "times"),
        numpy_helper.from_array(np.bool_(True), "yes"),
    ]
    return _model([helper.make_node("Loop", ["times", "yes", "x"], ["y"], body=body)], given)


ALL: list[Callable[[], Odd]] = [
    function_with_external_constant, function_with_constant, external_at_odd_places, four_bits,
    eight_bit_floats, sparse_weights, texts, empty_weights, numbers_one_by_one, weight_as_output,
    branches,
]  # fmt: skip
