"""Writes the layers of an ncnn network as an ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from face_fusion.prepare.ncnn_reader import Layer, NcnnFormatError, Weights, parse_param

OPSET = 17
IR_VERSION = 8
INPUT, OUTPUT = "data", "output"


def convert(param: str, weights: bytes) -> bytes:
    """The network as an ONNX model; raises NcnnFormatError.

    Input `data` is 1 x 3 x height x width, output `output` the enlarged picture, both RGB from
    0 to 1 and float32. All weights become float32, which is exact.
    """
    return _Writer(Weights(weights)).model(parse_param(param))


class _Writer:
    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._channels: dict[str, int] = {}
        self._alias: dict[str, str] = {}

    def model(self, layers: list[Layer]) -> bytes:
        for layer in layers:
            write = getattr(self, f"_write_{layer.kind.lower()}", None)
            if write is None:
                raise NcnnFormatError(f"layers of kind {layer.kind} are not known")
            inputs = [self._alias.get(name, name) for name in layer.inputs]
            if not set(inputs) <= set(self._channels):
                raise NcnnFormatError(f"layer {layer.name} reads what nothing has written")
            try:
                write(layer, *inputs)
            except (KeyError, TypeError) as error:
                raise NcnnFormatError(
                    f"layer {layer.name} lacks an input or parameter: {error}"
                ) from error
        self._weights.finish()
        if OUTPUT not in self._channels:
            raise NcnnFormatError("the network has no output")
        small: list[str | int | None] = [1, 3, "height", "width"]
        large: list[str | int | None] = [1, 3, "height_out", "width_out"]
        graph = helper.make_graph(
            self._nodes,
            "restore",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, small)],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, large)],
            self._constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        model.producer_name = "face_fusion.prepare"
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))

    def _constant(self, name: str, values: NDArray[np.float32]) -> str:
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, channels: int, **more: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [output], **more))
        self._channels[output] = channels

    def _write_input(self, layer: Layer) -> None:
        if layer.outputs != [INPUT]:
            raise NcnnFormatError("the network's input is not called data")
        self._channels[INPUT] = 3

    def _write_split(self, layer: Layer, source: str) -> None:
        for name in layer.outputs:
            self._alias[name] = source
            self._channels[name] = self._channels[source]

    def _write_convolution(self, layer: Layer, source: str) -> None:
        count, kernel, size = layer.integer(0), layer.integer(1), layer.integer(6)
        before = self._channels[source]
        if count <= 0 or kernel <= 0 or size != count * before * kernel * kernel:
            raise NcnnFormatError(f"{layer.name} has weights of a wrong size")
        if set(layer.numbers) - {0, 1, 4, 5, 6, 9}:
            raise NcnnFormatError(f"{layer.name} has a parameter that is not known")
        shape = (count, before, kernel, kernel)
        inputs = [
            source,
            self._constant(f"{layer.name}.w", self._weights.tagged(size).reshape(shape)),
        ]
        if layer.integer(5):
            inputs.append(self._constant(f"{layer.name}.b", self._weights.plain(count)))
        output = layer.outputs[0]
        activation = layer.integer(9)
        raw = f"{output}.raw" if activation else output
        self._node("Conv", inputs, raw, count, pads=[layer.integer(4)] * 4)
        if activation == 1:
            self._node("Relu", [raw], output, count)
        elif activation == 2:
            self._node("LeakyRelu", [raw], output, count, alpha=layer.arrays[10][0])
        elif activation:
            raise NcnnFormatError(f"{layer.name} has an activation that is not known")

    def _write_prelu(self, layer: Layer, source: str) -> None:
        slope = self._weights.plain(layer.integer(0)).reshape(-1, 1, 1)
        name = self._constant(f"{layer.name}.slope", slope)
        self._node("PRelu", [source, name], layer.outputs[0], self._channels[source])

    def _write_binaryop(self, layer: Layer, left: str, right: str) -> None:
        if layer.integer(0) != 0 or layer.integer(1) != 0:
            raise NcnnFormatError(f"{layer.name} is not an addition of two blobs")
        self._node("Add", [left, right], layer.outputs[0], self._channels[left])

    def _write_eltwise(self, layer: Layer, *sources: str) -> None:
        factors = layer.arrays.get(1, [1.0] * len(sources))
        if layer.integer(0) != 1 or len(factors) != len(sources) or len(sources) != 2:
            raise NcnnFormatError(f"{layer.name} is not a weighted sum of two blobs")
        terms = []
        for index, (source, factor) in enumerate(zip(sources, factors, strict=True)):
            if factor == 1.0:
                terms.append(source)
                continue
            name = self._constant(f"{layer.name}.k{index}", np.array(factor, dtype=np.float32))
            terms.append(f"{layer.outputs[0]}.term{index}")
            self._node("Mul", [source, name], terms[-1], self._channels[source])
        self._node("Add", terms, layer.outputs[0], self._channels[sources[0]])

    def _write_concat(self, layer: Layer, *sources: str) -> None:
        if layer.integer(0) != 0 or not sources:
            raise NcnnFormatError(f"{layer.name} does not join channels")
        channels = sum(self._channels[source] for source in sources)
        self._node("Concat", list(sources), layer.outputs[0], channels, axis=1)

    def _write_interp(self, layer: Layer, source: str) -> None:
        high, wide = layer.numbers.get(1, 0.0), layer.numbers.get(2, 0.0)
        if layer.integer(0) != 1 or high != wide or high not in (2.0, 4.0):
            raise NcnnFormatError(f"{layer.name} is not an enlargement by nearest neighbour")
        scales = np.array([1, 1, high, wide], dtype=np.float32)
        self._node(
            "Resize",
            [source, "", self._constant(f"{layer.name}.scales", scales)],
            layer.outputs[0],
            self._channels[source],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def _write_pixelshuffle(self, layer: Layer, source: str) -> None:
        factor = layer.integer(0, 1)
        if layer.integer(1) != 0 or factor < 1 or self._channels[source] % factor**2:
            raise NcnnFormatError(f"{layer.name} is not a known pixel shuffle")
        channels = self._channels[source] // factor**2
        self._node(
            "DepthToSpace", [source], layer.outputs[0], channels, blocksize=factor, mode="CRD"
        )
