"""The models that are measured: random weights in the shapes of real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 1024


def safetensors(path: Path, megabytes: int) -> Path:
    """A safetensors file of 16 MiB tensors, written piece by piece."""
    rng = np.random.default_rng(megabytes)
    count = max(1, megabytes // 16)
    with path.open("wb") as file:
        file.write(_header(count))
        for _ in range(count):
            file.write(rng.bytes(16 << 20))
    return path


def sparse_safetensors(path: Path, megabytes: int) -> Path:
    """The same, but only the first tensor takes room on the disk: the others are zeros."""
    first = safetensors(path, 16)
    data = first.read_bytes()[-(16 << 20) :]
    head = _header(megabytes // 16)
    with path.open("wb") as file:
        file.write(head + data)
        file.truncate(len(head) + (megabytes // 16 << 24))
    return path


def _header(count: int) -> bytes:
    size = 16 << 20
    names = {
        f"layer.{i:04}.weight": {
            "dtype": "F32",
            "shape": [size // 4 // SIDE, SIDE],
            "data_offsets": [i * size, (i + 1) * size],
        }
        for i in range(count)
    }
    header = json.dumps(names).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def external(path: Path) -> Path:
    """The ONNX model at ``path`` with its weights in a file of their own."""
    target = path.with_name(f"{path.stem}-external.onnx")
    if not target.exists():
        onnx.save_model(
            onnx.load(path), target, save_as_external_data=True, location=f"{target.name}.data"
        )
    return target


def products(path: Path, megabytes: int) -> Path:
    """An ONNX model of square matrix products, 4 MiB of weights each."""
    rng = np.random.default_rng(megabytes)
    nodes, weights, last = [], [], "x"
    for i in range(max(1, megabytes // 4)):
        array = rng.standard_normal((SIDE, SIDE), dtype=np.float32) * 0.03
        weights.append(numpy_helper.from_array(array, f"w{i}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [f"h{i}"]))
        last = f"h{i}"
    return _write(path, nodes, weights, ([8, SIDE], [8, SIDE]), last)


def convolutions(path: Path, megabytes: float, channels: int = 256) -> Path:
    """An ONNX model of 3x3 convolutions with ReLU between."""
    rng = np.random.default_rng(int(megabytes * 10))
    nodes, weights, last = [], [], "x"
    for i in range(max(1, round(megabytes * (1 << 20) / (channels * channels * 36)))):
        array = rng.standard_normal((channels, channels, 3, 3), dtype=np.float32) * 0.03
        weights.append(numpy_helper.from_array(array, f"w{i}"))
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"h{i}"]))
        last = f"h{i}"
    shape = [1, channels, 16, 16]
    return _write(path, nodes, weights, (shape, shape), last)


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: list[TensorProto],
    shapes: tuple[list[int], list[int]],
    last: str,
) -> Path:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shapes[0])]
    outputs = [helper.make_tensor_value_info(last, TensorProto.FLOAT, shapes[1])]
    graph = helper.make_graph(nodes, "bench", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return path
