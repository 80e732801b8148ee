from __future__ import annotations

import contextlib
import functools

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import onnx_models

from modelseal.errors import InvalidBytes
from modelseal.frameworks.onnx import skeleton, wire
from modelseal.frameworks.onnx.skeleton import INLINE_BYTES

split = functools.partial(skeleton.split, whole_bytes=0)


def nothing_outside(location: str) -> memoryview:
    raise AssertionError(f"{location} was asked for")


def test_large_weights_leave_the_skeleton_and_come_back_the_same() -> None:
    data = onnx_models.convolutions()
    parts = split(memoryview(data), "token", nothing_outside)
    assert list(parts.files) == ["token"] and parts.files["token"].obj is data
    back = onnx_models.inlined(bytes(parts.model), {"token": data})
    plain, again = onnx.load_model_from_string(data), onnx.load_model_from_string(back)
    assert len(parts.model) < len(data) / 4
    assert plain.graph.node == again.graph.node
    for one, other in zip(plain.graph.initializer, again.graph.initializer, strict=True):
        assert (one.name, one.dims, one.raw_data) == (other.name, other.dims, other.raw_data)


def test_a_small_model_stays_whole_unless_it_names_data_outside() -> None:
    data = onnx_models.convolutions()
    parts = skeleton.split(memoryview(data), "token", nothing_outside)
    assert parts.model == data and not parts.files
    model, weights = onnx_models.with_external_data("w.bin")
    other = skeleton.split(memoryview(model), "token", lambda _: memoryview(weights))
    assert list(other.files) == ["token.1"]
    with pytest.raises(InvalidBytes):
        skeleton.split(memoryview(b"text"), "token", nothing_outside)


def test_small_weights_stay_and_nothing_is_handed_over() -> None:
    model = onnx.load_model_from_string(onnx_models.convolutions())
    for tensor in list(model.graph.initializer):
        if len(tensor.raw_data) > INLINE_BYTES:
            model.graph.initializer.remove(tensor)
    data = model.SerializeToString()
    parts = split(memoryview(data), "token", nothing_outside)
    assert parts.model == data and not parts.files


def test_without_files_in_memory_all_weights_are_drawn_in() -> None:
    model, weights = onnx_models.with_external_data("w.bin")
    parts = split(
        memoryview(model), "token", {"w.bin": memoryview(weights)}.__getitem__, move=False
    )
    inside = onnx.load_model_from_string(bytes(parts.model))
    assert [len(t.raw_data) for t in inside.graph.initializer] == [64 * 64 * 4] * 2
    assert not any(t.external_data for t in inside.graph.initializer)


def test_each_external_file_is_opened_once_under_a_name_of_this_session() -> None:
    model, weights = onnx_models.with_external_data("w.bin")
    asked: list[str] = []

    def open_external(location: str) -> memoryview:
        asked.append(location)
        return memoryview(weights)

    parts = split(memoryview(model), "token", open_external)
    assert asked == ["w.bin"] and list(parts.files) == ["token.1"]
    assert b"w.bin" not in parts.model


def test_external_data_past_its_file_is_refused() -> None:
    model, weights = onnx_models.with_external_data("w.bin")
    with pytest.raises(InvalidBytes):
        split(memoryview(model), "token", lambda _: memoryview(weights[:-1]))


def nested(depth: int) -> bytes:
    """Graph in attribute in node in graph, with the word that makes us look inside."""
    from modelseal.frameworks.onnx import wire

    inner = wire.head(2, 8) + b"location"
    for _ in range(depth):
        attribute = wire.head(6, len(inner)) + inner
        node = wire.head(5, len(attribute)) + attribute
        inner = wire.head(1, len(node)) + node
    return wire.head(7, len(inner)) + inner


def test_deep_nesting_is_refused_before_the_stack_ends() -> None:
    with pytest.raises(InvalidBytes):
        split(memoryview(nested(5000)), "token", nothing_outside)


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_any_bytes_are_copied_or_refused_with_our_error(data: bytes) -> None:
    try:
        parts = split(memoryview(data), "token", lambda _: memoryview(b""))
    except InvalidBytes:
        return
    assert parts.files or len(parts.model) >= 0


@given(st.data())
@settings(max_examples=100)
def test_a_damaged_model_is_copied_or_refused_with_our_error(data) -> None:
    model = bytearray(onnx_models.with_external_data("w.bin")[0])
    for _ in range(data.draw(st.integers(1, 4))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidBytes):
        split(memoryview(bytes(model)), "token", lambda _: memoryview(bytes(70_000)))


@pytest.mark.parametrize("length", [0, 1, 50, 111, 112, 113, 127, 128, 300, 20000])
def test_a_reference_is_written_as_onnx_reads_it(length: int) -> None:
    for key in ("location", "offset", "length"):
        tensor = onnx.TensorProto()
        tensor.ParseFromString(wire.external_entry(key, "x" * length))
        (entry,) = tensor.external_data
        assert (entry.key, entry.value) == (key, "x" * length)
