"""Resealing: new data keys, everything else as it was, and no plaintext on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.desk.contents import contents, seal, write_toml

from modelseal.desk import sealing
from modelseal.desk.workspace import Workspace
from modelseal.errors import ModelsealError

Write = Callable[..., Path]


def test_resealing_keeps_everything_but_the_keys(
    shop: Workspace, model_file: Write, tmp_path: Path, now: datetime
) -> None:
    safety = seal(shop, model_file("safety.onnx"))
    for name in ("a.onnx", "sub/b.bin", "sub/empty"):
        model_file(name, 0 if name.endswith("empty") else 400_000)
    toml = write_toml(
        tmp_path,
        """
        [[file]]
        path = "a.onnx"
        model = "pack"
        entitlement = "face.swap"
        together_with = ["safety.sealed"]
        [[file]]
        path = "sub"
        model = "pack"
        entitlement = ["x", "y+z"]
        min_level = "L1"
        """,
    )
    old = seal(shop, toml, tmp_path / "old", model_version="2.1")
    new = sealing.reseal(shop, tmp_path / "old", tmp_path / "new")
    assert contents(shop, old.path, now) == contents(shop, new.path, now)
    assert len(contents(shop, new.path, now)) == 3
    assert (new.model, new.release, new.model_version) == ("pack", 2, "2.1")
    assert (new.name, new.entitlements) == (old.name, old.entitlements)
    assert new.file_id != old.file_id and safety.model == "safety"
    first, second = (shop.models.keys_of(r) for r in shop.models.all() if r.model == "pack")
    assert not set(first.keys.values()) & set(second.keys.values())
    assert first.together == second.together


def test_resealing_writes_no_plaintext_anywhere(
    shop: Workspace, model_file: Write, tmp_path: Path
) -> None:
    plain = model_file(size=600_000)
    marker = plain.read_bytes()[300_000:300_032]
    seal(shop, plain)
    plain.unlink()
    seen: list[bool] = []

    def look(*_: Any) -> None:
        seen.append(any(marker in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()))

    sealing.reseal(shop, tmp_path / "swap.sealed", tmp_path / "new", progress=look)
    assert seen and not any(seen)


def test_a_damaged_file_is_not_resealed(shop: Workspace, model_file: Write, tmp_path: Path) -> None:
    made = seal(shop, model_file(size=600_000))
    data = bytearray(Path(made.path).read_bytes())
    data[-5] ^= 1
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(ModelsealError) as caught:
        sealing.reseal(shop, tmp_path / "bad", tmp_path / "new")
    assert caught.value.code == "container_damaged"
    assert not (tmp_path / "new").exists()
