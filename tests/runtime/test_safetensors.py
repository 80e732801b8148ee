from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from tests import models
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal.errors import (
    ExtraMissing,
    InputMissing,
    InvalidBytes,
    Misuse,
    NotEntitled,
    NotFound,
    NotSealed,
    ReaderClosed,
)
from modelseal.frameworks import onnx as onnx_adapter

SILERO = "silero_vad_16k.safetensors"


def sealed_silero(shop: Shop) -> tuple[Path, Path]:
    plain = models.path(SILERO)
    return plain, shop.seal("model.safetensors", plain.read_bytes())[0]


def assert_same(found: dict, expected: dict) -> None:
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_load_file_gives_what_the_plain_one_gives(shop: Shop, licensee: ShopLicensee) -> None:
    plain, path = sealed_silero(shop)
    expected = safetensors.numpy.load_file(plain)
    assert_same(modelseal.safetensors.load_file(path), expected)
    assert_same(modelseal.safetensors.load_file(str(path)), expected)
    assert_same(modelseal.safetensors.load(path.read_bytes()), expected)


def test_tensors_are_the_callers_own_and_writable(shop: Shop, licensee: ShopLicensee) -> None:
    _, path = sealed_silero(shop)
    one, other = (modelseal.safetensors.load_file(path) for _ in range(2))
    name = next(iter(one))
    before = other[name].copy()
    one[name][...] = 7
    assert np.array_equal(other[name], before)


def test_tensors_share_one_arena_and_outlive_everything_else(
    shop: Shop, licensee: ShopLicensee
) -> None:
    plain, path = sealed_silero(shop)
    loaded = modelseal.safetensors.load_file(path)
    arrays = sorted(loaded.values(), key=lambda a: a.__array_interface__["data"][0])
    for one, following in itertools.pairwise(arrays):
        end = one.__array_interface__["data"][0] + one.nbytes
        assert end == following.__array_interface__["data"][0]
    name = next(iter(loaded))
    kept = loaded.pop(name)
    del loaded, arrays, one, following
    path.unlink()
    gc.collect()
    assert np.array_equal(kept, safetensors.numpy.load_file(plain)[name])


