"""Any value in any member of header, signatures and index: our error or a good reading."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelseal import cbor
from modelseal.container import BytesSource, Prologue, VerifiedModel, parse
from modelseal.container import _index as index_format
from modelseal.container import _signatures as signatures
from modelseal.container._header import Header
from modelseal.container._layout import layouts
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import ContainerDamaged, ContainerMalformed, ContainerVersion

FOLDER = Path(__file__).resolve().parents[2] / "vectors" / "sealed-model"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
DATA = (FOLDER / "sections.sealed").read_bytes()
PROLOGUE = Prologue.from_bytes(DATA)
HEADER = cbor.decode(DATA[128 : PROLOGUE.signatures_offset], max_bytes=1 << 20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.sampled_from([0, 1, 2, 63, 64, 65535, 65536, 2**22, 2**32, 2**36, 2**63])
    | st.binary(max_size=40)
    | st.sampled_from([bytes(32), b"x" * 31])
    | st.text(max_size=12)
    | st.sampled_from(["index", "variant", "bundle", "a+b", "crit", "../x", "file"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=8,
)
many = settings(max_examples=150, deadline=None)


def _model() -> VerifiedModel:
    pinned = [VerifyKey.from_jwk(MANIFEST["keys"]["ed25519"])]
    return parse(BytesSource(DATA)).verify_signatures(pinned, product="demo")


def _index() -> Any:
    case = next(case for case in MANIFEST["valid"] if case["name"] == "sections")
    plain = bytearray(_model().sections[0].plain_bytes)
    _model().open_section(0, bytes.fromhex(case["data_keys"]["0"]), memoryview(plain))
    size = int.from_bytes(plain[:8], "little")
    return cbor.decode(bytes(plain[8 : 8 + size]), max_bytes=1 << 20)


INDEX, _MODEL = _index(), _model()


def paths(value: Any) -> Iterator[tuple[Any, ...]]:
    """The way to every place in a decoded value."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield (key,)
        if isinstance(value[key], (dict, list)):
            yield from ((key, *rest) for rest in paths(value[key]))


def bent(data: st.DataObject, value: Any) -> Any:
    """``value`` with one to three places replaced, removed or added."""
    changed = copy.deepcopy(value)
    for _ in range(data.draw(st.integers(1, 3))):
        found = list(paths(changed))
        if not found:
            break
        *way, last = data.draw(st.sampled_from(found))
        place = changed
        for step in way:
            place = place[step]
        match data.draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "remove":
                del place[last]
            case "add" if isinstance(place, dict):
                place[
                    data.draw(st.sampled_from(["crit", "later", "together", "stored", "role"]))
                ] = data.draw(values)
            case _:
                place[last] = data.draw(values)
    return changed


@many
@given(st.data())
def test_a_header_with_any_member_bent_is_ours_to_refuse(data: st.DataObject) -> None:
    """ContainerMalformed or ContainerVersion, or a header that encodes to itself."""
    raw = cbor.encode(bent(data, HEADER))
    try:
        header = Header.from_bytes(raw)
        layouts(PROLOGUE, header)
    except (ContainerMalformed, ContainerVersion):
        return
    assert header.to_bytes() == raw


@many
@given(st.data())
def test_an_index_with_any_member_bent_is_damage(data: st.DataObject) -> None:
    """One code, or an index that encodes to itself."""
    plain = index_format.frame(cbor.encode(bent(data, INDEX)))
    sections = _MODEL.sections
    try:
        index = index_format.decode(plain, sections, PROLOGUE.chunk_bytes)
    except ContainerDamaged:
        return
    assert index_format.encode(index) == plain


@many
@given(st.data())
def test_signatures_with_any_member_bent_are_malformed(data: st.DataObject) -> None:
    """ContainerMalformed, or only the signature bytes differ."""
    signers = _MODEL.header.signers
    whole = cbor.decode(
        DATA[PROLOGUE.signatures_offset : PROLOGUE.leaf_table_offset], max_bytes=1 << 16
    )
    try:
        found = signatures.decode(cbor.encode(bent(data, whole)), signers)
    except ContainerMalformed:
        return
    assert len(found) == len(signers)


@many
@given(st.binary(max_size=200))
def test_random_bytes_are_no_header_and_no_index(data: bytes) -> None:
    """Whatever they are, the refusal has the code of its part."""
    with pytest.raises((ContainerMalformed, ContainerVersion)):
        Header.from_bytes(data)
    with pytest.raises(ContainerDamaged):
        index_format.decode(data, _MODEL.sections, PROLOGUE.chunk_bytes)
