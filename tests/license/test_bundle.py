"""Key bundles: many keys in one object that a lease names by its digest."""

from __future__ import annotations

import hashlib
import secrets

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from modelseal import cbor
from modelseal.errors import Misuse, SealedKeyInvalid
from modelseal.license import bundle

KEY = bytes(range(32))
FILE = b"f" * 32
NAMES = {"product": "facefusion", "license": "lic_1"}
KEYS = {(FILE, section): bytes([section]) * 32 for section in range(70)}
VARIANTS = {(FILE, 99): ((b"l" * 16, b"k" * 32), (b"m" * 16, b"n" * 32))}

PLACES = st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1))
SECRET = st.binary(min_size=32, max_size=32)
CHUNKS = st.lists(st.tuples(st.binary(min_size=16, max_size=16), SECRET), max_size=3)


def seal(keys=KEYS, random=secrets.token_bytes, **more):
    return bundle.seal_bundle(keys, bundle_key=KEY, random=random, **NAMES, **more)


def opened(data, *, reader=bundle.open_bundle, **changes):
    values = {"digest": hashlib.sha256(data).digest(), "bundle_key": KEY, **NAMES} | changes
    return reader(data, **values)


@settings(max_examples=50)
@given(
    keys=st.dictionaries(PLACES, SECRET, max_size=5),
    variants=st.dictionaries(PLACES, CHUNKS, max_size=3),
)
def test_opening_undoes_sealing(keys, variants):
    data = seal(keys, variants=variants)
    assert opened(data) == keys
    found = opened(data, reader=bundle.open_variants)
    assert found == {place: tuple(chunks) for place, chunks in variants.items()}


def test_the_same_keys_and_nonce_give_the_same_bytes():
    def fixed(count):
        return b"r" * count

    assert seal(random=fixed) == seal(dict(reversed(KEYS.items())), random=fixed)
    assert seal() != seal()


@pytest.mark.parametrize(
    "changes",
    [
        {"product": "other"},
        {"license": "lic_2"},
        {"bundle_key": bytes(32)},
        {"bundle_key": b"short"},
        {"digest": bytes(32)},
        {"digest": b""},
    ],
)
def test_a_bundle_opens_only_as_the_lease_names_it(changes):
    with pytest.raises(SealedKeyInvalid):
        opened(seal(), **changes)


@given(place=st.integers(0, 400), bit=st.integers(0, 7))
def test_one_flipped_bit_is_noticed_even_under_its_own_digest(place, bit):
    data = bytearray(seal({(FILE, 0): b"k" * 32}, variants=VARIANTS))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(SealedKeyInvalid):
        opened(bytes(data))


@given(noise=st.binary(max_size=200))
def test_noise_is_no_bundle(noise):
    with pytest.raises(SealedKeyInvalid):
        opened(noise)


def test_a_bundle_has_at_most_one_mebibyte():
    many = {(FILE, 0): [(b"l" * 16, b"k" * 32)] * 21_000}
    with pytest.raises(Misuse):
        seal({}, variants=many)
    fits = {(FILE, 0): [(b"l" * 16, b"k" * 32)] * 19_000}
    data = seal({}, variants=fits)
    assert len(data) <= bundle.MAX_BYTES
    assert len(opened(data, reader=bundle.open_variants)[FILE, 0]) == 19_000
    with pytest.raises(SealedKeyInvalid):
        opened(data + bytes(bundle.MAX_BYTES))


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"keys": []},
        {"keys": [], "variants": [], "more": []},
        {"keys": {}, "variants": []},
        {"keys": [1], "variants": []},
        {"keys": [[FILE, 0]], "variants": []},
        {"keys": [[FILE, -1, b"k" * 32]], "variants": []},
        {"keys": [[FILE, True, b"k" * 32]], "variants": []},
        {"keys": [[FILE, 2**32, b"k" * 32]], "variants": []},
        {"keys": [[FILE[:-1], 0, b"k" * 32]], "variants": []},
        {"keys": [[FILE, 0, b"k" * 31]], "variants": []},
        {"keys": [[FILE, 0, b"k" * 32], [FILE, 0, b"k" * 32]], "variants": []},
        {"keys": [[FILE, 1, b"k" * 32], [FILE, 0, b"k" * 32]], "variants": []},
        {"keys": [], "variants": [[FILE, 0, b"k" * 32]]},
        {"keys": [], "variants": [[FILE, 0, [[b"l" * 15, b"k" * 32]]]]},
        {"keys": [], "variants": [[FILE, 0, [[b"l" * 16, b"k" * 31]]]]},
        {"keys": [], "variants": [[FILE, 0, [[b"l" * 16]]]]},
        {"keys": [], "variants": [[FILE, 0, ["x"]]]},
        {1: [], "variants": []},
    ],
)
def test_a_truly_sealed_content_of_another_shape_is_refused(content):
    context = cbor.encode(["modelseal", "key-bundle", 1, *NAMES.values()])
    sealed = AESGCM(KEY).encrypt(b"n" * 12, cbor.encode(content), context)
    data = bundle.MAGIC + b"\x01" + b"n" * 12 + sealed
    with pytest.raises(SealedKeyInvalid):
        opened(data)


def test_content_that_is_no_deterministic_cbor_is_refused():
    context = cbor.encode(["modelseal", "key-bundle", 1, *NAMES.values()])
    sealed = AESGCM(KEY).encrypt(b"n" * 12, b"\xff", context)
    with pytest.raises(SealedKeyInvalid):
        opened(bundle.MAGIC + b"\x01" + b"n" * 12 + sealed)


def test_another_version_says_so():
    data = bytearray(seal())
    data[8] = 2
    with pytest.raises(SealedKeyInvalid, match="another version"):
        opened(bytes(data))


def test_odd_keys_are_never_sealed():
    for keys in ({(FILE, 0): b"short"}, {(b"x", 0): b"k" * 32}, {(FILE, -1): b"k" * 32}):
        with pytest.raises(Misuse):
            seal(keys)
    with pytest.raises(Misuse):
        bundle.seal_bundle(KEYS, bundle_key=b"short", random=secrets.token_bytes, **NAMES)
