"""What a second reader gets of an ONNX model."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz.parsers import onnx_graph
from modelseal.errors import EgressRefused, InvalidBytes
from modelseal.frameworks.onnx.part import Selection, part


def seeds() -> Iterable[bytes]:
    """The graphs of the other harness."""
    return onnx_graph.seeds()


def check(data: bytes) -> None:
    """No more than was asked for, whatever the bytes are."""
    try:
        found = part(memoryview(data), Selection([-1, 0, "w"], 3), lambda _: memoryview(b"1234"))
    except EgressRefused as error:
        raise InvalidBytes("all of it was asked for") from error
    assert len(found) <= 3 * len(data) + 4096
