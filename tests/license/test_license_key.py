"""The license key: what is typed, what is found wrong, and who may open it."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.license.world import NONCE, PRODUCT, SERVER

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import LicenseKeyMistyped, Misuse, SealedKeyInvalid
from modelseal.ids import CROCKFORD
from modelseal.license import license_key
from modelseal.license.license_key import KeyBinding
from modelseal.strict_json import b64u

RAW = st.binary(min_size=10, max_size=10)
SAMPLE = bytes.fromhex("00112233445566778899")
TEXT = license_key.format_key(SAMPLE)
BINDING = KeyBinding(SERVER, PRODUCT, "j" * 43, NONCE)


@given(raw=RAW)
def test_parsing_undoes_formatting(raw):
    text = license_key.format_key(raw)
    assert license_key.parse(text) == raw
    assert len(text) == 26
    assert [len(part) for part in text.split("-")] == [2, 5, 5, 5, 5]
    assert license_key.format_key(license_key.parse(text)) == text


@given(raw=RAW, style=st.sampled_from(range(9)))
def test_a_key_may_be_typed_in_many_ways(raw, style):
    text = license_key.format_key(raw)
    body = text[3:]
    typed = [
        text.lower(),
        text.replace("-", ""),
        f"  {text}\r\n",
        body,
        body.replace("-", " ").lower(),
        text.replace("-", "\u2013"),
        text.replace("0", "O").replace("1", "l"),
        text.replace("0", "o").replace("1", "I"),
        "".join(chr(ord(char) + 0xFEE0) for char in text),
    ][style]
    assert license_key.parse(typed) == raw


@given(raw=RAW)
def test_every_wrong_symbol_is_found_and_its_group_named(raw):
    groups = license_key.format_key(raw).split("-")[1:]
    for place, index in itertools.product(range(4), range(5)):
        for symbol in CROCKFORD:
            if symbol == groups[place][index]:
                continue
            wrong = groups.copy()
            wrong[place] = groups[place][:index] + symbol + groups[place][index + 1 :]
            assert _group(wrong) == place + 1


@given(raw=RAW)
def test_every_exchange_of_two_symbols_in_a_group_is_found(raw):
    groups = license_key.format_key(raw).split("-")[1:]
    for place in range(4):
        for i, j in itertools.combinations(range(5), 2):
            letters = list(groups[place])
            letters[i], letters[j] = letters[j], letters[i]
            if "".join(letters) != groups[place]:
                wrong = groups.copy()
                wrong[place] = "".join(letters)
                assert _group(wrong) == place + 1


def test_every_pair_of_exchanged_or_doubled_symbols_is_found_for_all_values():
    """Exhaustive over the algebra: all places, all pairs of values."""
    group = "0000"
    for i, j in itertools.combinations(range(4), 2):
        for a, b in itertools.permutations(range(32), 2):
            mine, swapped = list(group), list(group)
            mine[i], mine[j] = CROCKFORD[a], CROCKFORD[b]
            swapped[i], swapped[j] = CROCKFORD[b], CROCKFORD[a]
            assert _check("".join(mine)) != _check("".join(swapped))
            twin, other = list(group), list(group)
            twin[i] = twin[j] = CROCKFORD[a]
            other[i] = other[j] = CROCKFORD[b]
            assert _check("".join(twin)) != _check("".join(other))


@given(raw=RAW)
def test_groups_in_another_order_are_found(raw):
    groups = license_key.format_key(raw).split("-")[1:]
    for order in itertools.permutations(range(4)):
        if order != (0, 1, 2, 3):
            first = next(place for place in range(4) if order[place] != place)
            assert _group([groups[place] for place in order]) == first + 1


@given(typed=st.text(max_size=140))
def test_whatever_is_typed_gives_a_key_or_our_error(typed):
    try:
        raw = license_key.parse(typed)
    except LicenseKeyMistyped:
        return
    assert license_key.parse(license_key.format_key(raw)) == raw


@pytest.mark.parametrize(
    "typed",
    ["", "MS", TEXT[:-1], TEXT + "0", TEXT * 2, "x" * 10_000, None, 5, b"MS", TEXT[3:] + "MS"],
)
def test_a_key_of_another_length_names_no_group(typed):
    with pytest.raises(LicenseKeyMistyped) as found:
        license_key.parse(typed)
    assert "group" not in found.value.params


@pytest.mark.parametrize("char", ["U", "!", "ß", "0\u0338", "一"])
def test_a_character_outside_the_alphabet_names_its_group(char):
    typed = f"{TEXT[:9]}{char[0]}{TEXT[10:]}"
    with pytest.raises(LicenseKeyMistyped):
        license_key.parse(typed)


def test_the_error_shows_nothing_of_the_key():
    with pytest.raises(LicenseKeyMistyped) as found:
        license_key.parse(TEXT[:-1] + ("0" if TEXT[-1] != "0" else "1"))
    assert found.value.params == {"group": 4}
    assert TEXT[3:8] not in str(found.value)


def test_a_fresh_key_has_eighty_bits_of_the_given_randomness():
    asked = []

    def random(count):
        asked.append(count)
        return SAMPLE

    assert license_key.generate(random) == TEXT
    assert asked == [10]
    assert license_key.generate(secrets.token_bytes) != license_key.generate(secrets.token_bytes)


def test_only_ten_bytes_make_a_key():
    for raw in (b"", b"x" * 9, b"x" * 11):
        with pytest.raises(Misuse):
            license_key.format_key(raw)


def test_opening_undoes_sealing(kem):
    sealed = license_key.seal(TEXT.lower(), kem.public_key(), BINDING)
    assert license_key.open_key(sealed, kem, BINDING) == SAMPLE


def test_a_sealed_key_opens_for_no_other_request_device_server_or_product(kem):
    sealed = license_key.seal(TEXT, kem.public_key(), BINDING)
    for change in ({"server": "x"}, {"product": "x"}, {"jkt": "x"}, {"nonce": "x"}):
        with pytest.raises(SealedKeyInvalid):
            license_key.open_key(sealed, kem, replace(BINDING, **change))
    with pytest.raises(SealedKeyInvalid):
        license_key.open_key(sealed, KemPrivateKey.generate(), BINDING)
    for change in ({"suite": "x"}, {"recipient": "r" * 43}, {"ct": "="}, {"ct": "AAAA"}):
        with pytest.raises(SealedKeyInvalid):
            license_key.open_key(msgspec.structs.replace(sealed, **change), kem, BINDING)
    short = b64u(kem.public_key().seal(b"short", BINDING.info()))
    with pytest.raises(SealedKeyInvalid):
        license_key.open_key(msgspec.structs.replace(sealed, ct=short), kem, BINDING)


def test_a_mistyped_key_is_never_sealed(kem):
    with pytest.raises(LicenseKeyMistyped):
        license_key.seal("MS-00000-00000-00000-00000", kem.public_key(), BINDING)


def _group(groups: list[str]) -> int:
    with pytest.raises(LicenseKeyMistyped) as found:
        license_key.parse("-".join(["MS", *groups]))
    return found.value.params["group"]


def _check(data: str) -> str:
    """The check symbol of a first group with these four symbols."""
    number = 0
    for symbol in data:
        number = number << 5 | CROCKFORD.index(symbol)
    return license_key.format_key((number << 60).to_bytes(10, "big"))[7]
