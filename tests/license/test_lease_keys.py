"""Data keys sealed to one KEM key, bound to one lease."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.license.world import DEVICE, IAT, LEASE, LICENSE, NONCE, PRODUCT, lease_claims, trust_of

from modelseal import cbor
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import Misuse, SealedKeyInvalid
from modelseal.license import lease_keys, tokens
from modelseal.license.claims import Entitlement, LeaseClaims
from modelseal.license.lease_keys import BUNDLE_SECTION, MAX_KEYS, Binding
from modelseal.strict_json import b64u, unb64u

KEM = KemPrivateKey.generate()
BINDING = Binding("lease", PRODUCT, LICENSE, DEVICE, LEASE, 3, IAT + 600, 0, "j" * 43)
FILE = bytes(range(32))
KEYS = {(FILE, 0): b"0" * 32, (FILE, 1): b"1" * 32, (b"\xff" * 32, BUNDLE_SECTION): b"b" * 32}

KEY_MAPS = st.dictionaries(
    st.tuples(st.binary(min_size=32, max_size=32), st.integers(-1, 2**32 - 1)),
    st.binary(min_size=32, max_size=32),
    max_size=8,
)


@settings(max_examples=30)
@given(keys=KEY_MAPS)
def test_opening_undoes_sealing(keys):
    sealed = lease_keys.seal(keys, KEM.public_key(), BINDING)
    assert sealed.recipient == KEM.kid
    assert lease_keys.open_keys(sealed, KEM, BINDING) == keys


@pytest.mark.parametrize(
    "change",
    [
        {"product": "other"},
        {"license": "lic_other"},
        {"device": "dev_other"},
        {"lease": "lea_other"},
        {"seq": 4},
        {"exp": IAT + 601},
        {"level": 1},
        {"jkt": "k" * 43},
        {"label": "release", "nonce": NONCE},
    ],
    ids=lambda change: next(iter(change)),
)
def test_keys_of_another_lease_device_level_or_time_do_not_open(change):
    sealed = lease_keys.seal(KEYS, KEM.public_key(), BINDING)
    with pytest.raises(SealedKeyInvalid):
        lease_keys.open_keys(sealed, KEM, replace(BINDING, **change))


def test_a_ciphertext_relabelled_to_another_level_or_recipient_does_not_open():
    sealed = lease_keys.seal(KEYS, KEM.public_key(), BINDING)
    other = KemPrivateKey.generate()
    with pytest.raises(SealedKeyInvalid):
        lease_keys.open_keys(sealed, other, BINDING)
    with pytest.raises(SealedKeyInvalid):
        lease_keys.open_keys(replace(sealed, recipient=other.kid), other, BINDING)
    with pytest.raises(SealedKeyInvalid):
        lease_keys.open_keys(replace(sealed, level=2), KEM, replace(BINDING, level=2))
    with pytest.raises(SealedKeyInvalid):
        lease_keys.open_keys(replace(sealed, suite="other"), KEM, BINDING)


def test_a_release_is_bound_to_its_nonce():
    release = replace(BINDING, label="release", nonce=NONCE)
    sealed = lease_keys.seal(KEYS, KEM.public_key(), release)
    assert lease_keys.open_keys(sealed, KEM, release) == KEYS
    with pytest.raises(SealedKeyInvalid):
        lease_keys.open_keys(sealed, KEM, replace(release, nonce=b64u(b"m" * 32)))


@pytest.mark.parametrize(
    "binding",
    [
        replace(BINDING, label="licence"),
        replace(BINDING, nonce=NONCE),
        replace(BINDING, label="release"),
    ],
)
def test_a_binding_has_one_of_two_labels_and_a_nonce_only_in_a_release(binding):
    with pytest.raises(Misuse):
        lease_keys.seal(KEYS, KEM.public_key(), binding)


@pytest.mark.parametrize("flip", [0, 40, 1119, 1120, -17, -1])
def test_one_flipped_bit_anywhere_is_noticed(flip):
    sealed = lease_keys.seal(KEYS, KEM.public_key(), BINDING)
    raw = bytearray(unb64u(sealed.ct))
    raw[flip] ^= 1
    with pytest.raises(SealedKeyInvalid):
        lease_keys.open_keys(replace(sealed, ct=b64u(bytes(raw))), KEM, BINDING)


@pytest.mark.parametrize("ct", ["", "AA", "=", "AB", b64u(bytes(1135)), b64u(bytes(2000))])
def test_a_ciphertext_that_is_none_is_refused(ct):
    sealed = lease_keys.seal({}, KEM.public_key(), BINDING)
    with pytest.raises(SealedKeyInvalid):
        lease_keys.open_keys(replace(sealed, ct=ct), KEM, BINDING)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        cbor.encode({}),
        cbor.encode([[FILE, 0]]),
        cbor.encode([[FILE, 0, b"short"]]),
        cbor.encode([[FILE[:-1], 0, b"k" * 32]]),
        cbor.encode([[FILE, -2, b"k" * 32]]),
        cbor.encode([[FILE, True, b"k" * 32]]),
        cbor.encode([[FILE, 2**32, b"k" * 32]]),
        cbor.encode([[FILE.hex(), 0, b"k" * 32]]),
        cbor.encode([[FILE, 0, b"k" * 32], [FILE, 0, b"l" * 32]]),
        cbor.encode([[FILE, section, b"k" * 32] for section in range(MAX_KEYS + 1)]),
        cbor.encode([1]),
        cbor.encode([]) + b"\x00",
        b"\x00" * 20000,
    ],
)
def test_a_truly_sealed_content_of_another_shape_is_refused(content):
    sealed = lease_keys.seal({}, KEM.public_key(), BINDING)
    odd = replace(sealed, ct=b64u(KEM.public_key().seal(content, BINDING.info())))
    with pytest.raises(SealedKeyInvalid):
        lease_keys.open_keys(odd, KEM, BINDING)


def test_sealing_refuses_odd_keys_and_too_many():
    for keys in ({(FILE, 0): b"short"}, {(b"x", 0): b"k" * 32}, {(FILE, -2): b"k" * 32}):
        with pytest.raises(Misuse):
            lease_keys.seal(keys, KEM.public_key(), BINDING)
    with pytest.raises(Misuse):
        many = {(FILE, section): b"k" * 32 for section in range(MAX_KEYS + 1)}
        lease_keys.seal(many, KEM.public_key(), BINDING)


def test_sixty_four_keys_fit_a_lease_of_one_signature(key, device):
    keys = {(bytes([n]) * 32, 2**32 - 1): b"k" * 32 for n in range(MAX_KEYS)}
    sealed = lease_keys.seal(keys, KEM.public_key(), BINDING)
    ent = [{"id": f"entitlement.number{n}", "min_level": 2, "exp": IAT} for n in range(30)]
    claims = lease_claims(
        device.kid, keys=[sealed], ent=msgspec.convert(ent, list[Entitlement]), prev=LEASE
    )
    token = tokens.sign(claims, [key])
    assert len(token) < tokens.MAX_BYTES
    assert tokens.read(token, LeaseClaims, trust_of(key)).keys == [sealed]
