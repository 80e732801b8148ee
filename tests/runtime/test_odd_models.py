"""What is unusual in a format gives sealed what it gives plain, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import safetensors
import safetensors.torch
import torch
from tests import onnx_odd
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal.errors import Misuse

CPU = ["CPUExecutionProvider"]


def bits(value: object) -> object:
    if isinstance(value, list):
        return [bits(each) for each in value]
    array = np.asarray(value)
    return array.dtype.str, array.shape, array.tolist() if array.dtype == object else bytes(array)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "taken apart"])
@pytest.mark.parametrize("make", onnx_odd.ALL, ids=lambda make: make.__name__)
def test_weights_kept_in_unusual_ways_are_the_plain_ones(
    make: Callable[[], onnx_odd.Odd], whole: bool, shop: Shop, licensee: ShopLicensee,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if not whole:
        monkeypatch.setattr("modelseal.frameworks.onnx.skeleton.WHOLE_BYTES", 0)
    model, files = make()
    for name, data in {"m.onnx": model, **files}.items():
        place = tmp_path / "plain" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    sealed, _ = shop.seal("m.sealed", {"m.onnx": model, **files})
    given = {"x": None}
    plain = ort.InferenceSession(str(tmp_path / "plain" / "m.onnx"), providers=CPU)
    shape = plain.get_inputs()[0].shape
    given["x"] = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    session = modelseal.onnx.InferenceSession(sealed, providers=CPU)
    assert bits(session.run(None, given)) == bits(plain.run(None, given))


DTYPES = [
    "BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I16",
    "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64", "F4",
]  # fmt: skip


def written(dtype: str, shape: list[int], data: bytes) -> bytes:
    """A safetensors file whose second tensor starts at an odd byte."""
    head = {
        "__metadata__": {"é": "ü"},
        "odd": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "a": {"dtype": dtype, "shape": shape, "data_offsets": [3, 3 + len(data)]},
        "none": {"dtype": "F32", "shape": [0, 2], "data_offsets": [3 + len(data)] * 2},
    }
    header = json.dumps(head).encode()
    return len(header).to_bytes(8, "little") + header + bytes(3) + data


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_that_torch_has_is_the_plain_one(
    dtype: str, shop: Shop, licensee: ShopLicensee, tmp_path: Path
) -> None:
    from modelseal.frameworks.safetensors.header import BITS

    data = written(dtype, [4, 8], bytes(i % 2 for i in range(32 * BITS[dtype] // 8)))
    plain = tmp_path / "plain.safetensors"
    plain.write_bytes(data)
    path, _ = shop.seal("m.safetensors", data)
    expected = safetensors.torch.load_file(plain)
    found = modelseal.safetensors.load_file(path, framework="pt")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        same = [t.clone().view(torch.uint8) if t.numel() else t for t in (found[name], tensor)]
        assert torch.equal(*same)
    with (
        modelseal.safetensors.safe_open(path, "pt") as ours,
        safetensors.safe_open(plain, "pt") as theirs,
    ):
        assert list(ours.keys()) == list(theirs.keys())
        assert ours.metadata() == theirs.metadata() == {"é": "ü"}


def test_halves_of_a_byte_that_torch_cannot_show_are_refused_by_name(
    shop: Shop, licensee: ShopLicensee
) -> None:
    path, _ = shop.seal("m.safetensors", written("F4", [2, 3], bytes(3)))
    with pytest.raises(Misuse, match="odd last dimension"):
        modelseal.safetensors.load_file(path, framework="pt")
