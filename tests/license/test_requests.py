"""Requests: signed by the device, each proving possession of its key."""

from __future__ import annotations

import msgspec
import pytest
from tests.license.world import (
    LICENSE,
    SERVER,
    lease_claims,
    raw_token,
    request_claims,
)

from modelseal.crypto.signing import SigningKey, VerifyKey
from modelseal.errors import (
    TokenAlgorithm,
    TokenAudience,
    TokenClaims,
    TokenHeader,
    TokenIssuer,
    TokenKeyUnknown,
    TokenMalformed,
    TokenSignature,
    TokenTooLarge,
    TokenType,
)
from modelseal.license import tokens
from modelseal.license.claims import KemKey, TraitDigest


def header(key):
    return {"alg": key.alg, "kid": key.kid, "typ": "request+jwt"}


def raw(key, **changes):
    payload = msgspec.to_builtins(request_claims(key)) | changes
    return raw_token(header(key), {n: v for n, v in payload.items() if v is not ...}, key)


@pytest.mark.parametrize("alg", ["Ed25519", "ES256"])
def test_a_request_is_read_with_the_enrolled_key_and_introduces_itself_at_first(keys, kem, alg):
    claims = request_claims(
        keys[alg], kem, traits=[TraitDigest("machine_id", 7)], label="Laptop", vm=False
    )
    token = tokens.sign(claims, [keys[alg]])
    assert tokens.read_request(token, server_id=SERVER, jwk=None) == claims
    assert tokens.read_request(token, server_id=SERVER, jwk=keys[alg].jwk) == claims


@pytest.mark.parametrize("alg", ["RS256", "ML-DSA-65"])
def test_a_device_signs_by_no_other_algorithm(keys, alg):
    token = tokens.sign(request_claims(keys[alg]), [keys[alg]])
    with pytest.raises(TokenAlgorithm):
        tokens.read_request(token, server_id=SERVER, jwk=None)


@pytest.mark.parametrize("op", ["renew", "return", "release"])
def test_only_an_enrolled_key_may_renew_return_or_release(device, op):
    token = tokens.sign(request_claims(device, op=op, sub="dev_x", lic=LICENSE), [device])
    assert tokens.read_request(token, server_id=SERVER, jwk=device.jwk).op == op
    with pytest.raises(TokenKeyUnknown):
        tokens.read_request(token, server_id=SERVER)
    assert tokens.read_request(token, server_id=SERVER, any_operation=True).op == op


@pytest.mark.parametrize("op", ["lookup", "trial", "activate"])
def test_a_new_device_may_look_up_try_and_activate(device, op):
    token = tokens.sign(request_claims(device, op=op), [device])
    assert tokens.read_request(token, server_id=SERVER, jwk=None).op == op


def test_another_device_cannot_ask_in_the_name_of_an_enrolled_one(device, other_key):
    own = tokens.sign(request_claims(other_key), [other_key])
    with pytest.raises(TokenKeyUnknown):
        tokens.read_request(own, server_id=SERVER, jwk=device.jwk)
    borrowed = msgspec.to_builtins(request_claims(device))
    with pytest.raises(TokenSignature):
        tokens.read_request(
            raw_token(header(device), borrowed, other_key), server_id=SERVER, jwk=None
        )
    with pytest.raises(TokenKeyUnknown):
        tokens.read_request(
            raw_token(header(other_key), borrowed, other_key), server_id=SERVER, jwk=None
        )


