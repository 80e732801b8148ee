"""The protocol's words: what was written is read back, and nothing else is read."""

from __future__ import annotations

import json

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal import errors
from modelseal.inference import tensors
from modelseal.inference.tensors import LENGTH_HEADER, Request

TYPES = st.sampled_from(
    ["?", "u1", "<u2", "<u4", "<u8", "i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"]
)
ARRAYS = TYPES.flatmap(
    lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, min_side=0))
)


def same(one, other):
    assert one.shape == other.shape
    assert one.dtype == other.dtype.newbyteorder("<")
    assert one.tobytes() == other.tobytes()


@given(ARRAYS)
def test_binary_tensors_come_back_bit_by_bit(array):
    made = tensors.request({"x": array}, ("y",))
    found = tensors.read_request(made.body, made.headers[LENGTH_HEADER])
    same(found.inputs["x"], array)
    assert found.outputs == ("y",) and found.is_binary("y")
    answer = tensors.response("m", {"y": array}, found)
    same(tensors.read_response(answer.body, answer.headers[LENGTH_HEADER])["y"], array)


@given(arrays.arrays("<f4", arrays.array_shapes(), elements=st.floats(-1e9, 1e9, width=32)))
def test_json_tensors_come_back_too(array):
    answer = tensors.response("m", {"y": array}, Request({}))
    assert LENGTH_HEADER not in answer.headers
    same(tensors.read_response(answer.body, None)["y"], array)


@given(st.lists(st.text(), min_size=1))
def test_texts_come_back(texts):
    array = np.array(texts, dtype=object)
    made = tensors.request({"x": array})
    found = tensors.read_request(made.body, made.headers[LENGTH_HEADER]).inputs["x"]
    assert list(found) == texts


def test_a_request_of_another_client_is_understood():
    """As the protocol's own examples write it: nested data, members that mean nothing here."""
    body = {
        "id": "42",
        "parameters": {"anything": 1},
        "inputs": [
            {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2], [3.5, 4]],
             "parameters": {"content_type": "np"}},
            {"name": "n", "shape": [1], "datatype": "BYTES", "data": ["a"]},
        ],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}, {"name": "z"}],
    }  # fmt: skip
    found = tensors.read_request(json.dumps(body).encode(), None)
    assert found.inputs["x"].tolist() == [[1.0, 2.0], [3.5, 4.0]]
    assert found.id == "42" and found.outputs == ("y", "z")
    assert found.is_binary("y") and not found.is_binary("z")


def one(**change):
    return {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2], **change}


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [one(), one()],
        [one(shape=[3])],
        [one(shape=[-2])],
        [one(shape=[1] * 17)],
        [one(shape=[1 << 62, 0])],
        [one(datatype="BF16")],
        [one(datatype="INT8", data=[1, 300])],
        [one(datatype="UINT8", data=[1, -1])],
        [one(datatype="INT32", data=[1, 2.5])],
        [one(datatype="INT32", data=[True, 1])],
        [one(datatype="BOOL", data=[0, 1])],
        [one(datatype="BYTES")],
        [one(data="ab")],
        [one(data=None)],
        [one(data=[1, None])],
        [one(data=[1, {"a": 1}])],
        [one(parameters={"binary_data_size": 8})],
        [{**one(parameters={"binary_data_size": 0}), "data": [1]}],
        [one(parameters={"binary_data_size": -1})],
        [one(parameters={"binary_data_size": True})],
        [{"name": "x", "shape": [2], "datatype": "FP32"}],
    ],
)
def test_what_is_no_tensor_is_refused(inputs):
    with pytest.raises(errors.Misuse):
        tensors.read_request(json.dumps({"inputs": inputs}).encode(), None)


@pytest.mark.parametrize("header", ["", "-1", "1e3", "99999", "٣", "1" * 30])
def test_a_length_that_is_none_is_refused(header):
    made = tensors.request({"x": np.zeros(2, "<f4")})
    with pytest.raises(errors.Misuse):
        tensors.read_request(made.body, header)


@pytest.mark.parametrize("cut", [1, 4, 8])
def test_a_body_that_was_cut_or_grew_is_refused(cut):
    made = tensors.request({"x": np.zeros(2, "<f4")})
    for body in (made.body[:-cut], made.body + bytes(cut)):
        with pytest.raises(errors.Misuse):
            tensors.read_request(body, made.headers[LENGTH_HEADER])


@given(st.binary(max_size=400), st.one_of(st.none(), st.integers(0, 500).map(str)))
def test_any_bytes_give_an_error_of_ours(body, header):
    with pytest.raises(errors.Misuse):
        tensors.read_request(body, header)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"inputs":' * 5000, b"[" * 90 + b"]" * 90])
def test_deep_nesting_is_refused(body):
    with pytest.raises(errors.Misuse):
        tensors.read_request(body, None)


def test_a_truth_value_that_is_neither_is_refused():
    parameters = {"binary_data_size": 1}
    tensor = {"name": "x", "shape": [1], "datatype": "BOOL", "parameters": parameters}
    body = json.dumps({"inputs": [tensor]}).encode()
    with pytest.raises(errors.Misuse):
        tensors.read_request(body + b"\x02", str(len(body)))


def test_what_json_cannot_say_is_not_said_in_json():
    with pytest.raises(errors.Misuse, match="binary_data"):
        tensors.response("m", {"y": np.array([np.nan], "<f4")}, Request({}))


def test_a_type_without_a_name_is_refused():
    with pytest.raises(errors.Misuse):
        tensors.request({"x": np.zeros(1, np.complex64)})
