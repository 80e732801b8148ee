"""Signing and KEM keys: what they take and refuse, and that nothing prints or copies them."""

from __future__ import annotations

import copy
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from modelseal.crypto.hpke import OVERHEAD_BYTES, SUITE, KemPrivateKey, KemPublicKey
from modelseal.crypto.signing import ALGORITHMS, SigningKey, VerifyKey
from modelseal.errors import (
    InvalidBytes,
    SealedKeyInvalid,
    TokenAlgorithm,
    TokenMalformed,
    TokenSignature,
)
from modelseal.strict_json import b64u, unb64u

KEM = KemPrivateKey.generate()
KEYS = {alg: SigningKey.generate(alg) for alg in ALGORITHMS}


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_key_signs_comes_back_from_its_bytes_and_verifies_nothing_else(alg):
    key = KEYS[alg]
    again = SigningKey.from_pkcs8(key.to_pkcs8())
    assert (again.kid, again.alg) == (key.kid, alg)
    signature = again.sign(b"data")
    key.verify_key().verify(signature, b"data")
    for wrong, data in ((signature, b"datb"), (signature[:-1], b"data"), (b"", b"data")):
        with pytest.raises(TokenSignature):
            key.verify_key().verify(wrong, data)


@pytest.mark.parametrize("secret", [*KEYS.values(), KEM], ids=lambda key: key.jwk["kty"])
def test_no_private_key_is_shown_pickled_or_copied(secret):
    assert secret.kid[:8] in repr(secret) and len(repr(secret)) < 60
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            take(secret)


def test_unknown_kinds_of_key_are_refused():
    with pytest.raises(TokenAlgorithm):
        SigningKey.generate("HS256")
    form = (Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    foreign = ed448.Ed448PrivateKey.generate().private_bytes(*form)
    for data in (
        b"",
        b"\x30\x00",
        foreign,
        x25519.X25519PrivateKey.generate().private_bytes(*form),
    ):
        with pytest.raises(InvalidBytes):
            SigningKey.from_pkcs8(data)
    other_curve = ec.generate_private_key(ec.SECP384R1()).private_bytes(*form)
    with pytest.raises(TokenAlgorithm):
        SigningKey.from_pkcs8(other_curve)
    with pytest.raises(TokenAlgorithm):
        VerifyKey.from_jwk(KEYS["ES256"].jwk, "Ed25519")


@pytest.mark.parametrize(
    ("jwk", "error"),
    [
        ({"kty": "EC", "crv": "P-256", "x": b64u(b"x" * 31), "y": b64u(b"y" * 32)}, TokenMalformed),
        ({"kty": "EC", "crv": "P-256", "x": b64u(b"x" * 32), "y": b64u(b"y" * 32)}, TokenMalformed),
        ({"kty": "RSA", "n": b64u(b"\xff" * 128), "e": b64u(b"\1\0\1")}, TokenMalformed),
        ({"kty": "RSA", "n": b64u(b"\xff" * 256), "e": b64u(b"\3")}, TokenMalformed),
        ({"kty": "RSA", "n": b64u(b"\xff" * 2048), "e": b64u(b"\1\0\1")}, TokenMalformed),
        ({"kty": "OKP", "crv": "Ed448", "x": b64u(b"x" * 57)}, TokenAlgorithm),
        ({"kty": "AKP", "alg": "ML-DSA-44", "pub": b64u(b"x")}, TokenAlgorithm),
        ({"kty": "AKP", "alg": "ML-DSA-65", "pub": b64u(b"x")}, TokenMalformed),
    ],
)
def test_a_public_key_that_cannot_be_is_refused(jwk, error):
    with pytest.raises(error):
        VerifyKey.from_jwk(jwk)


@pytest.mark.parametrize("top", [0, 2**255])
@pytest.mark.parametrize(
    "point",
    [
        0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
    ],
)  # fmt: skip
def test_a_kem_key_that_shares_no_secret_with_anybody_is_none(point, top):
    kept = unb64u(KEM.jwk["pub"])[:1184]
    jwk = {**KEM.jwk, "pub": b64u(kept + (point + top).to_bytes(32, "little"))}
    with pytest.raises(TokenMalformed):
        KemPublicKey(jwk)


def test_a_kem_key_opens_what_was_sealed_to_it_and_nothing_else():
    public = KemPublicKey(KEM.jwk)
    sealed = public.seal(b"secret", b"info")
    assert len(sealed) == len(b"secret") + OVERHEAD_BYTES
    again = KemPrivateKey(KEM.to_bytes())
    assert again.open(sealed, b"info") == b"secret" and again.public_key().kid == KEM.kid
    for wrong, info in (
        (sealed, b"other"),
        (sealed[:-1], b"info"),
        (b"", b"info"),
        (b"x" * 9, b""),
    ):
        with pytest.raises(SealedKeyInvalid):
            KEM.open(wrong, info)


def test_a_kem_key_of_another_suite_or_length_is_refused():
    with pytest.raises(InvalidBytes):
        KemPrivateKey(b"x" * 95)
    for jwk, error in (
        ({"kty": "AKP", "alg": "ML-DSA-65", "pub": KEM.jwk["pub"]}, TokenAlgorithm),
        ({"kty": "AKP", "alg": SUITE, "pub": b64u(b"x" * 1215)}, TokenMalformed),
        ({"kty": "AKP", "alg": SUITE, "pub": b64u(b"\xff" * 1216)}, TokenMalformed),
    ):
        with pytest.raises(error):
            KemPublicKey(jwk)
