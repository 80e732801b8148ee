"""The outer checks of small parsers: too long, too short, not what it says."""

from __future__ import annotations

import hashlib
import zlib

import pytest

from modelseal import cbor, strict_json
from modelseal.errors import ConfigInvalid, InvalidBytes, Misuse, PartDamaged, ResponseMalformed
from modelseal.license import air_gap, parts, plans
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


def _wrapped(body: bytes) -> bytes:
    whole = air_gap.MAGIC + bytes([air_gap.VERSION]) + body
    return whole + hashlib.sha256(whole).digest()


@pytest.mark.parametrize(
    "body", [b"", b"\xff", cbor.encode([]), cbor.encode({"server": 1}), cbor.encode({"op": "x"})]
)
def test_a_response_whose_checksum_holds_may_still_say_nothing(body):
    with pytest.raises(ResponseMalformed):
        air_gap.decode(_wrapped(body))


def test_a_response_is_written_in_one_way():
    response = air_gap.Response(
        server="srv", product="p", jkt="k" * 43, nonce="n" * 43, op="return", event_id="evt",
        seat_free_at=5,
    )  # fmt: skip
    data = air_gap.encode(response)
    assert air_gap.decode(data) == response
    body = data[len(air_gap.MAGIC) + 1 : -air_gap.DIGEST_BYTES]
    value = cbor.decode(body, max_bytes=len(body))
    with pytest.raises(ResponseMalformed, match="one way"):
        air_gap.decode(_wrapped(cbor.encode({**value, "next": []})))


def test_parts_of_another_whole_under_the_same_name_are_found():
    mine, other = parts.split(b"mine" * 9)[0], parts.split(b"other" * 9)[0]
    name, piece = mine.split(":")[1], other.rpartition(":")[2]
    forged = f"{parts.PREFIX}:{name}:1/1:{parts._sum(name, 1, 1, piece)}:{piece}"
    with pytest.raises(PartDamaged, match="whole"):
        parts.join(forged.encode(), max_bytes=100)
    assert parts.join(mine.encode(), max_bytes=100) == b"mine" * 9


def test_a_meter_per_period_needs_a_period():
    meter = {"name": "pictures", "limit": 5, "per": "period"}
    terms = {"entitlements": [{"id": "face.swap"}], "meters": [meter]}
    with pytest.raises(ConfigInvalid):
        plans.parse(terms)
    assert plans.parse(terms | {"period_seconds": 86400}).meters[0].per == "period"
