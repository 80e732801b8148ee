"""The vectors of ``vectors/trust``, read by us and by python-tuf."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, Root, Targets

from modelseal import trust as trusts
from modelseal.errors import ModelsealError
from modelseal.trust import Use
from modelseal.trust.canonical import canonical
from modelseal.types import from_numeric

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "vectors" / "trust"
MANIFEST: dict[str, Any] = json.loads((FOLDER / "manifest.json").read_text("utf-8"))


@pytest.mark.parametrize("name", MANIFEST["accepted"])
def test_an_accepted_file_says_what_the_manifest_says(name: str) -> None:
    expected = MANIFEST["accepted"][name]
    data = (FOLDER / name).read_bytes()
    found = trusts.parse(data)
    assert found.raw == data
    assert found.product == expected["product"] and found.server_id == expected["server_id"]
    assert found.trait_salt.hex() == expected["trait_salt"]
    sets = {u.value: [[k.kid, k.alg] for k in found.keys(u)] for u in Use if found.keys(u)}
    assert sets == expected["sets"]


@pytest.mark.parametrize("name", MANIFEST["accepted"])
def test_python_tuf_accepts_the_same_files(name: str) -> None:
    value = json.loads((FOLDER / name).read_bytes())
    root = Metadata[Root].from_dict(value["root"])
    targets = Metadata[Targets].from_dict(value["keys"]["targets"])
    role = Metadata[Targets].from_dict(value["keys"]["role"])
    root.signed.verify_delegate("root", root.signed_bytes, root.signatures)
    root.signed.verify_delegate("targets", targets.signed_bytes, targets.signatures)
    targets.signed.verify_delegate("keys", role.signed_bytes, role.signatures)
    content = json.dumps(
        json.loads((FOLDER / name).read_bytes())["keys"]["list"],
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    role.signed.targets["keys"].verify_length_and_hashes(content.encode())


@pytest.mark.parametrize(("name", "code"), MANIFEST["refused"].items())
def test_a_refused_file_is_refused_with_its_code(name: str, code: str) -> None:
    with pytest.raises(ModelsealError) as caught:
        trusts.parse((FOLDER / "refused" / name).read_bytes())
    assert caught.value.code == code


@pytest.mark.parametrize("case", MANIFEST["updates"], ids=lambda case: case["name"])
def test_every_way_forward_ends_as_the_manifest_says(case: dict[str, Any]) -> None:
    start = trusts.parse((FOLDER / "trust.json").read_bytes())

    def act() -> trusts.Trust:
        return trusts.update(
            start,
            roots=[root.encode() for root in case["roots"]],
            targets=case["targets"].encode(),
            keys_role=case["keys_role"].encode(),
            key_list=case["key_list"].encode(),
            now=from_numeric(case["now"]),
        )

    if "code" in case:
        with pytest.raises(ModelsealError) as caught:
            act()
        assert caught.value.code == case["code"]
    else:
        found = act()
        assert found.root_version == case["root_version"]
        assert found.keys_version == case["keys_version"]


def test_canonical_json_is_the_manifests() -> None:
    sample = MANIFEST["canonical"]
    assert canonical(sample["value"]).hex() == sample["hex"]


def test_the_tool_writes_the_same_vectors_again(tmp_path: Path) -> None:
    path = ROOT / "tools" / "make_trust_vectors.py"
    spec = importlib.util.spec_from_file_location("make_trust_vectors", path)
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.ROOT = tmp_path
    tool.write_trust()
    tool.write_keys()
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert len(made) > 10
    for name, data in made.items():
        assert (ROOT / "vectors" / name).read_bytes() == data, name
