"""``doctor --bench``: what protection costs on this computer, measured on real loads."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper
from tests import models, onnx_models
from tests.runtime.shop import Shop, ShopLicensee

from modelseal.cli import measuring
from modelseal.errors import Misuse, ModelsealError


def test_throughput_tells_every_depth_and_leaves_nothing_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = measuring.throughput(1 << 20, rounds=1)
    names = [each.what for each in found.measured]
    assert names[:3] == ["plain", "sealed, tag, 1 thread", *names[2:3]]
    assert {"sealed, full, 1 thread", "copy", "seal"} < set(names)
    assert found.size_bytes == 1 << 20 and found.identical is None
    assert all(each.seconds > 0 and each.ratio > 0 for each in found.measured)
    assert next(each.ratio for each in found.measured if each.what == "plain") == 1
    assert not list(tmp_path.iterdir())


def test_an_onnx_model_is_loaded_and_run_beside_its_plain_one(
    shop: Shop, licensee: ShopLicensee, tmp_path: Path
) -> None:
    plain = tmp_path / "conv.onnx"
    plain.write_bytes(onnx_models.convolutions())
    sealed, _ = shop.seal("conv.onnx", plain.read_bytes())
    found = measuring.model(plain, sealed, rounds=1, pairs=1)
    assert [each.what for each in found.measured] == ["plain", "load", "plain", "inference"]
    assert found.identical is True


def test_another_model_than_the_plain_one_is_told(
    shop: Shop, licensee: ShopLicensee, tmp_path: Path
) -> None:
    plain = tmp_path / "conv.onnx"
    plain.write_bytes(onnx_models.convolutions())
    other = onnx.load_model_from_string(plain.read_bytes())
    bias = next(t for t in other.graph.initializer if t.name == "b1")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 1, "b1"))
    sealed, _ = shop.seal("conv.onnx", other.SerializeToString())
    assert measuring.model(plain, sealed, rounds=1, pairs=1).identical is False


def test_safetensors_are_loaded_beside_the_plain_ones(shop: Shop, licensee: ShopLicensee) -> None:
    plain = models.path("silero_vad_16k.safetensors")
    sealed, _ = shop.seal("model.safetensors", plain.read_bytes())
    found = measuring.model(plain, sealed, rounds=1)
    assert [each.what for each in found.measured] == ["plain", "load"]


def test_what_is_not_measured_is_said(shop: Shop, tmp_path: Path) -> None:
    text = tmp_path / "model.txt"
    text.write_text("no model")
    with pytest.raises(Misuse):
        measuring.model(text, text)


def test_a_sealed_model_without_a_license_is_refused_as_ever(shop: Shop, tmp_path: Path) -> None:
    plain = tmp_path / "conv.onnx"
    plain.write_bytes(onnx_models.convolutions())
    sealed, _ = shop.seal("conv.onnx", plain.read_bytes())
    with pytest.raises(ModelsealError):
        measuring.model(plain, sealed, rounds=1, pairs=1)