def test_iss_and_jwk_name_the_key_that_signed(device, other_key):
    for changes in ({"iss": other_key.kid}, {"jwk": dict(other_key.jwk)}):
        with pytest.raises(TokenIssuer):
            tokens.read_request(raw(device, **changes), server_id=SERVER, jwk=device.jwk)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"aud": "srv_other"}, TokenAudience),
        ({"op": "admin"}, TokenKeyUnknown),
        ({"op": ["activate"]}, TokenKeyUnknown),
        ({"jwk": ...}, TokenClaims),
        ({"jwk": "x"}, TokenClaims),
        ({"jwk": {}}, TokenMalformed),
        ({"jwk": {"kty": "oct", "k": "AAAA"}}, TokenMalformed),
        ({"jwk": {"kty": "OKP", "crv": "X25519", "x": "A" * 43}}, TokenAlgorithm),
        ({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AA"}}, TokenMalformed),
        ({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": 5}}, TokenMalformed),
        ({"nonce": "short"}, TokenClaims),
        ({"clock": {"wall": 1}}, TokenClaims),
        ({"kem": [{"suite": "s", "pub": "p"}] * 66}, TokenClaims),
        ({"traits": [{"kind": "mac", "digest": 2**32}]}, TokenClaims),
        ({"traits": [{"kind": "mac", "digest": 1, "value": "00:11"}]}, TokenClaims),
        ({"seq": -1}, TokenClaims),
        ({"label": "x" * 65}, TokenClaims),
        ({"vm": 1}, TokenClaims),
        ({"root": True}, TokenClaims),
    ],
)
def test_an_odd_request_is_refused_with_its_code(device, changes, error):
    with pytest.raises(error):
        tokens.read_request(raw(device, **changes), server_id=SERVER, jwk=None)


def test_a_request_is_no_other_token_and_no_other_token_is_a_request(device, keys):
    with pytest.raises(TokenType):
        tokens.read_request(
            tokens.sign(lease_claims(device.kid), [device]), server_id=SERVER, jwk=device.jwk
        )
    with pytest.raises(TokenHeader):
        extra = header(device) | {"jwk": dict(device.jwk)}
        body = msgspec.to_builtins(request_claims(device))
        tokens.read_request(raw_token(extra, body, device), server_id=SERVER, jwk=None)
    with pytest.raises(TokenSignature):
        both = tokens.sign(request_claims(device), [device, keys["ML-DSA-65"]])
        tokens.read_request(both, server_id=SERVER, jwk=device.jwk)


def test_the_online_cap_and_the_air_gap_cap_are_different(device, kem):
    one = KemKey("s", kem.jwk["pub"])
    large = tokens.sign(request_claims(device, kem=[one] * 65, next_count=64), [device])
    with pytest.raises(TokenTooLarge):
        tokens.read_request(large, server_id=SERVER, jwk=device.jwk)
    claims = tokens.read_request(
        large, server_id=SERVER, jwk=device.jwk, max_bytes=tokens.MAX_AIR_GAP_BYTES
    )
    assert claims.next_count == 64


def test_a_request_may_carry_the_longest_lease_beside_everything_else(device, kem):
    claims = request_claims(
        device,
        kem,
        op="renew",
        lease_token="A" * 16384,
        traits=[TraitDigest("machine_id", 2**32 - 1, "low", privileged=True)] * 64,
        label="x" * 64,
    )
    token = tokens.sign(claims, [device])
    assert tokens.read_request(token, server_id=SERVER, jwk=device.jwk) == claims


def test_two_requests_of_one_device_differ_only_where_they_should():
    key = SigningKey.generate()
    assert tokens.sign(request_claims(key), [key]) == tokens.sign(request_claims(key), [key])


def test_a_request_that_says_what_its_absence_would_is_read_the_same(device):
    plain = raw(device, op="activate")
    told = raw(device, op="activate", seq=0, kem=[], memory="none")
    assert told != plain
    read = [tokens.read_request(token, server_id=SERVER) for token in (plain, told)]
    assert read[0] == read[1]


def test_a_request_with_escapes_in_its_texts_is_read(device):
    token = tokens.sign(request_claims(device, op="activate", label='"a\\b"\n'), [device])
    assert tokens.read_request(token, server_id=SERVER).label == '"a\\b"\n'


def test_an_enrolled_key_may_be_given_with_the_thumbprint_it_is_stored_beside(device, keys):
    token = tokens.sign(request_claims(device, op="renew"), [device])
    known = VerifyKey.known(device.jwk, device.kid)
    assert known == device.verify_key()
    assert tokens.read_request(token, server_id=SERVER, jwk=known).op == "renew"
    other = VerifyKey.known(keys["ES256"].jwk, keys["ES256"].kid)
    with pytest.raises(TokenKeyUnknown):
        tokens.read_request(token, server_id=SERVER, jwk=other)
