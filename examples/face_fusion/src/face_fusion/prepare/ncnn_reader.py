"""Reads an ncnn network (.param and .bin) and writes it as ONNX.

Only the layers of Real-ESRGAN, as ncnn 20240102 and later document them. Anything else, and
any byte too many or too few, is refused. Layers: Input, Split, Convolution, PReLU, BinaryOp,
Eltwise, Concat, Interp, PixelShuffle.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

PARAM_MAGIC = "7767517"
FP16_TAG = 0x01306B47
MAX_LAYERS = 100_000
_ARRAY_KEY = -23300  # keys at and below this one hold arrays: -23300 - key


class NcnnFormatError(ValueError):
    """The files are not an ncnn network this reader knows."""


@dataclass(frozen=True)
class Layer:
    """One line of the .param file; `numbers` and `arrays` are its parameters by key."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    numbers: dict[int, float] = field(default_factory=dict)
    arrays: dict[int, list[float]] = field(default_factory=dict)

    def integer(self, key: int, default: int = 0) -> int:
        return int(self.numbers.get(key, default))


def parse_param(text: str) -> list[Layer]:
    """The layers in order; raises NcnnFormatError."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) < 3 or lines[0] != [PARAM_MAGIC]:
        raise NcnnFormatError("not an ncnn .param file (its magic number is missing)")
    try:
        count = int(lines[1][0])
        if not 0 < count <= MAX_LAYERS or count != len(lines) - 2:
            raise NcnnFormatError(f"{count} layers announced, {len(lines) - 2} found")
        return [_parse_layer(words) for words in lines[2:]]
    except (ValueError, IndexError) as error:
        if isinstance(error, NcnnFormatError):
            raise
        raise NcnnFormatError(f"a line of the .param file cannot be read: {error}") from error


def _parse_layer(words: list[str]) -> Layer:
    kind, name, inputs, outputs = words[0], words[1], int(words[2]), int(words[3])
    blobs, rest = words[4 : 4 + inputs + outputs], words[4 + inputs + outputs :]
    if inputs < 0 or outputs < 0 or len(blobs) != inputs + outputs:
        raise NcnnFormatError(f"layer {name} names fewer blobs than it announces")
    layer = Layer(kind, name, blobs[:inputs], blobs[inputs:])
    for word in rest:
        key, _, value = word.partition("=")
        if int(key) <= _ARRAY_KEY:
            size, *values = value.split(",")
            if int(size) != len(values):
                raise NcnnFormatError(f"an array of layer {name} has the wrong length")
            layer.arrays[_ARRAY_KEY - int(key)] = [float(item) for item in values]
        else:
            layer.numbers[int(key)] = float(value)
    return layer


class Weights:
    """The .bin file, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if size < 0 or len(piece) != size:
            raise NcnnFormatError("the .bin file ends too early")
        self._at += size
        return piece

    def plain(self, count: int) -> NDArray[np.float32]:
        """`count` 32-bit floats without a tag."""
        return np.frombuffer(self._take(4 * count), dtype="<f4").astype(np.float32)

    def tagged(self, count: int) -> NDArray[np.float32]:
        """`count` weights behind their tag: 16-bit floats (padded to 4 bytes) or 32-bit."""
        tag = int.from_bytes(self._take(4), "little")
        if tag == 0:
            return self.plain(count)
        if tag != FP16_TAG:
            raise NcnnFormatError(f"weights with the tag {tag:#010x} are not known")
        half = np.frombuffer(self._take(2 * count), dtype="<f2").astype(np.float32)
        self._take(-2 * count % 4)
        return half

    def finish(self) -> None:
        """Raises NcnnFormatError unless all bytes were used."""
        if self._at != len(self._data):
            raise NcnnFormatError(f"the .bin file has {len(self._data) - self._at} bytes too many")
