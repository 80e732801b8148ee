"""PyTorch files and tensors."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal.errors import InputMissing, NotEntitled, NotSealed


def saved(value: object) -> bytes:
    made = io.BytesIO()
    torch.save(value, made)
    return made.getvalue()


def test_load_gives_what_torch_load_gives(shop: Shop, licensee: ShopLicensee) -> None:
    state = {"w": torch.randn(300, 300), "b": torch.arange(5), "h": torch.ones(3).bfloat16()}
    path, _ = shop.seal("m.pth", saved(state))
    for found in (modelseal.torch.load(path), modelseal.torch.load(path, map_location="cpu")):
        assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert torch.equal(modelseal.torch.load(path, mmap=True)["w"], state["w"])
    assert torch.equal(modelseal.torch.load(path.read_bytes())["b"], state["b"])


class Evil:
    def __reduce__(self):
        return print, ("code of a pickle ran",)


def test_code_in_a_pickle_does_not_run(
    shop: Shop, licensee: ShopLicensee, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = shop.seal("m.pth", saved({"a": Evil()}))
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        modelseal.torch.load(path)
    assert "ran" not in capsys.readouterr().out


def test_plain_missing_and_refused_files(shop: Shop, licensee: ShopLicensee) -> None:
    plain = shop.folder / "plain.pth"
    plain.write_bytes(saved({"a": torch.ones(2)}))
    with pytest.raises(NotSealed):
        modelseal.torch.load(plain)
    assert torch.equal(modelseal.torch.load(plain, allow_plain=True)["a"], torch.ones(2))
    with pytest.raises(InputMissing):
        modelseal.torch.load(shop.folder / "none.pth")
    path, _ = shop.seal("r.pth", b"x", entitlement="face.restore")
    with pytest.raises(NotEntitled):
        modelseal.torch.load(path)


def test_safetensors_into_torch_are_the_plain_tensors(shop: Shop, licensee: ShopLicensee) -> None:
    state = {
        "bf16": torch.randn(7, 9).bfloat16(),
        "f8": torch.ones(4).to(torch.float8_e4m3fn),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(2.5),
        "bool": torch.tensor([True, False]),
    }
    data = safetensors.torch.save(state)
    path, _ = shop.seal("m.safetensors", data)
    expected = safetensors.torch.load(data)
    found = modelseal.safetensors.load_file(path, framework="pt")
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        assert torch.equal(found[name].float(), tensor.float())
    found["bf16"].add_(1)  # writable, the caller's own
    with modelseal.safetensors.safe_open(path, "pt", device="cpu") as file:
        assert torch.equal(file.get_tensor("bf16"), expected["bf16"])
        assert torch.equal(file.get_slice("bf16")[2:4, :3], expected["bf16"][2:4, :3])


def test_a_tensor_keeps_its_memory(shop: Shop, licensee: ShopLicensee) -> None:
    array = np.arange(1 << 16, dtype=np.float32)
    path, _ = shop.seal("m.safetensors", safetensors.numpy.save({"a": array}))
    tensor = modelseal.safetensors.load_file(path, framework="pt")["a"]
    path.unlink()
    assert np.array_equal(tensor.numpy(), array)


def test_the_hook_serves_torch_and_the_torch_forms_of_safetensors(
    shop: Shop, licensee: ShopLicensee
) -> None:
    state, _ = shop.seal("m.pth", saved({"w": torch.ones(3)}))
    tensors, _ = shop.seal("m.safetensors", safetensors.torch.save({"w": torch.ones(3)}))
    code = (
        "import sys, modelseal; modelseal.install()\n"
        "from tests.runtime.shop import use_from_environment; use_from_environment()\n"
        "import torch, safetensors.torch as st\n"
        "from safetensors.torch import load_file, load, load_model\n"
        "one = torch.ones(3)\n"
        "assert torch.equal(torch.load(sys.argv[1])['w'], one)\n"
        "assert torch.equal(load_file(sys.argv[2], device='cpu')['w'], one)\n"
        "assert torch.equal(load(open(sys.argv[2], 'rb').read())['w'], one)\n"
        "module = torch.nn.ParameterDict({'w': torch.zeros(3)})\n"
        "load_model(module, sys.argv[2]); assert torch.equal(module['w'].data, one)\n"
    )
    env = {**os.environ, "SHOP": str(shop.folder)}
    root = Path(__file__).resolve().parent.parent.parent
    command = [sys.executable, "-c", code, str(state), str(tensors)]
    subprocess.run(command, env=env, cwd=root, check=True, timeout=300)


def test_legacy_and_zip_files_load_the_same(shop: Shop, licensee: ShopLicensee) -> None:
    state = {"w": torch.randn(40, 40), "list": [torch.arange(3)], "n": 7}
    for zipped in (True, False):
        made = io.BytesIO()
        torch.save(state, made, _use_new_zipfile_serialization=zipped)
        path, _ = shop.seal("m.pt", made.getvalue())
        found = modelseal.torch.load(path)
        assert torch.equal(found["w"], state["w"]) and found["n"] == 7
        assert torch.equal(found["list"][0], state["list"][0])


def script() -> bytes:
    made = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and still in use
        module = torch.jit.trace(torch.nn.Linear(3, 2), torch.ones(1, 3))
        torch.jit.save(module, made)
    return made.getvalue()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_script_computes_what_the_plain_one_does(shop: Shop, licensee: ShopLicensee) -> None:
    data = script()
    path, _ = shop.seal("s.pt", data)
    expected = torch.jit.load(io.BytesIO(data))(torch.ones(1, 3))
    for given in (path, str(path), path.read_bytes()):
        found = modelseal.torch.jit.load(given, map_location="cpu")
        assert torch.equal(found(torch.ones(1, 3)), expected)
    plain = shop.folder / "plain.pt"
    plain.write_bytes(data)
    with pytest.raises(NotSealed):
        modelseal.torch.jit.load(plain)
    assert modelseal.torch.jit.load(plain, allow_plain=True) is not None
    extra = {"none.txt": ""}
    assert modelseal.torch.jit.load(path, _extra_files=extra) is not None


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_garbage_in_a_sealed_file_is_torchs_own_error(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("bad.pt", b"\x80" * 5000)
    for load in (modelseal.torch.load, modelseal.torch.jit.load):
        with pytest.raises(Exception):  # noqa: B017 - whatever torch raises for a plain one
            load(path)
