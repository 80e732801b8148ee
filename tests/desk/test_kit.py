"""The recovery passphrase: enough entropy, readable, and typing errors located."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal.desk import kit
from modelseal.errors import PassphraseWrong

KEY = kit.generate(lambda size: bytes(range(size)))


def test_a_passphrase_has_140_random_bits_in_seven_groups() -> None:
    found = kit.generate(os.urandom)
    assert found.count("-") == kit.GROUPS and len(found) == 3 + 7 * 6
    assert kit.GROUPS * kit.SYMBOLS_PER_GROUP * 5 == 140
    assert kit.generate(os.urandom) != found


@given(raw=st.binary(min_size=28, max_size=28))
def test_what_was_generated_is_understood_however_it_is_typed(raw: bytes) -> None:
    found = kit.generate(lambda _: raw)
    body = found.removeprefix("MSR-")
    typed = [
        found, found.lower(), body, body.replace("-", ""), f"  {found.replace('-', ' ')}\n",
        body.replace("0", "O").replace("1", "l"), "msr " + body.replace("1", "I"),
    ]  # fmt: skip
    assert {kit.normalise(text) for text in typed} == {found}


@given(place=st.integers(4, len(KEY) - 1), other=st.sampled_from(kit.ALPHABET))
def test_a_wrong_symbol_is_refused_and_nearly_always_located(place: int, other: str) -> None:
    if KEY[place] in ("-", other):
        return
    typed = KEY[:place] + other + KEY[place + 1 :]
    group = KEY[:place].count("-")
    try:
        found = kit.normalise(typed)
    except PassphraseWrong as error:
        assert error.params["group"] == group
    else:
        assert found != KEY  # one in 32 keeps its check symbol; the backup then refuses it


def test_swapped_groups_are_noticed() -> None:
    groups = KEY.split("-")
    groups[1], groups[2] = groups[2], groups[1]
    with pytest.raises(PassphraseWrong) as caught:
        kit.normalise("-".join(groups))
    assert caught.value.params["group"] == 1


@pytest.mark.parametrize("text", ["", "MSR", KEY[:-1], KEY + "X", "ü" * 35, "\ud800" * 35])
def test_what_is_no_passphrase_is_refused(text: str) -> None:
    with pytest.raises(PassphraseWrong):
        kit.normalise(text)


def test_the_page_names_product_and_server() -> None:
    page = kit.render(
        KEY, product="facefusion", server_id="srv_1", created_at=datetime(2026, 3, 1, tzinfo=UTC)
    )
    assert "facefusion" in page and "srv_1" in page and "2026-03-01" in page and KEY in page
