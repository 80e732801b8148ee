"""``seal --optimise`` at the desk: what is added, carried on, left out, and refused."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
import pytest
from tests import onnx_graphs, onnx_models

from modelseal import container
from modelseal.desk import inplace, opening, resealing, sealing
from modelseal.desk.filesource import FileSource
from modelseal.errors import Misuse, NotOptimisable
from modelseal.frameworks.onnx import head, machine

pytestmark = pytest.mark.skipif(
    machine.this(ort) is None, reason="this system does not tell its kind of processor"
)
ROLES = ["file", head.ROLE, head.BODY_ROLE]


def entries(shop, path: Path) -> list[tuple[str, str, tuple[int, ...]]]:
    with FileSource(path) as source:
        model = container.parse(source).verify_signatures(
            shop.trust.publisher_keys(), product=shop.product
        )
        keys = opening.data_keys(shop, model, shop_time())
        return [(e.name, e.role, e.sections) for e in model.open_index(keys.keys[0])]


def shop_time():
    from datetime import UTC, datetime

    return datetime.now(UTC)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "swap.onnx"
    path.write_bytes(onnx_graphs.lookup())
    return path


def test_head_and_body_lie_in_the_models_own_section_and_nowhere_else(shop, model, tmp_path):
    out = tmp_path / "out.sealed"
    (made,) = sealing.seal_paths(shop, [model], out, entitlements=["a"], optimise=True)
    assert (made.optimised, made.name) == (["swap.onnx"], "swap.onnx")
    found = entries(shop, out)
    assert [role for _, role, _ in found] == ROLES
    assert {sections for *_, sections in found} == {(1,)}


def test_restoring_gives_the_plain_file_alone(shop, model, tmp_path):
    plain, out = model.read_bytes(), tmp_path / "out.sealed"
    sealing.seal_paths(shop, [model], out, entitlements=["a"], optimise=True)
    inplace.restore(shop, out, tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == plain
    inplace.restore(shop, out)
    assert out.read_bytes() == plain


def test_resealing_carries_the_optimised_form_on(shop, model, tmp_path):
    out, again = tmp_path / "out.sealed", tmp_path / "again.sealed"
    sealing.seal_paths(shop, [model], out, entitlements=["a"], optimise=True)
    made = resealing.reseal(shop, out, again)
    assert made.optimised == ["swap.onnx"] and made.name == "swap.onnx"
    assert entries(shop, again) == entries(shop, out)


def test_seal_toml_says_it_file_by_file(shop, model, tmp_path):
    (tmp_path / "other.onnx").write_bytes(onnx_graphs.lookup())
    (tmp_path / "seal.toml").write_text(
        '[[file]]\npath = "swap.onnx"\nentitlement = "a"\nmodel = "m"\noptimise = true\n'
        '[[file]]\npath = "other.onnx"\nentitlement = "a"\nmodel = "m"\n'
    )
    (made,) = sealing.seal_paths(shop, [tmp_path / "seal.toml"], tmp_path / "out.sealed")
    assert made.optimised == ["swap.onnx"]


def test_external_data_of_another_right_is_refused(shop, tmp_path):
    model, weights = onnx_models.with_external_data("w.bin")
    (tmp_path / "m.onnx").write_bytes(model)
    (tmp_path / "w.bin").write_bytes(weights)
    lines = '[[file]]\npath = "{}"\nentitlement = "{}"\nmodel = "m"\n'
    toml = lines.format("m.onnx", "a") + "optimise = true\n" + lines.format("w.bin", "b")
    (tmp_path / "seal.toml").write_text(toml)
    with pytest.raises(NotOptimisable, match="same right"):
        sealing.seal_paths(shop, [tmp_path / "seal.toml"], tmp_path / "out.sealed")
    (tmp_path / "seal.toml").write_text(toml.replace('"b"', '"a"'))
    (made,) = sealing.seal_paths(shop, [tmp_path / "seal.toml"], tmp_path / "out.sealed")
    assert made.optimised == ["m.onnx"]


@pytest.mark.parametrize("content", [onnx_graphs.random(), b"not a model", b""])
def test_a_model_without_a_steady_answer_is_refused_and_nothing_is_left(shop, content, tmp_path):
    (tmp_path / "odd.onnx").write_bytes(content)
    with pytest.raises(NotOptimisable) as caught:
        sealing.seal_paths(
            shop,
            [tmp_path / "odd.onnx"],
            tmp_path / "out.sealed",
            entitlements=["a"],
            optimise=True,
        )
    assert caught.value.params["path"].endswith("odd.onnx") and caught.value.detail
    assert not (tmp_path / "out.sealed").exists()


def test_an_input_without_an_onnx_model_is_refused(shop, tmp_path):
    (tmp_path / "text.bin").write_bytes(b"text")
    with pytest.raises(Misuse, match="no ONNX model"):
        sealing.seal_paths(
            shop, [tmp_path / "text.bin"], tmp_path / "o.sealed", entitlements=["a"], optimise=True
        )
