"""Forgeries by the thousand: each ends in a code of ours, or says exactly what it says."""

from __future__ import annotations

import json

import msgspec
import pytest
from tests.license.fuzzing import claims, headers, of_another_alg, spellings
from tests.license.world import SERVER, every_claims, raw_token, request_claims, trust_of

from modelseal.crypto.signing import SigningKey
from modelseal.errors import InvalidBytes, ModelsealError
from modelseal.license import tokens
from modelseal.license.claims import RequestClaims
from modelseal.strict_json import unb64u

KEY, OTHER, DEVICE = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()
EC, RSA, PQ = (SigningKey.generate(alg) for alg in ("ES256", "RS256", "ML-DSA-65"))
TRUST = trust_of(KEY)
KINDS = {type(each).TYP: each for each in [*every_claims(DEVICE.kid), request_claims(KEY)]}
TABLES = {"claims": claims, "headers": headers}


def parts(kind):
    """Header and claims of a good token of ``kind``, whose signer is ``KEY``."""
    body = msgspec.to_builtins(KINDS[kind])
    return {"alg": "Ed25519", "kid": KEY.kid, "typ": kind}, body


def read(token, kind):
    if kind == RequestClaims.TYP:
        return tokens.read_request(token, server_id=SERVER)
    return tokens.read(token, type(KINDS[kind]), TRUST)


def same(said, meant):
    """Whether what was read is what stood there, but for defaults, which need not be written."""
    if isinstance(said, dict) and isinstance(meant, dict):
        default = (None, 0, "", True, [], {}, "none")
        return all(same(v, meant[n]) if n in meant else v in default for n, v in said.items())
    if isinstance(said, list) and isinstance(meant, list):
        return len(said) == len(meant) and all(map(same, said, meant))
    return type(said) is type(meant) and said == meant


def judged(token, kind):
    """The code of the refusal; None where the token says exactly what was read."""
    try:
        found = read(token, kind)
    except InvalidBytes as error:
        assert error.code.startswith("token_") or error.code == "key_malformed", error.code
        assert len(str(error)) < 500
        return error.code
    said = json.loads(unb64u(token.split(".")[1]))
    assert same(said, msgspec.to_builtins(found)), said
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_claim_is_refused_or_means_what_it_says(kind):
    head, body = parts(kind)
    good = tokens.sign(KINDS[kind], [KEY])
    assert judged(good, kind) is None
    refused, passed = 0, []
    for name, token in claims(head, body, KEY):
        if judged(token, kind) is None:
            passed.append(name)
        else:
            refused += 1
    assert refused > 25 * len(body)
    odd = ("twice", "spelled", "escaped", "beside", "10^400", "NaN", "1e300", "a half", "100 deep")
    assert [name for name in passed if any(each in name for each in odd)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_the_header_can_be_changed(kind):
    head, body = parts(kind)
    codes = {name: judged(token, kind) for name, token in headers(head, body, KEY)}
    assert [name for name, code in codes.items() if code is None and name != "alg Ed25519"] == []
    wrong = {"header with", "alg none", "alg HS"}
    for name, code in codes.items():
        if any(name.startswith(each) for each in wrong):
            assert code in ("token_header", "token_algorithm"), (name, code)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_written_in_one_way(kind):
    good = tokens.sign(KINDS[kind], [KEY])
    codes = {name: judged(token, kind) for name, token in spellings(good) if token != good}
    assert len(codes) > 35
    assert set(codes.values()) <= {"token_malformed", "token_signature", "token_algorithm"}


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_key_signs_under_any_name(kind):
    head, body = parts(kind)
    for name, token in of_another_alg(head, body, [OTHER, EC, RSA, PQ, KEY]):
        if not name.startswith("Ed25519 as Ed25519 of " + KEY.kid[:6]) or KEY.kid not in token:
            assert judged(token, kind) is not None, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_no_kind_of_token_passes_for_another(kind, other):
    if kind == other:
        return
    head, body = parts(kind)
    as_it_is = raw_token(head, body, KEY)
    assert judged(as_it_is, other) == "token_type"
    renamed = raw_token(head | {"typ": other}, body, KEY)
    assert judged(renamed, other) in ("token_claims", "token_key_unknown")
    assert judged(renamed, kind) == "token_type"


@pytest.mark.parametrize("size", [16_385, 65_537, 1_048_577, 8_000_000])
@pytest.mark.parametrize("fill", ["A", ".", "{", '{"a":', "[", "é", "=", '{"payload":"', "\0"])
def test_what_is_too_long_is_refused_before_it_is_looked_at(size, fill):
    text = (fill * size)[:size]
    for kind in KINDS:
        with pytest.raises(ModelsealError) as found:
            read(text, kind)
        assert found.value.code in ("token_too_large", "token_malformed")
