"""The ncnn reader: what it reads, and what it refuses."""

from __future__ import annotations

import struct

import numpy as np
import onnxruntime
import pytest
from conftest import needs
from hypothesis import given, settings
from hypothesis import strategies as st

from face_fusion.prepare.ncnn_reader import FP16_TAG, NcnnFormatError, Weights, parse_param

TINY = """7767517
5 5
Input    in    0 1 data
Split    split 1 2 data a b
Convolution conv 1 1 a c 0=12 1=1 5=1 6=36 9=2 -23310=1,2.000000e-01
PixelShuffle up 1 1 c d 0=2
Interp   big 1 1 b e 0=1 1=2.000000e+00 2=2.000000e+00
"""
WHOLE = TINY.replace("5 5", "6 6") + "Eltwise sum 2 1 d e output 0=1 -23301=2,5.000000e-01,1.0\n"


def _bin(kernel, bias):
    half = kernel.astype("<f2").tobytes()
    return struct.pack("<I", FP16_TAG) + half + bias.astype("<f4").tobytes()


def _convert(param, weights):
    needs("onnx")
    from face_fusion.prepare.ncnn_to_onnx import convert

    return convert(param, weights)


def test_a_network_gives_what_its_layers_say():
    """Every step of a small network, worked out by hand with NumPy."""
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(12, 3)).astype("<f2").astype(np.float32)
    bias = rng.normal(size=12).astype(np.float32)
    session = onnxruntime.InferenceSession(_convert(WHOLE, _bin(kernel, bias)))
    picture = rng.random((3, 4, 5), dtype=np.float32)
    mixed = np.einsum("oi,ihw->ohw", kernel, picture) + bias[:, None, None]
    mixed = np.where(mixed > 0, mixed, mixed * np.float32(0.2))
    shuffled = mixed.reshape(3, 2, 2, 4, 5).transpose(0, 3, 1, 4, 2).reshape(3, 8, 10)
    expected = shuffled * 0.5 + picture.repeat(2, axis=1).repeat(2, axis=2)
    found = session.run(None, {"data": picture[None]})[0][0]
    assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("change", [-1, 1, -7])
def test_weights_of_a_wrong_length_are_refused(change):
    """A byte too few or too many in the .bin file."""
    data = _bin(np.zeros((12, 3)), np.zeros(12))
    data = data + b"\0" * change if change > 0 else data[:change]
    with pytest.raises(NcnnFormatError):
        _convert(WHOLE, data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("7767517", "7767518"),
        ("6 6", "7 6"),
        ("Split ", "Softmax "),
        ("0=12 1=1", "0=12 1=3"),
        ("9=2", "9=5"),
        ("5=1", "5=1 2=2"),
        ("0=1 1=2.000000e+00", "0=2 1=2.000000e+00"),
        ("-23301=2", "-23301=3"),
        ("d e output", "d x output"),
        ("output", "other"),
        ("1 1 a c", "9 9 a c"),
    ],
)
def test_networks_that_are_not_understood_are_refused(old, new):
    """Never converted into something else."""
    assert old in WHOLE
    with pytest.raises(NcnnFormatError):
        _convert(WHOLE.replace(old, new), _bin(np.zeros((12, 3)), np.zeros(12)))


@given(
    st.text(max_size=200) | st.text("0123456789 =-,.abc\n", max_size=300).map("7767517\n".__add__)
)
def test_any_text_is_parsed_or_refused(text):
    """No other error leaves the parser."""
    try:
        layers = parse_param(text)
    except NcnnFormatError:
        return
    assert layers


@given(st.lists(st.floats(-1000, 1000, width=16), max_size=9))
@settings(max_examples=50)
def test_tagged_weights_are_read_with_their_padding(values):
    """16-bit floats of any number, padded to four bytes, and then the end."""
    half = np.array(values, dtype="<f2").tobytes()
    weights = Weights(struct.pack("<I", FP16_TAG) + half + b"\0" * (-len(half) % 4))
    assert weights.tagged(len(values)).tolist() == values
    weights.finish()


def test_an_unknown_tag_is_refused():
    """8-bit and table weights are not for this reader."""
    with pytest.raises(NcnnFormatError, match="tag"):
        Weights(struct.pack("<I", 0x000D4B38) + bytes(64)).tagged(4)
