"""The outer checks of small parsers: too long, too short, not what it says."""

from __future__ import annotations

import zlib

import pytest

from modelseal import strict_json
from modelseal.errors import InvalidBytes, Misuse, PartDamaged, ResponseMalformed
from modelseal.license import air_gap, parts
from modelseal.license.typed import Form
from modelseal.strict_json import JsonInvalid
from modelseal.types import EntitlementExpression


def test_what_is_longer_than_any_response_or_set_of_codes_is_refused_before_it_is_read():
    with pytest.raises(ResponseMalformed, match="longer"):
        air_gap.decode(air_gap.MAGIC + bytes(air_gap.MAX_BYTES))
    with pytest.raises(PartDamaged, match="longer"):
        parts.join("x" * (parts.MAX_TEXT_BYTES + 1), max_bytes=10)


@pytest.mark.parametrize("body", ["1", "!!", parts._b32(b"no zlib"), parts._b32(b"")])
def test_a_set_whose_parts_hold_and_whose_whole_does_not_is_damaged(body):
    with pytest.raises(PartDamaged, match="whole"):
        parts._inflate(body, 100)


def test_a_set_that_inflates_beyond_its_bound_is_damaged():
    with pytest.raises(PartDamaged, match="too long"):
        parts._inflate(parts._b32(zlib.compress(bytes(10_000))), 100)


def test_strict_json_takes_no_more_than_it_is_told_to_and_base64url_only_from_text():
    with pytest.raises(JsonInvalid, match="longer"):
        strict_json.decode(b"[]" + b" " * 10, max_bytes=5)
    with pytest.raises(JsonInvalid):
        strict_json.unb64u(b"AA")
    assert issubclass(JsonInvalid, InvalidBytes)


def test_an_expression_without_a_name_does_not_exist():
    for empty in ((), (frozenset(),)):
        with pytest.raises(Misuse):
            EntitlementExpression(empty)


def test_a_form_knows_how_many_symbols_and_bits_it_has():
    form = Form(groups=4, data=4, prefix="MS")
    assert (form.symbols, form.bits) == (20, 80)
