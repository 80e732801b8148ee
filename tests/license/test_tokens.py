"""Signing and reading tokens."""

from __future__ import annotations

import json

import msgspec
import pytest
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from tests.license.world import (
    ALGORITHMS,
    IAT,
    PRODUCT,
    FakeTrust,
    every_claims,
    lease_claims,
    license_claims,
    raw_token,
    request_claims,
    trust_of,
)

from modelseal.errors import (
    Misuse,
    TokenAlgorithm,
    TokenAudience,
    TokenClaims,
    TokenIssuer,
    TokenKeyUnknown,
    TokenMalformed,
    TokenSignature,
    TokenTooLarge,
    TokenType,
)
from modelseal.license import tokens
from modelseal.license.claims import (
    DenialClaims,
    LeaseClaims,
    LicenseClaims,
    RequestClaims,
    SealedKeys,
)
from modelseal.strict_json import b64u, encode

_JOSERFC = {"OKP": OKPKey, "EC": ECKey, "RSA": RSAKey}


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_what_is_signed_is_read_again_for_every_kind_and_algorithm(keys, device, alg):
    trust = trust_of(keys[alg])
    for claims in every_claims(device.kid):
        token = tokens.sign(claims, [keys[alg]])
        assert tokens.read(token, type(claims), trust) == claims
        assert tokens.read(token.encode(), type(claims), trust) == claims
        assert tokens.peek_typ(token) == claims.TYP


def test_a_hybrid_set_signs_general_json_and_both_are_demanded(keys, device):
    pair = [keys["Ed25519"], keys["ML-DSA-65"]]
    trust = trust_of(*pair)
    claims = lease_claims(device.kid)
    token = tokens.sign(claims, pair)
    assert json.loads(token).keys() == {"payload", "signatures"}
    assert tokens.read(token, LeaseClaims, trust) == claims
    assert tokens.read(tokens.sign(claims, pair[::-1]), LeaseClaims, trust) == claims
    for alone in pair:
        with pytest.raises(TokenSignature):
            tokens.read(tokens.sign(claims, [alone]), LeaseClaims, trust)


def test_a_second_signature_that_the_trust_does_not_demand_is_refused(keys, device):
    token = tokens.sign(lease_claims(device.kid), [keys["Ed25519"], keys["ML-DSA-65"]])
    with pytest.raises(TokenSignature):
        tokens.read(token, LeaseClaims, trust_of(keys["Ed25519"]))


def test_one_broken_half_of_a_hybrid_token_breaks_it(keys, device):
    pair = [keys["Ed25519"], keys["ML-DSA-65"]]
    token = json.loads(tokens.sign(lease_claims(device.kid), pair))
    for index in (0, 1):
        broken = json.loads(json.dumps(token))
        signature = broken["signatures"][index]["signature"]
        broken["signatures"][index]["signature"] = (
            "B" if signature[0] == "A" else "A"
        ) + signature[1:]
        with pytest.raises(TokenSignature):
            tokens.read(encode(broken), LeaseClaims, trust_of(*pair))


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_joserfc_verifies_what_we_sign(keys, device, alg):
    key = _JOSERFC[keys[alg].jwk["kty"]].import_key(keys[alg].jwk)
    for claims in every_claims(device.kid):
        found = joserfc_jws.deserialize_compact(
            tokens.sign(claims, [keys[alg]]), key, algorithms=[alg]
        )
        assert found.headers() == {"alg": alg, "kid": keys[alg].kid, "typ": claims.TYP}
        assert json.loads(found.payload) == msgspec.to_builtins(claims)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_we_verify_what_joserfc_signs(keys, device, alg):
    kind = _JOSERFC[keys[alg].jwk["kty"]]
    private = kind.import_key(keys[alg]._private)
    for claims in every_claims(device.kid):
        header = {"alg": alg, "kid": keys[alg].kid, "typ": claims.TYP}
        payload = encode(msgspec.to_builtins(claims))
        token = joserfc_jws.serialize_compact(header, payload, private, algorithms=[alg])
        assert tokens.read(token, type(claims), trust_of(keys[alg])) == claims


def test_joserfc_verifies_the_classic_half_of_a_hybrid_token(keys, device):
    claims = lease_claims(device.kid)
    token = json.loads(tokens.sign(claims, [keys["Ed25519"], keys["ML-DSA-65"]]))
    half = {"payload": token["payload"], **token["signatures"][0]}
    key = OKPKey.import_key(keys["Ed25519"].jwk)
    found = joserfc_jws.deserialize_json(half, key, algorithms=["Ed25519"])
    assert json.loads(found.payload) == msgspec.to_builtins(claims)


def test_no_token_passes_for_another_kind(trust, key, device):
    every = every_claims(device.kid)
    for claims in every:
        for wanted in every:
            if wanted is not claims:
                with pytest.raises(TokenType):
                    tokens.read(tokens.sign(claims, [key]), type(wanted), trust)


