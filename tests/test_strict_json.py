"""Strict JSON and base64url: one spelling of everything, also where it is read quickly."""

from __future__ import annotations

import base64
import random
import string

import msgspec
import pytest
from msgspec import Struct

from modelseal.strict_json import (
    JsonInvalid,
    b64u,
    decode_as,
    decode_canonical,
    encode,
    encode_plain,
    unb64u,
)

LETTERS = string.ascii_letters + string.digits + "-_"


class Part(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    n: int = 0


class Whole(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    zeta: str
    alpha: dict[str, str]
    part: Part | None = None


WHOLE = msgspec.json.Decoder(Whole)


def test_of_all_texts_base64url_takes_exactly_those_it_writes() -> None:
    rng = random.Random(7)
    taken = 0
    for size in range(5):
        for _ in range(3000):
            text = "".join(rng.choice(LETTERS) for _ in range(size))
            try:
                assert b64u(unb64u(text)) == text
                taken += 1
            except JsonInvalid:
                data = [bytes(rng.randbytes(size * 3 // 4)) for _ in range(20)]
                assert text not in map(b64u, data)
    assert taken > 3000
    for size in (*range(64), *range(120, 260), 5000):
        data = rng.randbytes(size)
        assert b64u(data) == base64.urlsafe_b64encode(data).decode().rstrip("=")
        assert unb64u(b64u(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "AB",
        "AAB",
        "AA==",
        "+A",
        "/A",
        "A A",
        "AA\n",
        "AAAA\n",
        "=",
        "AAAAA",
        "é",
        "A\0",
        "\ud800",
        '"A',
        "\\u0041",
        "\t",
        "AAA=",
    ],
)
@pytest.mark.parametrize("before", [0, 200, 1000])
def test_no_other_spelling_of_base64url_is_taken(text: str, before: int) -> None:
    with pytest.raises(JsonInvalid):
        unb64u("A" * before + text)


def test_a_struct_is_read_quickly_from_its_own_canonical_bytes_only() -> None:
    whole = Whole(zeta="ü", alpha={"b": "1", "a": "2"}, part=Part(n=3))
    data = encode_plain(whole)
    assert data == encode(msgspec.to_builtins(whole))
    assert decode_as(data, WHOLE) == whole
    assert msgspec.convert(decode_canonical(data, max_bytes=1000), Whole) == whole


@pytest.mark.parametrize(
    "data",
    [
        b'{"zeta":"z","alpha":{}}',
        b'{"alpha":{},"zeta":"z"} ',
        b'{"alpha":{}, "zeta":"z"}',
        b'{"alpha":{"a":"1","a":"2"},"zeta":"z"}',
        b'{"alpha":{},"alpha":{},"zeta":"z"}',
        b'{"alpha":{},"more":1,"zeta":"z"}',
        b'{"alpha":{},"part":{"n":1.0},"zeta":"z"}',
        b'{"alpha":{},"part":{"n":0},"zeta":"z"}',
        b'{"alpha":{},"part":null,"zeta":"z"}',
        b'{"alpha":{},"zeta":"\\u007a"}',
        b'{"alpha":{},"zeta":"\xff"}',
        b'{"alpha":{},"zeta":1}',
        b"[]",
        b"",
    ],
)
def test_whatever_else_is_left_to_the_reader_that_says_why(data: bytes) -> None:
    assert decode_as(data, WHOLE) is None


def test_a_text_that_needs_escapes_is_written_canonically_from_a_struct_too() -> None:
    whole = Whole(zeta='"\\\n\x7f', alpha={})
    assert encode_plain(whole) == encode(msgspec.to_builtins(whole))
    assert decode_as(encode_plain(whole), WHOLE) is None
