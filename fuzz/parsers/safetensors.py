"""The header of a safetensors file; the library itself must agree with what is accepted."""

from __future__ import annotations

import json
from collections.abc import Iterable

import safetensors

from modelseal.frameworks.safetensors import header


def _file(tensors: dict[str, object], size: int) -> bytes:
    head = json.dumps(tensors).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + bytes(size)


def seeds() -> Iterable[bytes]:
    """Files of no, one and two tensors, of odd types, with metadata."""
    yield _file({}, 0)
    yield _file({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
                 "b": {"dtype": "U8", "shape": [], "data_offsets": [24, 25]},
                 "__metadata__": {"format": "pt"}}, 25)  # fmt: skip
    yield _file({"a": {"dtype": "F4", "shape": [2, 0], "data_offsets": [0, 0]}}, 0)
    yield _file({"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, 1)


def check(data: bytes) -> None:
    """Names, shapes and places are those that the library finds in the same file."""
    length = header.header_bytes(data[:8], len(data))
    found = header.parse(data[8 : 8 + length], len(data))
    try:
        theirs = dict(safetensors.deserialize(data))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise AssertionError(f"the library refuses what was accepted: {error}") from None
    assert theirs.keys() == found.tensors.keys()
    for name, info in found.tensors.items():
        assert list(info.shape) == list(theirs[name]["shape"])
        assert data[info.begin : info.end] == bytes(theirs[name]["data"])
