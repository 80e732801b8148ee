"""A question to an inference service: two bytes say how long its JSON is, then comes the body."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from modelseal.inference import tensors
from modelseal.inference.tensors import LENGTH_HEADER, Message

MISUSE = True  # what a caller gets wrong is told so


def seeds() -> Iterable[bytes]:
    """Binary and JSON tensors, texts, and a length that is none."""
    for array in (np.arange(6, dtype="<f4").reshape(2, 3), np.array([True]), np.array(["a", "ä"])):
        yield _framed(tensors.request({"x": array}, ("y",)))
    yield b"\xff\xff" + (
        b'{"id":"1","inputs":[{"name":"x","shape":[1,2],"datatype":"INT64","data":[[1,2]]}]}'
    )


def check(data: bytes) -> None:
    """What is read is written in binary and read to the same bits."""
    length = int.from_bytes(data[:2], "big")
    found = tensors.read_request(data[2:], None if length == 0xFFFF else str(length))
    made = tensors.request(found.inputs, found.outputs)
    again = tensors.read_request(made.body, made.headers[LENGTH_HEADER])
    assert set(again.inputs) == set(found.inputs)
    for name, array in found.inputs.items():
        other = again.inputs[name]
        assert other.shape == array.shape
        if array.dtype.kind == "O":
            assert other.tolist() == array.tolist()
        else:
            assert other.tobytes() == array.tobytes()


def _framed(message: Message) -> bytes:
    return int(message.headers[LENGTH_HEADER]).to_bytes(2, "big") + message.body
