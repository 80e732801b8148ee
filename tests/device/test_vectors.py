"""The published vectors hold here and in a second implementation, for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.device import independent_unwrap
from tests.device.independent_unwrap import ORDER, STRONG

from modelseal.device import (
    ENTROPY_BITS,
    TraitKind,
    TraitReading,
    TraitValue,
    digest_for_server,
    unwrap,
)
from modelseal.errors import ModelsealError

FOLDER = Path(__file__).resolve().parents[2] / "vectors" / "device"
DIGESTS = json.loads((FOLDER / "digests.json").read_text(encoding="utf-8"))["digests"]
CASES = json.loads((FOLDER / "wrapped.json").read_text(encoding="utf-8"))["cases"]
GOOD = [case for case in CASES if case["secret"]]


def reading(kind: str, value: str) -> TraitReading:
    return TraitReading(TraitKind(kind), TraitValue(bytes.fromhex(value)))


@pytest.mark.parametrize("vector", DIGESTS, ids=lambda v: f"{v['kind']}-{v['digest']}")
def test_a_digest_is_the_published_one(vector: dict[str, str]) -> None:
    made = digest_for_server(
        reading(vector["kind"], vector["value"]), bytes.fromhex(vector["trait_salt"])
    )
    assert f"{made.digest:08x}" == vector["digest"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_a_wrapped_key_opens_or_is_refused_as_published(case: dict[str, Any]) -> None:
    readings = [reading(kind, value) for kind, value in case["traits"].items()]
    data = bytes.fromhex(case["file"])
    if case["secret"]:
        assert unwrap(data, readings).hex() == case["secret"]
        return
    with pytest.raises(ModelsealError) as caught:
        unwrap(data, readings)
    assert caught.value.code == case["code"]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: str(case["name"]))
def test_the_second_implementation_opens_it_too(case: dict[str, Any]) -> None:
    traits = {kind: bytes.fromhex(value) for kind, value in case["traits"].items()}
    found = independent_unwrap.open_file(bytes.fromhex(case["file"]), traits)
    assert found is not None and found.hex() == case["secret"]


def test_the_second_implementation_knows_the_same_kinds() -> None:
    assert [str(kind) for kind in TraitKind] == ORDER
    assert {str(kind) for kind in TraitKind if ENTROPY_BITS[kind] >= 80} == STRONG
