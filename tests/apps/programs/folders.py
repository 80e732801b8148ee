"""``folders.py SHOP PLAIN``: what a sealed folder is to the process that opened it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from tests.runtime.shop import ShopLicensee

import modelseal
from modelseal.errors import InputMissing, LicenseExpired, NotEntitled, NotSealed
from modelseal.runtime import default

shop, plain = map(Path, sys.argv[1:])


class Counting(ShopLicensee):
    verified = 0

    def verify(self, model):
        Counting.verified += 1
        return super().verify(model)


licensee = Counting(shop)
default.use_licensee(licensee)

# A plain folder, nothing, and a folder the license does not grant.
with pytest.raises(NotSealed), modelseal.folder(plain / "single"):
    pass
with modelseal.folder(plain / "single", allow_plain=True) as path:
    assert path == str(plain / "single")
with pytest.raises(InputMissing), modelseal.folder(shop / "none"):
    pass
with pytest.raises(NotEntitled), modelseal.folder(shop / "forbidden"):
    pass

# The folder: links, the small files readable, the weights only through the hooked readers.
with modelseal.folder(shop / "single") as path:
    root = Path(path)
    assert sorted(os.listdir(root)) == sorted(os.listdir(plain / "single"))
    assert all(place.is_symlink() and place.is_file() for place in root.iterdir())
    assert (root / "config.json").read_bytes() == (plain / "single" / "config.json").read_bytes()
    with pytest.raises(OSError), (root / "config.json").open("r+b") as file:
        file.write(b"{}")
    sealed = (shop / "single.sealed").read_bytes()
    assert (root / "model.safetensors").read_bytes() == sealed
    import safetensors.torch

    weights = safetensors.torch.load_file(root / "model.safetensors")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path)
assert not root.exists()
assert float(weights["transformer.wte.weight"].sum()) == float(model.transformer.wte.weight.sum())

# One shard opened over and over: its signatures are verified once, the law is asked every time.
Counting.verified = 0
with modelseal.folder(shop / "sharded") as path:
    index = json.loads(Path(path, "model.safetensors.index.json").read_text())
    for _ in range(8):
        for name, shard in index["weight_map"].items():
            with safetensors.safe_open(os.path.join(path, shard), "pt") as file:
                assert file.get_tensor(name).numel()
    assert Counting.verified == 1
    told = json.loads((shop / "shop.json").read_text())
    (shop / "shop.json").write_text(json.dumps(told | {"expired": True}))
    with pytest.raises(LicenseExpired):
        safetensors.safe_open(os.path.join(path, shard), "pt")
    (shop / "shop.json").write_text(json.dumps(told))

# A forked child opens by itself what its parent's folder leads to.
with modelseal.folder(shop / "single") as path:
    child = os.fork()
    if child == 0:
        again = safetensors.torch.load_file(os.path.join(path, "model.safetensors"))
        same = (again["transformer.wpe.weight"] == weights["transformer.wpe.weight"]).all()
        config = Path(path, "config.json").read_bytes()
        os._exit(0 if same and config else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert Path(path, "config.json").exists()
print("done")
