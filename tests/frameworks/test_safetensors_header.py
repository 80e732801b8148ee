from __future__ import annotations

import contextlib
import json
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from modelseal.errors import InvalidBytes, ModelsealError
from modelseal.frameworks.safetensors import TensorFile
from modelseal.frameworks.safetensors import header as headers

DTYPES = [np.float32, np.float64, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8]
ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__"),
    st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 5), max_size=4)),
    max_size=6,
)


def file_of(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def opened(data: bytes) -> TensorFile:
    held = memoryview(bytearray(data))
    return TensorFile(lambda start, stop: held[start:stop], len(held), "numpy")


@given(ARRAYS, st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2))
@settings(max_examples=60)
def test_what_safetensors_saves_reads_back_the_same(shapes, metadata) -> None:
    arrays = {
        name: np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)
        for name, (dtype, shape) in shapes.items()
    }
    file = opened(safetensors.numpy.save(arrays, metadata or None))
    found = file.get_tensors()
    assert sorted(found) == sorted(arrays) == file.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert np.array_equal(found[name], array)
        assert np.array_equal(file.get_tensor(name), array)
    assert file.metadata() == (metadata or None)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_our_error(data: bytes) -> None:
    with contextlib.suppress(InvalidBytes):
        opened(data)


def tensor(begin: int, end: int, shape: list[int], dtype: str = "U8") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


BAD = {
    "too short": b"\x01",
    "header past the end": struct.pack("<Q", 99) + b"{}",
    "header of 2^63 bytes": struct.pack("<Q", 1 << 63) + b"{}",
    "not an object": file_of(b"[]"),
    "space before the object": file_of(b" {}"),
    "not JSON": file_of(b"{nope}"),
    "not UTF-8": file_of(b'{"\xff":1}'),
    "deep nesting": file_of(b'{"a":' + b"[" * 100_000),
    "overlap": file_of({"a": tensor(0, 4, [4]), "b": tensor(2, 6, [4])}, bytes(6)),
    "gap": file_of({"a": tensor(0, 2, [2]), "b": tensor(3, 5, [2])}, bytes(5)),
    "gap at the start": file_of({"a": tensor(1, 3, [2])}, bytes(3)),
    "bytes at the end": file_of({"a": tensor(0, 2, [2])}, bytes(3)),
    "past the end": file_of({"a": tensor(0, 20, [20])}, bytes(3)),
    "end before begin": file_of({"a": tensor(4, 0, [4])}, bytes(4)),
    "shape and size differ": file_of({"a": tensor(0, 4, [5])}, bytes(4)),
    "shape overflows": file_of({"a": tensor(0, 4, [1 << 40, 1 << 40, 1 << 40])}, bytes(4)),
    "negative shape": file_of({"a": tensor(0, 4, [-4])}, bytes(4)),
    "rank of 10000": file_of({"a": tensor(0, 1, [1] * 10_000)}, bytes(1)),
    "unknown dtype": file_of({"a": tensor(0, 4, [4], "X9")}, bytes(4)),
    "half a byte": file_of({"a": tensor(0, 1, [1], "F4")}, bytes(1)),
    "unknown member": file_of({"a": {**tensor(0, 1, [1]), "more": 1}}, bytes(1)),
    "shape of texts": file_of({"a": {**tensor(0, 1, [1]), "shape": ["1"]}}, bytes(1)),
    "offsets of floats": file_of({"a": {**tensor(0, 1, [1]), "data_offsets": [0.0, 1.0]}}, b"1"),
    "metadata of numbers": file_of({"__metadata__": {"a": 1}}),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_a_malformed_header_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidBytes):
        opened(data)


def test_bfloat16_needs_a_numpy_that_knows_it_and_its_bytes_are_there() -> None:
    file = opened(file_of({"a": tensor(0, 4, [2], "BF16")}, b"\x80\x3f\x00\x40"))
    try:
        known = str(np.dtype("bfloat16")) == "bfloat16"  # ml_dtypes registers it
    except TypeError:
        known = False
    if known:
        assert file.get_tensor("a").astype(np.float32).tolist() == [1.0, 2.0]
    else:
        with pytest.raises(ModelsealError, match="framework='pt'"):
            file.get_tensor("a")
    assert file.raw() == [("a", {"shape": [2], "dtype": "BF16", "data": b"\x80\x3f\x00\x40"})]


def test_every_dtype_of_the_format_has_a_size() -> None:
    assert headers.BITS["BF16"] == 16 and headers.BITS["F4"] == 4


INDEXES = [
    0, -1, slice(None), slice(1, 3), slice(-2, None), slice(None, None, 2), slice(5, 2), ...,
    (0, 1), (slice(1, 3), slice(0, 2)), (..., 1), (slice(0, 2), ..., 0), (0, 1, 2),
]  # fmt: skip


@pytest.mark.parametrize("index", INDEXES, ids=str)
def test_a_slice_is_what_indexing_the_whole_gives(index) -> None:
    array = np.arange(4 * 3 * 5, dtype=np.int16).reshape(4, 3, 5)
    part = opened(safetensors.numpy.save({"a": array})).get_slice("a")
    assert part.get_shape() == [4, 3, 5] and part.get_dtype() == "I16"
    assert np.array_equal(part[index], array[index])


@pytest.mark.parametrize("index", [4, -5, (0, 9), (0, 0, 0, 0), "x", 1.5], ids=str)
def test_an_index_that_does_not_fit_is_our_error(index) -> None:
    array = np.arange(60, dtype=np.int16).reshape(4, 3, 5)
    part = opened(safetensors.numpy.save({"a": array})).get_slice("a")
    with pytest.raises(ModelsealError):
        part[index]
