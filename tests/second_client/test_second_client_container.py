"""The second client opens and refuses the sealed models of the vectors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from . import sealed
from .encoding import Refused
from .opening import Opener, assemble
from .signing import thumbprint
from .trust import Key

FOLDER = Path(__file__).parents[2] / "vectors" / "sealed-model"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())


def changed(name: str, changes: list[dict[str, Any]]) -> bytes:
    """A file of the vectors with the changes that a case names."""
    data = bytearray((FOLDER / name).read_bytes())
    for change in changes:
        data = bytearray(_changed(bytes(data), change))
    return bytes(data)


def _changed(data: bytes, change: dict[str, Any]) -> bytes:
    op, at, size = change["op"], change.get("offset", 0), change.get("size", 0)
    new = bytes.fromhex(change.get("hex", ""))
    if op == "xor":
        new = bytes(a ^ b for a, b in zip(data[at:], new, strict=False))
    if op in ("zero", "copy", "splice"):
        source = {"zero": bytes(size), "copy": data}.get(op) or changed(change["file"], [])
        new = source[change.get("from", 0) :][:size]
    if op == "swap":
        other = change["other"]
        swapped = data[:at] + data[other : other + size] + data[at + size :]
        return swapped[:other] + data[at : at + size] + swapped[other + size :]
    if op == "truncate":
        return data[:size]
    if op == "append":
        return data + new
    cut = {"insert": 0, "cut": size}.get(op, len(new))
    return data[:at] + new + data[at + cut :]


def run(case: dict[str, Any]) -> dict[str, str]:
    """What the page's runner does: the digests of the entries that can be read."""
    data = changed(case["file"], case.get("changes", []))

    def read_at(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    pinned = []
    for name in case["trust"]:
        jwk = MANIFEST["keys"][name]
        alg = jwk.get("alg", "Ed25519")
        pinned.append(Key("publisher", alg, thumbprint(jwk), jwk, 0, None, name))
    model = sealed.whole_file(read_at, len(data))
    model.verify(pinned, case.get("product") or model.product, case.get("min_release", 0))
    keys = {int(n): bytes.fromhex(key) for n, key in case["data_keys"].items()}
    keys |= {int(n): bytes.fromhex(key) for n, key in (case.get("seeds") or {}).items()}
    opener = Opener(model, read_at, keys)
    index = opener.index()
    if "secret" in case:
        assert (index.secret or b"").hex() == case["secret"]
    secrets = {name: bytes.fromhex(s) for name, s in (case.get("together") or {}).items()}
    bundle = {
        int(n): [(bytes.fromhex(label), bytes.fromhex(key)) for label, key in pairs]
        for n, pairs in (case.get("bundle_keys") or {}).items()
    }
    plain = {}
    for number in sorted({*keys, *bundle} - {0}):
        plain[number] = opener.plain(number, secrets, bundle.get(number))
        opener.padding(index, number, plain[number])
    found = {
        name: hashlib.sha256(assemble(extents, plain)).hexdigest()
        for name, extents in index.entries.items()
        if {extent.section for extent in extents} <= set(plain)
    }
    model.verify_table()
    for number, (offset, size) in enumerate(opener.places):
        stored = read_at(offset, size)
        hole = case.get("holes") and not any(stored)
        if not hole and not model.leaf_holds(number, stored):
            raise Refused("container_damaged", "a leaf")
    return found


@pytest.mark.parametrize("case", MANIFEST["valid"], ids=lambda case: case["name"])
def test_a_valid_sealed_model_opens_to_its_files(case: dict[str, Any]) -> None:
    assert run(case) == case["entries"]


@pytest.mark.parametrize("case", MANIFEST["refused"], ids=lambda case: case["name"])
def test_another_is_refused_with_its_code(case: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        run(case)
    assert refusal.value.code == case["code"]