def test_a_key_serves_only_the_use_it_is_listed_for(key, device):
    trust = FakeTrust().add("license", key)
    tokens.read(tokens.sign(license_claims(device.kid), [key]), LicenseClaims, trust)
    with pytest.raises(TokenKeyUnknown):
        tokens.read(tokens.sign(lease_claims(device.kid), [key]), LeaseClaims, trust)


def test_a_key_signs_nothing_after_its_validity(key, device):
    trust = FakeTrust().add("license", key, days=1)
    late = license_claims(device.kid, iat=IAT + 2 * 86400)
    with pytest.raises(TokenKeyUnknown):
        tokens.read(tokens.sign(late, [key]), LicenseClaims, trust)


def test_reading_judges_no_expiry(trust, key, device):
    old = lease_claims(device.kid, iat=IAT - 3600, exp=IAT - 1, renew_after_at=IAT - 3600)
    assert tokens.read(tokens.sign(old, [key]), LeaseClaims, trust) == old


def test_another_server_and_another_product_are_told_apart(trust, key, device):
    with pytest.raises(TokenIssuer):
        tokens.read(tokens.sign(lease_claims(device.kid, iss="srv_x"), [key]), LeaseClaims, trust)
    for change in ({"aud": "other"}, {"product": "other"}, {"aud": "other", "product": "other"}):
        with pytest.raises(TokenAudience):
            tokens.read(tokens.sign(lease_claims(device.kid, **change), [key]), LeaseClaims, trust)


def test_nothing_is_signed_that_could_not_be_read(key, device):
    for bad in (
        lease_claims(device.kid, exp=IAT),
        lease_claims(device.kid, exp=IAT + 400 * 86400 + 1),
        lease_claims(device.kid, renew_after_at=IAT - 1),
        lease_claims(device.kid, seq=-1),
        lease_claims(device.kid, keys=[SealedKeys("r" * 43, "s", 1, "")]),
        lease_claims("short"),
        lease_claims(device.kid, ent=None),
    ):
        with pytest.raises(TokenClaims):
            tokens.sign(bad, [key])
    with pytest.raises(TokenTooLarge):
        tokens.sign(
            lease_claims(device.kid, keys=[SealedKeys("r" * 43, "s", 0, "A" * 16384)]), [key]
        )
    with pytest.raises(Misuse):
        tokens.sign(lease_claims(device.kid), [])


def test_a_lease_of_exactly_400_days_is_allowed(trust, key, device):
    longest = lease_claims(device.kid, exp=IAT + 400 * 86400)
    assert tokens.read(tokens.sign(longest, [key]), LeaseClaims, trust) == longest


def test_a_signed_payload_with_odd_spans_is_refused_on_reading_too(trust, key, device):
    payload = msgspec.to_builtins(lease_claims(device.kid)) | {"exp": IAT + 401 * 86400}
    header = {"alg": "Ed25519", "kid": key.kid, "typ": "lease+jwt"}
    with pytest.raises(TokenClaims):
        tokens.read(raw_token(header, payload, key), LeaseClaims, trust)


def test_the_cap_counts_before_anything_is_parsed(trust):
    with pytest.raises(TokenTooLarge):
        tokens.read("{" * 16385, LeaseClaims, trust)
    with pytest.raises(TokenMalformed):
        tokens.read("{" * 16384, LeaseClaims, trust)
    with pytest.raises(TokenTooLarge):
        tokens.read(b"x" * 101, DenialClaims, trust, max_bytes=100)


def test_a_signer_of_an_unknown_algorithm_is_not_believed(key, device):
    class Odd:
        alg, jwk, kid = "HS256", key.jwk, key.kid

        def sign(self, data: bytes) -> bytes:
            return key.sign(data)

    token = tokens.sign(lease_claims(device.kid), [Odd()])
    with pytest.raises(TokenAlgorithm):
        tokens.read(token, LeaseClaims, trust_of(key))


def test_the_product_is_compared_whole(key, device):
    """``"pro" in "xprox"`` must be impossible: lists are lists and texts are whole."""
    trust = trust_of(key)
    trust.product = PRODUCT[:-1]
    with pytest.raises(TokenAudience):
        tokens.read(tokens.sign(lease_claims(device.kid), [key]), LeaseClaims, trust)


@pytest.mark.parametrize("alg", ["Ed25519", "ES256", "RS256", "ML-DSA-65"])
@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 384, 3308, 3309, 5000])
def test_a_signature_of_any_length_is_judged_and_nothing_else_happens(keys, device, alg, length):
    good = tokens.sign(lease_claims(device.kid), [keys[alg]])
    token = f"{good.rpartition('.')[0]}.{b64u(bytes(length))}"
    with pytest.raises(TokenSignature):
        tokens.read(token, LeaseClaims, trust_of(keys[alg]))


def test_a_request_is_never_read_as_a_token_of_the_server(trust, device):
    token = tokens.sign(request_claims(device), [device])
    with pytest.raises(Misuse):
        tokens.read(token, RequestClaims, trust)
