"""modelseal agrees with the vectors, which were made from the specification by other code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelseal import errors
from modelseal.license import air_gap, lease_code, parts
from modelseal.license.lease_code import CodeBinding

FOLDER = Path(__file__).parents[2] / "vectors" / "airgap"


def _read(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


RESPONSES, CODES, PARTS = _read("responses"), _read("codes"), _read("parts")


@pytest.mark.parametrize("vector", RESPONSES["valid"], ids=lambda v: v["name"])
def test_a_valid_response_is_read_and_written_again_byte_for_byte(vector):
    """What is in it, and the one way to write it."""
    data = bytes.fromhex(vector["file"])
    found = air_gap.decode(data)
    assert air_gap.encode(found) == data
    assert _plain(msgspec.to_builtins(found, builtin_types=(bytes,))) == vector["body"]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("vector", RESPONSES["refused"], ids=lambda v: v["name"])
def test_what_is_no_response_is_refused_with_its_code(vector):
    """One code for every way a file can be no response."""
    with pytest.raises(errors.ModelsealError) as caught:
        air_gap.decode(bytes.fromhex(vector["file"]))
    assert caught.value.code == vector["code"]


def test_codes_are_written_and_typed_as_specified():
    """105 bits, seven groups; typed forms mean the same, mistyped ones name their group."""
    for vector in CODES["codes"]:
        raw = int(vector["number"], 16) << 7
        made = lease_code.generate(lambda size, raw=raw: raw.to_bytes(size, "big"))
        assert made == vector["code"] == lease_code.normal(made)
    for vector in CODES["typed"]:
        assert lease_code.normal(vector["typed"]) == vector["code"]
    for vector in CODES["mistyped"]:
        with pytest.raises(errors.CodeMistyped) as caught:
            lease_code.normal(vector["typed"])
        assert caught.value.params.get("group") == vector["group"]


def test_a_lease_under_a_code_is_sealed_as_specified():
    """Both directions; another place opens nothing."""
    for vector in CODES["nonces"]:
        assert lease_code.next_nonce(vector["nonce"], vector["place"]) == vector["request_nonce"]
    for vector in CODES["sealed"]:
        binding = CodeBinding(**vector["binding"])
        sealed = bytes.fromhex(vector["sealed"])
        assert lease_code.seal(vector["code"], vector["token"], binding) == sealed
        assert lease_code.open_(vector["code"], sealed, binding) == vector["token"]
        for field, other in (("seq", 9), ("device", "dev_x"), ("nonce", "n"), ("product", "p")):
            moved = CodeBinding(**{**vector["binding"], field: other})
            with pytest.raises(errors.CodeUnknown):
                lease_code.open_(vector["code"], sealed, moved)


def test_parts_are_split_and_joined_as_specified():
    """The same lines, and each refusal with its code."""
    data = bytes.fromhex(PARTS["file"])
    assert parts.split(data) == PARTS["lines"]
    assert parts.join("\n".join(PARTS["lines"]).encode(), max_bytes=5000) == data
    for vector in PARTS["refused"]:
        with pytest.raises(errors.ModelsealError) as caught:
            parts.join("\n".join(vector["lines"]).encode(), max_bytes=5000)
        assert caught.value.code == vector["code"], vector["name"]