def test_safe_open_reads_only_what_is_asked_for(
    shop: Shop, licensee: ShopLicensee, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(4096 * 256, dtype=np.float32).reshape(4096, 256)
    data = safetensors.numpy.save({"big": rows, "small": rows[:1]}, {"by": "test"})
    path, _ = shop.seal("big.safetensors", data)
    with modelseal.safetensors.safe_open(path, "numpy") as file:
        assert file.keys() == ["big", "small"] and file.metadata() == {"by": "test"}
        assert np.array_equal(file.get_slice("big")[100:102], rows[100:102])
        assert np.array_equal(file.get_tensor("small"), rows[:1])
        # every chunk but the ones already seen is made unreadable; what was not asked for stays
        damaged = bytearray(path.read_bytes())
        middle = len(damaged) // 2
        damaged[middle : middle + 200_000] = bytes(200_000)
        path.write_bytes(damaged)
        assert np.array_equal(file.get_slice("big")[100:102], rows[100:102])
    with pytest.raises(ReaderClosed):
        file.keys()


def test_names_that_are_not_there_and_odd_frameworks(shop: Shop, licensee: ShopLicensee) -> None:
    _, path = sealed_silero(shop)
    file = modelseal.safetensors.safe_open(path, "np")
    with pytest.raises(NotFound):
        file.get_tensor("nope")
    with pytest.raises(Misuse):
        modelseal.safetensors.safe_open(path, "tf")
    with pytest.raises(Misuse):
        modelseal.safetensors.load("text")  # type: ignore[arg-type]


def test_a_framework_that_is_missing_is_named_with_its_extra(
    shop: Shop, licensee: ShopLicensee, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = sealed_silero(shop)
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for load, extra in (
        (lambda: modelseal.safetensors.load_file(path, framework="pt"), "torch"),
        (lambda: modelseal.torch.load(path), "torch"),
        (onnx_adapter.runtime, "onnx"),
    ):
        with pytest.raises(ExtraMissing) as raised:
            load()
        assert raised.value.params["extra"] == extra


def test_the_hook_opens_a_file_inside_a_sealed_folder(shop: Shop, licensee: ShopLicensee) -> None:
    files = {"a/m.safetensors": safetensors.numpy.save({"w": np.ones(3)}), "config.json": b"{}"}
    path, _ = shop.seal("hf.sealed", files)
    code = (
        "import sys, modelseal; modelseal.install()\n"
        "from tests.runtime.shop import use_from_environment; use_from_environment()\n"
        "import numpy, pytest\n"
        "from safetensors.numpy import load_file\n"
        "assert numpy.array_equal(load_file(sys.argv[1] + '/a/m.safetensors')['w'], [1, 1, 1])\n"
        "with pytest.raises(FileNotFoundError): load_file(sys.argv[1] + '.none/a/m.safetensors')\n"
    )
    env = {**os.environ, "SHOP": str(shop.folder)}
    root = Path(__file__).resolve().parent.parent.parent
    command = [sys.executable, "-c", code, str(path)]
    subprocess.run(command, env=env, cwd=root, check=True, timeout=300)


def test_bytes_under_the_hook_become_tensors_in_protected_memory(
    shop: Shop, licensee: ShopLicensee
) -> None:
    """``safetensors.numpy.load`` and ``safetensors.torch.load`` copy nothing of what was opened."""
    tensors = {"a": np.arange(70_000, dtype=np.float32), "none": np.zeros((0, 3), np.int64)}
    path, _ = shop.seal("m.safetensors", safetensors.numpy.save(tensors))
    code = (
        "import sys, modelseal; modelseal.install()\n"
        "from tests.runtime.shop import use_from_environment; use_from_environment()\n"
        "import numpy, pathlib, pytest, safetensors.numpy, safetensors.torch, torch\n"
        "from modelseal.errors import EgressRefused\n"
        "from modelseal.runtime import egress\n"
        "data = pathlib.Path(sys.argv[1]).read_bytes()\n"
        "found = safetensors.numpy.load(data)\n"
        "assert numpy.array_equal(found['a'], numpy.arange(70_000, dtype=numpy.float32))\n"
        "assert found['none'].shape == (0, 3) and found['a'].flags.writeable\n"
        "assert egress.at(found['a'].ctypes.data)[0]\n"
        "pairs = safetensors.torch.load(data)\n"
        "assert torch.equal(pairs['a'], torch.from_numpy(found['a']))\n"
        "assert pairs['none'].shape == (0, 3) and egress.at(pairs['a'].data_ptr())[0]\n"
        "with pytest.raises(EgressRefused): safetensors.torch.save_file(pairs, sys.argv[1] + 'x')\n"
    )
    env = {**os.environ, "SHOP": str(shop.folder)}
    root = Path(__file__).resolve().parent.parent.parent
    command = [sys.executable, "-c", code, str(path)]
    subprocess.run(command, env=env, cwd=root, check=True, timeout=300)


def test_a_plain_file_is_refused_unless_allowed(shop: Shop, licensee: ShopLicensee) -> None:
    plain = models.path(SILERO)
    with pytest.raises(NotSealed):
        modelseal.safetensors.load_file(plain)
    with pytest.raises(NotSealed):
        modelseal.safetensors.load(plain.read_bytes())
    expected = safetensors.numpy.load_file(plain)
    assert_same(modelseal.safetensors.load_file(plain, allow_plain=True), expected)
    assert_same(modelseal.safetensors.load(plain.read_bytes(), allow_plain=True), expected)
    with modelseal.safetensors.safe_open(plain, "np", allow_plain=True) as file:
        assert file.keys() == sorted(expected)
    with pytest.raises(InputMissing):
        modelseal.safetensors.load_file(shop.folder / "none.safetensors")


def test_refusals_and_bad_contents_are_our_errors(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("r.safetensors", b"\0" * 64, entitlement="face.restore")
    with pytest.raises(NotEntitled):
        modelseal.safetensors.load_file(path)
    path, _ = shop.seal("bad.safetensors", b"\xff" * 64)
    with pytest.raises(InvalidBytes):
        modelseal.safetensors.load_file(path)


def test_a_sharded_folder_gives_each_shard_by_its_name(shop: Shop, licensee: ShopLicensee) -> None:
    shards = {
        f"model-0000{n}-of-00002.safetensors": safetensors.numpy.save(
            {f"t{n}": np.full(4, n, dtype=np.float32)}
        )
        for n in (1, 2)
    }
    path, _ = shop.seal("folder.sealed", {**shards, "config.json": b"{}"})
    second = modelseal.safetensors.load_file(path / "model-00002-of-00002.safetensors")
    assert np.array_equal(second["t2"], np.full(4, 2, dtype=np.float32))
    with pytest.raises(Misuse, match="model-00001"):
        modelseal.safetensors.load_file(path)
