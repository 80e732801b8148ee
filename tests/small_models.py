"""Small models of other frameworks made by tests: one product with a matrix, and a bias."""

from __future__ import annotations

import flatbuffers
import numpy as np
import tflite

INPUTS, OUTPUTS = 64, 32
INPUT = np.linspace(-1, 1, INPUTS, dtype=np.float32)[None, :]
_RNG = np.random.default_rng(11)
WEIGHTS = _RNG.standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
BIAS = _RNG.standard_normal(OUTPUTS).astype(np.float32)


def ncnn_pair() -> tuple[bytes, bytes]:
    """``.param`` and ``.bin``: ncnn's text and its weights (flag 0: 32-bit floats follow)."""
    layers = (
        "7767517\n2 2\n"
        "Input in0 0 1 in0 0=64\n"
        f"InnerProduct ip 1 1 in0 out0 0={OUTPUTS} 1=1 2={WEIGHTS.size}\n"
    )
    return layers.encode(), bytes(4) + WEIGHTS.tobytes() + BIAS.tobytes()


def tflite_model(weights: np.ndarray = WEIGHTS, bias: np.ndarray = BIAS) -> bytes:
    """A TFLite file (schema version 3) with one FULLY_CONNECTED."""
    made = flatbuffers.Builder(32768)
    buffers = [_buffer(made, b""), _buffer(made, weights.tobytes()), _buffer(made, bias.tobytes())]
    outputs, inputs = weights.shape
    tensors = [
        _tensor(made, "in", (1, inputs), 0),
        _tensor(made, "w", (outputs, inputs), 1),
        _tensor(made, "b", (outputs,), 2),
        _tensor(made, "out", (1, outputs), 0),
    ]
    tflite.FullyConnectedOptionsStart(made)
    options = tflite.FullyConnectedOptionsEnd(made)
    taken, given = _ints(made, (0, 1, 2)), _ints(made, (3,))
    tflite.OperatorStart(made)
    tflite.OperatorAddOpcodeIndex(made, 0)
    tflite.OperatorAddInputs(made, taken)
    tflite.OperatorAddOutputs(made, given)
    tflite.OperatorAddBuiltinOptionsType(made, tflite.BuiltinOptions.FullyConnectedOptions)
    tflite.OperatorAddBuiltinOptions(made, options)
    operators = _offsets(made, [tflite.OperatorEnd(made)])
    listed, first, last = _offsets(made, tensors), _ints(made, (0,)), _ints(made, (3,))
    tflite.SubGraphStart(made)
    tflite.SubGraphAddTensors(made, listed)
    tflite.SubGraphAddInputs(made, first)
    tflite.SubGraphAddOutputs(made, last)
    tflite.SubGraphAddOperators(made, operators)
    graphs = _offsets(made, [tflite.SubGraphEnd(made)])
    code = tflite.BuiltinOperator.FULLY_CONNECTED
    tflite.OperatorCodeStart(made)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(made, code)
    tflite.OperatorCodeAddBuiltinCode(made, code)
    tflite.OperatorCodeAddVersion(made, 1)
    codes = _offsets(made, [tflite.OperatorCodeEnd(made)])
    stored = _offsets(made, buffers)
    tflite.ModelStart(made)
    tflite.ModelAddVersion(made, 3)
    tflite.ModelAddOperatorCodes(made, codes)
    tflite.ModelAddSubgraphs(made, graphs)
    tflite.ModelAddBuffers(made, stored)
    made.Finish(tflite.ModelEnd(made), file_identifier=b"TFL3")
    return bytes(made.Output())


def _buffer(made: flatbuffers.Builder, data: bytes) -> int:
    made.StartVector(1, len(data), 16)
    made.head -= len(data)
    made.Bytes[made.head : made.head + len(data)] = data
    vector = made.EndVector()
    tflite.BufferStart(made)
    if data:
        tflite.BufferAddData(made, vector)
    return tflite.BufferEnd(made)


def _tensor(made: flatbuffers.Builder, name: str, shape: tuple[int, ...], buffer: int) -> int:
    named, shaped = made.CreateString(name), _ints(made, shape)
    tflite.TensorStart(made)
    tflite.TensorAddShape(made, shaped)
    tflite.TensorAddType(made, tflite.TensorType.FLOAT32)
    tflite.TensorAddBuffer(made, buffer)
    tflite.TensorAddName(made, named)
    return tflite.TensorEnd(made)


def _ints(made: flatbuffers.Builder, values: tuple[int, ...]) -> int:
    return made.CreateNumpyVector(np.asarray(values, np.int32))


def _offsets(made: flatbuffers.Builder, values: list[int]) -> int:
    made.StartVector(4, len(values), 4)
    for value in reversed(values):
        made.PrependUOffsetTRelative(value)
    return made.EndVector()
