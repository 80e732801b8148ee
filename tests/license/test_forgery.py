"""The forgery table: every known way to make a token that nobody signed, each with its code."""

from __future__ import annotations

import hashlib
import hmac
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.license.world import b64, lease_claims, raw_token, trust_of

from modelseal.crypto.signing import SigningKey
from modelseal.errors import InvalidBytes
from modelseal.license import tokens
from modelseal.license.claims import (
    DenialClaims,
    LeaseClaims,
    LicenseClaims,
    ReleaseClaims,
    StatusListClaims,
)
from modelseal.strict_json import b64u, encode

KEY = SigningKey.generate()
OTHER = SigningKey.generate()
RSA = SigningKey.generate("RS256")
PQ = SigningKey.generate("ML-DSA-65")
DEVICE = SigningKey.generate()
TRUST = trust_of(KEY)
HYBRID = trust_of(KEY, PQ)

HEADER = {"alg": "Ed25519", "kid": KEY.kid, "typ": "lease+jwt"}
PAYLOAD = msgspec.to_builtins(lease_claims(DEVICE.kid))
GOOD = tokens.sign(lease_claims(DEVICE.kid), [KEY])
BOTH = tokens.sign(lease_claims(DEVICE.kid), [KEY, PQ])
HEAD, BODY, SIGNATURE = GOOD.split(".")


def header(**changes):
    """A truly signed token whose header was changed."""
    return raw_token(_without(HEADER | changes), PAYLOAD, KEY)


def payload(**changes):
    """A token truly signed over changed claims: what a careless issuer might make."""
    return raw_token(HEADER, _without(PAYLOAD | changes), KEY)


def text(old: bytes, new: bytes):
    """A token truly signed over an edited JSON text of the claims."""
    body = encode(PAYLOAD)
    assert old in body
    return raw_token(HEADER, body.replace(old, new, 1), KEY)


def general(**changes):
    """The hybrid token with its outer object changed."""
    return encode(_without(json.loads(BOTH) | changes)).decode()


def signatures(edit):
    """The hybrid token with its list of signatures edited."""
    value = json.loads(BOTH)
    value["signatures"] = edit(value["signatures"])
    return encode(value).decode()


def hmac_with_public_key():
    parts = [b64(HEADER | {"alg": "HS256"}), b64(PAYLOAD)]
    tag = hmac.new(encode(KEY.jwk), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, b64u(tag)])


