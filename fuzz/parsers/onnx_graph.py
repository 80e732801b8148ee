"""An ONNX model in protobuf's wire form: taking the weights out, naming external data."""

from __future__ import annotations

from collections.abc import Iterable

from modelseal.errors import InvalidBytes
from modelseal.frameworks.onnx import skeleton

MAX_BYTES = 1 << 14
_WEIGHTS = memoryview(bytes(range(256)) * 32)


def seeds() -> Iterable[bytes]:
    """Models with weights inside and outside, in sub-graphs and sparse."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    inside = numpy_helper.from_array(np.zeros((40, 32), np.float32), "w")
    outside = TensorProto(name="v", data_type=TensorProto.FLOAT, dims=[8, 8])
    outside.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "0", "length": "256"}.items():
        outside.external_data.add(key=key, value=value)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy"]
    for weights in ([], [inside], [outside], [inside, outside]):
        graph = helper.make_graph([node], "g", ends[:1], ends[1:], weights)
        branch = helper.make_node("If", ["c"], ["z"], then_branch=graph, else_branch=graph)
        yield helper.make_model(graph).SerializeToString()
        outer = helper.make_graph([branch], "o", ends[:1], ends[1:], weights)
        yield helper.make_model(outer).SerializeToString()


def _open(location: str) -> memoryview:
    if location != "w.bin":
        raise InvalidBytes("no such file")
    return _WEIGHTS


def check(data: bytes) -> None:
    """No skeleton is larger than the model and what it drew in; ranges lie within their files."""
    skeleton.split(memoryview(data), "t", _open, whole_bytes=0)
    drawn = skeleton.split(memoryview(data), "t", _open, move=False, whole_bytes=0)
    assert len(drawn.model) <= len(data) * (2 + len(_WEIGHTS))