def loose_bits(part: str) -> str:
    """The same bytes with other unused bits in the last base64url character."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(part) % 4 in (2, 3)
    return part[:-1] + alphabet[alphabet.index(part[-1]) ^ 1]


def resigned(part: str) -> str:
    """A token truly signed over an odd spelling of its payload."""
    return f"{HEAD}.{part}.{b64u(KEY.sign(f'{HEAD}.{part}'.encode()))}"


def _without(value):
    return {name: item for name, item in value.items() if item is not ...}


BODY_LOOSE = BODY if len(BODY) % 4 else b64(encode(PAYLOAD | {"jti": PAYLOAD["jti"] + "x"}))

TABLE = {
    # algorithm
    "alg none without signature": (f"{b64(HEADER | {'alg': 'none'})}.{BODY}.", "token_algorithm"),
    "alg none with the old signature": (header(alg="none"), "token_algorithm"),
    "alg NONE": (header(alg="NONE"), "token_algorithm"),
    "alg empty": (header(alg=""), "token_algorithm"),
    "alg missing": (header(alg=...), "token_algorithm"),
    "alg a list": (header(alg=["Ed25519"]), "token_algorithm"),
    "alg null": (header(alg=None), "token_algorithm"),
    "HS256 with the public key": (hmac_with_public_key(), "token_algorithm"),
    "EdDSA, the name for any curve": (header(alg="EdDSA"), "token_algorithm"),
    "ed25519 in lower case": (header(alg="ed25519"), "token_algorithm"),
    "another of our algorithms": (header(alg="ES256"), "token_algorithm"),
    "RS256 by its own key under this kid": (
        raw_token(HEADER | {"alg": "RS256"}, PAYLOAD, RSA),
        "token_algorithm",
    ),
    # keys from the token
    "jwk": (header(jwk=dict(OTHER.jwk)), "token_header"),
    "jwk and its signature": (
        raw_token(HEADER | {"jwk": dict(OTHER.jwk)}, PAYLOAD, OTHER),
        "token_header",
    ),
    "jku": (header(jku="https://evil.example/jwks.json"), "token_header"),
    "x5u": (header(x5u="https://evil.example/cert.pem"), "token_header"),
    "x5c": (header(x5c=["MIIB"]), "token_header"),
    "x5t": (header(x5t="AAAA"), "token_header"),
    "crit of an unknown extension": (header(crit=["exp"]), "token_header"),
    "crit empty": (header(crit=[]), "token_header"),
    "b64 false": (header(b64=False), "token_header"),
    "zip": (header(zip="DEF"), "token_header"),
    "cty": (header(cty="JWT"), "token_header"),
    "a member nobody knows": (header(x="y"), "token_header"),
    "kid of another key": (header(kid=OTHER.kid), "token_key_unknown"),
    "kid and signature of another key": (
        raw_token(HEADER | {"kid": OTHER.kid}, PAYLOAD, OTHER),
        "token_key_unknown",
    ),
    "kid as a path": (header(kid="../../dev/null"), "token_key_unknown"),
    "kid as SQL": (header(kid="' OR 1=1 --"), "token_key_unknown"),
    "kid empty": (header(kid=""), "token_key_unknown"),
    "kid missing": (header(kid=...), "token_malformed"),
    "kid a list": (header(kid=[KEY.kid]), "token_malformed"),
    "kid a number": (header(kid=1), "token_malformed"),
    # kind
    "typ JWT": (header(typ="JWT"), "token_type"),
    "typ missing": (header(typ=...), "token_type"),
    "typ null": (header(typ=None), "token_type"),
    "typ of a license": (header(typ="license+jwt"), "token_type"),
    "typ of a denial": (header(typ="denial+jwt"), "token_type"),
    "typ in capitals": (header(typ="LEASE+JWT"), "token_type"),
    "typ as media type": (header(typ="application/lease+jwt"), "token_type"),
    # signature
    "signature of another key": (raw_token(HEADER, PAYLOAD, OTHER), "token_signature"),
    "signature empty": (f"{HEAD}.{BODY}.", "token_signature"),
    "signature cut": (f"{HEAD}.{BODY}.{b64u(KEY.sign(b'x')[:32])}", "token_signature"),
    "signature of nothing": (f"{HEAD}.{BODY}.{b64u(bytes(64))}", "token_signature"),
    "claims exchanged under the old signature": (
        f"{HEAD}.{b64(PAYLOAD | {'exp': PAYLOAD['exp'] + 1})}.{SIGNATURE}",
        "token_signature",
    ),
    "header exchanged under the old signature": (
        f"{b64({'alg': 'Ed25519', 'kid': KEY.kid, 'typ': 'lease+jwt'})}.{BODY}.{SIGNATURE[:-4]}AAAA",  # noqa: E501
        "token_signature",
    ),
    # base64url
    "padded": (f"{HEAD}.{BODY}.{SIGNATURE}==", "token_malformed"),
    "payload padded": (resigned(BODY + "=" * (-len(BODY) % 4 or 4)), "token_malformed"),
    "payload with loose bits": (resigned(loose_bits(BODY_LOOSE)), "token_malformed"),
    "signature with loose bits": (f"{HEAD}.{BODY}.{loose_bits(SIGNATURE)}", "token_malformed"),
    "payload with a line break": (resigned(BODY[:8] + "\n" + BODY[8:]), "token_malformed"),
    "payload with a space": (resigned(BODY[:8] + " " + BODY[8:]), "token_malformed"),
    "the other base64 alphabet": (f"{HEAD}.{BODY}.{'+/' * 43}", "token_malformed"),
    "a NUL": (f"{HEAD}.{BODY}\x00.{SIGNATURE}", "token_malformed"),
    "a line break at the end": (GOOD + "\n", "token_malformed"),
    "a space in front": (" " + GOOD, "token_malformed"),
    "not ASCII": (GOOD + "é", "token_malformed"),
    "full-width letters": (GOOD.replace("A", "\uff21", 1), "token_malformed"),
    # form
    "empty": ("", "token_malformed"),
    "one part": (BODY, "token_malformed"),
    "two parts": (f"{HEAD}.{BODY}", "token_malformed"),
    "four parts": (f"{GOOD}.{SIGNATURE}", "token_malformed"),
    "five parts, like JWE": (".".join([HEAD] * 5), "token_malformed"),
    "dots only": ("..", "token_malformed"),
    "many dots": ("." * 16000, "token_malformed"),
    "not text": (None, "token_malformed"),
    "a number": (7, "token_malformed"),
    "too long": ("A" * 16385, "token_too_large"),
    "a long token of two halves": (GOOD + "." + "A" * 16384, "token_too_large"),
    # JSON
    "exp twice": (text(b'{"aud"', b'{"exp":99999999999,"aud"'), "token_malformed"),
    "exp twice, behind": (
        raw_token(HEADER, encode(PAYLOAD)[:-1] + b',"exp":1}', KEY),
        "token_malformed",
    ),
    "alg twice": (
        raw_token(b'{"alg":"none",' + encode(HEADER)[1:], PAYLOAD, KEY),
        "token_malformed",
    ),
    "exp NaN": (payload(exp=float("nan")), "token_malformed"),
    "exp Infinity": (payload(exp=float("inf")), "token_malformed"),
    "exp 1e300": (payload(exp=1e300), "token_malformed"),
    "exp 1.5": (payload(exp=1.5), "token_malformed"),
    "exp 1800000000.0": (payload(exp=1800000000.0), "token_malformed"),
    "a number of 5000 digits": (text(b'"level":0', b'"level":' + b"9" * 5000), "token_malformed"),
    "white space in JSON": (text(b'"seq":1', b'"seq": 1'), "token_malformed"),
    "members out of order": (
        raw_token(
            HEADER, json.dumps(dict(reversed(PAYLOAD.items())), separators=(",", ":")).encode(), KEY
        ),
        "token_malformed",
    ),
    "an escape that needs none": (text(b"facefusion", b"\\u0066acefusion"), "token_malformed"),
    "minus zero": (text(b'"level":0', b'"level":-0'), "token_malformed"),
    "a byte order mark": (
        raw_token(HEADER, b"\xef\xbb\xbf" + encode(PAYLOAD), KEY),
        "token_malformed",
    ),
    "bytes that are no UTF-8": (raw_token(HEADER, b'{"a":"\xff"}', KEY), "token_malformed"),
    "half a surrogate pair": (text(b"facefusion", b"\\ud800"), "token_malformed"),
    "nested a thousand deep": (
        raw_token(HEADER, b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", KEY),
        "token_malformed",
    ),
    "a list for claims": (raw_token(HEADER, b"[]", KEY), "token_malformed"),
    "a text for claims": (raw_token(HEADER, b'"x"', KEY), "token_malformed"),
    "null for claims": (raw_token(HEADER, b"null", KEY), "token_malformed"),
    "nothing for claims": (raw_token(HEADER, b"", KEY), "token_malformed"),
    "a list for the header": (raw_token(b"[]", PAYLOAD, KEY), "token_malformed"),
    "a comment": (text(b'"seq":1', b'"seq":1/**/'), "token_malformed"),
    "something behind the object": (
        raw_token(HEADER, encode(PAYLOAD) + b"{}", KEY),
        "token_malformed",
    ),
    # claims
    "exp as text": (payload(exp=str(PAYLOAD["exp"])), "token_claims"),
    "exp true": (payload(exp=True), "token_claims"),
    "exp null": (payload(exp=None), "token_claims"),
    "exp missing": (payload(exp=...), "token_claims"),
    "exp negative": (payload(exp=-1), "token_claims"),
    "exp in the year 10000": (payload(exp=253402300800), "token_claims"),
    "exp before iat": (payload(exp=PAYLOAD["iat"]), "token_claims"),
    "exp beyond 400 days": (payload(exp=PAYLOAD["iat"] + 401 * 86400), "token_claims"),
    "iat as text": (payload(iat="0"), "token_claims"),
    "iat true": (payload(iat=True), "token_claims"),
    "iat missing": (payload(iat=...), "token_claims"),
    "iat of 30 digits": (payload(iat=10**30), "token_claims"),
    "iss missing": (payload(iss=...), "token_claims"),
    "iss a list": (payload(iss=[PAYLOAD["iss"]]), "token_claims"),
    "aud missing": (payload(aud=...), "token_claims"),
    "aud a list": (payload(aud=["facefusion"]), "token_claims"),
    "sub a number": (payload(sub=1), "token_claims"),
    "a claim nobody knows": (payload(admin=True), "token_claims"),
    "ent a text": (payload(ent="face.swap"), "token_claims"),
    "ent of texts": (payload(ent=["face.swap"]), "token_claims"),
    "an entitlement with more": (payload(ent=[{"id": "face.swap", "all": True}]), "token_claims"),
    "a level of 6": (payload(level=6), "token_claims"),
    "an enforcement nobody knows": (payload(enforcement="none"), "token_claims"),
    "seq as text": (payload(seq="1"), "token_claims"),
    "seq beyond 2^53": (payload(seq=2**53), "token_claims"),
    "cnf with a key": (payload(cnf={"jkt": DEVICE.kid, "jwk": dict(DEVICE.jwk)}), "token_claims"),
    "cnf missing": (payload(cnf=...), "token_claims"),
    "a short nonce": (payload(request_nonce="AA"), "token_claims"),
    "a nested text that is too long": (
        payload(status={"idx": 1, "uri": "u" * 513}),
        "token_claims",
    ),
    # for another
    "another server": (payload(iss="srv_other"), "token_issuer"),
    "iss that only begins alike": (payload(iss=PAYLOAD["iss"] + "0"), "token_issuer"),
    "another product in aud": (payload(aud="other"), "token_audience"),
    "another product in product": (payload(product="facefusion2"), "token_audience"),
    "signed before the key was valid": (payload(iat=1), "token_key_unknown"),
    "signed after the key was valid": (
        payload(iat=PAYLOAD["iat"] + 20 * 365 * 86400),
        "token_key_unknown",
    ),
    # general JSON against a trust that wants one signature
    "two signatures where one is wanted": (BOTH, "token_signature"),
    "not JSON after all": ("{not json", "token_malformed"),
    "general JSON with white space": (BOTH.replace(":", ": ", 1), "token_malformed"),
    "general JSON with more": (general(x=1), "token_malformed"),
    "general JSON without payload": (general(payload=...), "token_malformed"),
    "general JSON with a list as payload": (general(payload=[BODY]), "token_malformed"),
    "general JSON without signatures": (general(signatures=...), "token_malformed"),
    "flattened JSON": (
        encode({"payload": BODY, "protected": HEAD, "signature": SIGNATURE}).decode(),
        "token_malformed",
    ),
    "no signature": (signatures(lambda s: []), "token_malformed"),
    "one signature in a list": (signatures(lambda s: s[:1]), "token_malformed"),
    "five signatures": (signatures(lambda s: (s * 3)[:5]), "token_malformed"),
    "signatures an object": (signatures(lambda s: {"0": s[0]}), "token_malformed"),
    "a signature a text": (signatures(lambda s: ["x", "y"]), "token_malformed"),
    "an unprotected header": (
        signatures(lambda s: [{**s[0], "header": {"alg": "none"}}, s[1]]),
        "token_malformed",
    ),
    "a signature without its header": (
        signatures(lambda s: [{"signature": s[0]["signature"]}, s[1]]),
        "token_malformed",
    ),
    "a protected header that is a number": (
        signatures(lambda s: [{"protected": 1, "signature": "x"}, s[1]]),
        "token_malformed",
    ),
    "one signature twice": (signatures(lambda s: [s[0], s[0]]), "token_signature"),
    "two kinds in one token": (
        signatures(lambda s: [s[0], {**s[1], "protected": b64(HEADER | {"typ": "denial+jwt"})}]),
        "token_type",
    ),
}

HYBRID_TABLE = {
    "one of the two": (GOOD, "token_signature"),
    "the first twice": (signatures(lambda s: [s[0], s[0]]), "token_signature"),
    "the second by another key": (
        tokens.sign(lease_claims(DEVICE.kid), [KEY, OTHER]),
        "token_signature",
    ),
    "the second's signature of nothing": (
        signatures(lambda s: [s[0], {**s[1], "signature": b64u(bytes(3309))}]),
        "token_signature",
    ),
    "three signatures": (
        tokens.sign(lease_claims(DEVICE.kid), [KEY, PQ, OTHER]),
        "token_signature",
    ),
    "the second under the first's algorithm": (
        signatures(
            lambda s: [s[0], {**s[1], "protected": b64(HEADER | {"kid": PQ.kid})}],
        ),
        "token_algorithm",
    ),
    "its payload exchanged": (general(payload=b64(PAYLOAD | {"seq": 9})), "token_signature"),
}


def refused(token, trust=TRUST, cls=LeaseClaims):
    with pytest.raises(InvalidBytes) as found:
        tokens.read(token, cls, trust)
    return found.value.code


def test_the_table_starts_from_tokens_that_are_read():
    assert tokens.read(GOOD, LeaseClaims, TRUST) == tokens.read(BOTH, LeaseClaims, HYBRID)


@pytest.mark.parametrize("name", TABLE)
def test_a_forgery_is_refused_with_its_own_code(name):
    token, code = TABLE[name]
    assert refused(token) == code


@pytest.mark.parametrize("name", HYBRID_TABLE)
def test_a_forgery_of_a_hybrid_token_is_refused_with_its_own_code(name):
    token, code = HYBRID_TABLE[name]
    assert refused(token, HYBRID) == code


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_noise_is_refused_and_nothing_else_happens(noise):
    assert refused(noise).startswith("token_")


@settings(max_examples=200)
@given(place=st.integers(0, len(GOOD) - 1), char=st.characters(codec="ascii"))
def test_no_single_character_can_be_changed(place, char):
    if GOOD[place] != char:
        assert refused(GOOD[:place] + char + GOOD[place + 1 :]).startswith("token_")


@given(cut=st.integers(0, len(BOTH) - 1))
def test_no_cut_token_is_read(cut):
    assert refused(BOTH[:cut], HYBRID).startswith("token_")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
_KINDS = (LicenseClaims, LeaseClaims, DenialClaims, ReleaseClaims, StatusListClaims)


@settings(max_examples=200)
@given(
    cls=st.sampled_from(_KINDS),
    name=st.sampled_from(sorted({n for c in _KINDS for n in c.__struct_encode_fields__})),
    value=_JSON,
)
def test_a_signed_claim_of_any_other_type_gives_our_error_or_is_what_it_says(cls, name, value):
    body = PAYLOAD | {name: value}
    try:
        token = raw_token(HEADER | {"typ": cls.TYP}, body, KEY)
    except UnicodeEncodeError:
        return
    try:
        claims = tokens.read(token, cls, TRUST)
    except InvalidBytes as error:
        assert error.code.startswith("token_")
    else:
        assert msgspec.to_builtins(claims).get(name, value) == value
