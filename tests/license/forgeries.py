"""Every known way to make a token that nobody signed, with the code it is refused with."""

from __future__ import annotations

import hashlib
import hmac
import json

import msgspec
from tests.license.world import b64, lease_claims, raw_token

from modelseal.crypto.signing import SigningKey
from modelseal.license import tokens
from modelseal.strict_json import b64u, encode

Table = dict[str, tuple[object, str]]


def tables(
    key: SigningKey, pq: SigningKey, *, rsa: SigningKey, other: SigningKey, device: SigningKey
) -> tuple[Table, Table]:
    """Forged leases: against a trust in ``key`` alone, and against one that wants ``pq`` too."""
    head = {"alg": "Ed25519", "kid": key.kid, "typ": "lease+jwt"}
    claims = msgspec.to_builtins(lease_claims(device.kid))
    good = tokens.sign(lease_claims(device.kid), [key])
    both = tokens.sign(lease_claims(device.kid), [key, pq])
    protected, body, signature = good.split(".")

    def header(**changes):
        """A truly signed token whose header was changed."""
        return raw_token(_without(head | changes), claims, key)

    def payload(**changes):
        """A token truly signed over changed claims: what a careless issuer might make."""
        return raw_token(head, _without(claims | changes), key)

    def text(old: bytes, new: bytes):
        """A token truly signed over an edited JSON text of the claims."""
        whole = encode(claims)
        assert old in whole
        return raw_token(head, whole.replace(old, new, 1), key)

    def general(**changes):
        """The hybrid token with its outer object changed."""
        return encode(_without(json.loads(both) | changes)).decode()

    def signatures(edit):
        """The hybrid token with its list of signatures edited."""
        value = json.loads(both)
        value["signatures"] = edit(value["signatures"])
        return encode(value).decode()

    def hmac_with_public_key():
        parts = [b64(head | {"alg": "HS256"}), b64(claims)]
        tag = hmac.new(encode(key.jwk), ".".join(parts).encode(), hashlib.sha256).digest()
        return ".".join([*parts, b64u(tag)])

    def resigned(part: str) -> str:
        """A token truly signed over an odd spelling of its payload."""
        return f"{protected}.{part}.{b64u(key.sign(f'{protected}.{part}'.encode()))}"

    body_loose = body if len(body) % 4 else b64(encode(claims | {"jti": claims["jti"] + "x"}))

    table = {
        # algorithm
        "alg none without signature": (f"{b64(head | {'alg': 'none'})}.{body}.", "token_algorithm"),
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
            raw_token(head | {"alg": "RS256"}, claims, rsa),
            "token_algorithm",
        ),
        # keys from the token
        "jwk": (header(jwk=dict(other.jwk)), "token_header"),
        "jwk and its signature": (
            raw_token(head | {"jwk": dict(other.jwk)}, claims, other),
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
        "kid of another key": (header(kid=other.kid), "token_key_unknown"),
        "kid and signature of another key": (
            raw_token(head | {"kid": other.kid}, claims, other),
            "token_key_unknown",
        ),
        "kid as a path": (header(kid="../../dev/null"), "token_key_unknown"),
        "kid as SQL": (header(kid="' OR 1=1 --"), "token_key_unknown"),
        "kid empty": (header(kid=""), "token_key_unknown"),
        "kid missing": (header(kid=...), "token_malformed"),
        "kid a list": (header(kid=[key.kid]), "token_malformed"),
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
        "signature of another key": (raw_token(head, claims, other), "token_signature"),
        "signature empty": (f"{protected}.{body}.", "token_signature"),
        "signature cut": (f"{protected}.{body}.{b64u(key.sign(b'x')[:32])}", "token_signature"),
        "signature of nothing": (f"{protected}.{body}.{b64u(bytes(64))}", "token_signature"),
        "claims exchanged under the old signature": (
            f"{protected}.{b64(claims | {'exp': claims['exp'] + 1})}.{signature}",
            "token_signature",
        ),
        "header exchanged under the old signature": (
            f"{b64({'alg': 'Ed25519', 'kid': key.kid, 'typ': 'lease+jwt'})}.{body}.{signature[:-4]}AAAA",  # noqa: E501
            "token_signature",
        ),
        # base64url
        "padded": (f"{protected}.{body}.{signature}==", "token_malformed"),
        "payload padded": (resigned(body + "=" * (-len(body) % 4 or 4)), "token_malformed"),
        "payload with loose bits": (resigned(_loose_bits(body_loose)), "token_malformed"),
        "signature with loose bits": (
            f"{protected}.{body}.{_loose_bits(signature)}",
            "token_malformed",
        ),
        "payload with a line break": (resigned(body[:8] + "\n" + body[8:]), "token_malformed"),
        "payload with a space": (resigned(body[:8] + " " + body[8:]), "token_malformed"),
        "the other base64 alphabet": (f"{protected}.{body}.{'+/' * 43}", "token_malformed"),
        "a NUL": (f"{protected}.{body}\x00.{signature}", "token_malformed"),
        "a line break at the end": (good + "\n", "token_malformed"),
        "a space in front": (" " + good, "token_malformed"),
        "not ASCII": (good + "é", "token_malformed"),
        "full-width letters": (good.replace("A", "\uff21", 1), "token_malformed"),
        # form
        "empty": ("", "token_malformed"),
        "one part": (body, "token_malformed"),
        "two parts": (f"{protected}.{body}", "token_malformed"),
        "four parts": (f"{good}.{signature}", "token_malformed"),
        "five parts, like JWE": (".".join([protected] * 5), "token_malformed"),
        "dots only": ("..", "token_malformed"),
        "many dots": ("." * 16000, "token_malformed"),
        "not text": (None, "token_malformed"),
        "a number": (7, "token_malformed"),
        "too long": ("A" * 16385, "token_too_large"),
        "a long token of two halves": (good + "." + "A" * 16384, "token_too_large"),
        # JSON
        "exp twice": (text(b'{"aud"', b'{"exp":99999999999,"aud"'), "token_malformed"),
        "exp twice, behind": (
            raw_token(head, encode(claims)[:-1] + b',"exp":1}', key),
            "token_malformed",
        ),
        "alg twice": (
            raw_token(b'{"alg":"none",' + encode(head)[1:], claims, key),
            "token_malformed",
        ),
        "exp NaN": (payload(exp=float("nan")), "token_malformed"),
        "exp Infinity": (payload(exp=float("inf")), "token_malformed"),
        "exp 1e300": (payload(exp=1e300), "token_malformed"),
        "exp 1.5": (payload(exp=1.5), "token_malformed"),
        "exp 1800000000.0": (payload(exp=1800000000.0), "token_malformed"),
        "a number of 5000 digits": (
            text(b'"level":0', b'"level":' + b"9" * 5000),
            "token_malformed",
        ),
        "white space in JSON": (text(b'"seq":1', b'"seq": 1'), "token_malformed"),
        "members out of order": (
            raw_token(
                head,
                json.dumps(dict(reversed(claims.items())), separators=(",", ":")).encode(),
                key,
            ),
            "token_malformed",
        ),
        "an escape that needs none": (text(b"facefusion", b"\\u0066acefusion"), "token_malformed"),
        "minus zero": (text(b'"level":0', b'"level":-0'), "token_malformed"),
        "a byte order mark": (
            raw_token(head, b"\xef\xbb\xbf" + encode(claims), key),
            "token_malformed",
        ),
        "bytes that are no UTF-8": (raw_token(head, b'{"a":"\xff"}', key), "token_malformed"),
        "half a surrogate pair": (text(b"facefusion", b"\\ud800"), "token_malformed"),
        "nested a thousand deep": (
            raw_token(head, b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", key),
            "token_malformed",
        ),
        "a list for claims": (raw_token(head, b"[]", key), "token_malformed"),
        "a text for claims": (raw_token(head, b'"x"', key), "token_malformed"),
        "null for claims": (raw_token(head, b"null", key), "token_malformed"),
        "nothing for claims": (raw_token(head, b"", key), "token_malformed"),
        "a list for the header": (raw_token(b"[]", claims, key), "token_malformed"),
        "a comment": (text(b'"seq":1', b'"seq":1/**/'), "token_malformed"),
        "something behind the object": (
            raw_token(head, encode(claims) + b"{}", key),
            "token_malformed",
        ),
        # claims
        "exp as text": (payload(exp=str(claims["exp"])), "token_claims"),
        "exp true": (payload(exp=True), "token_claims"),
        "exp null": (payload(exp=None), "token_claims"),
        "exp missing": (payload(exp=...), "token_claims"),
        "exp negative": (payload(exp=-1), "token_claims"),
        "exp in the year 10000": (payload(exp=253402300800), "token_claims"),
        "exp before iat": (payload(exp=claims["iat"]), "token_claims"),
        "exp beyond 400 days": (payload(exp=claims["iat"] + 401 * 86400), "token_claims"),
        "iat as text": (payload(iat="0"), "token_claims"),
        "iat true": (payload(iat=True), "token_claims"),
        "iat missing": (payload(iat=...), "token_claims"),
        "iat of 30 digits": (payload(iat=10**30), "token_claims"),
        "iss missing": (payload(iss=...), "token_claims"),
        "iss a list": (payload(iss=[claims["iss"]]), "token_claims"),
        "aud missing": (payload(aud=...), "token_claims"),
        "aud a list": (payload(aud=["facefusion"]), "token_claims"),
        "sub a number": (payload(sub=1), "token_claims"),
        "a claim nobody knows": (payload(admin=True), "token_claims"),
        "ent a text": (payload(ent="face.swap"), "token_claims"),
        "ent of texts": (payload(ent=["face.swap"]), "token_claims"),
        "an entitlement with more": (
            payload(ent=[{"id": "face.swap", "all": True}]),
            "token_claims",
        ),
        "a level of 6": (payload(level=6), "token_claims"),
        "an enforcement nobody knows": (payload(enforcement="none"), "token_claims"),
        "seq as text": (payload(seq="1"), "token_claims"),
        "seq beyond 2^53": (payload(seq=2**53), "token_claims"),
        "cnf with a key": (
            payload(cnf={"jkt": device.kid, "jwk": dict(device.jwk)}),
            "token_claims",
        ),
        "cnf missing": (payload(cnf=...), "token_claims"),
        "a short nonce": (payload(request_nonce="AA"), "token_claims"),
        "a nested text that is too long": (
            payload(status={"idx": 1, "uri": "u" * 513}),
            "token_claims",
        ),
        # for another
        "another server": (payload(iss="srv_other"), "token_issuer"),
        "iss that only begins alike": (payload(iss=claims["iss"] + "0"), "token_issuer"),
        "another product in aud": (payload(aud="other"), "token_audience"),
        "another product in product": (payload(product="facefusion2"), "token_audience"),
        "signed before the key was valid": (payload(iat=1), "token_key_unknown"),
        "signed after the key was valid": (
            payload(iat=claims["iat"] + 20 * 365 * 86400),
            "token_key_unknown",
        ),
        # general JSON against a trust that wants one signature
        "two signatures where one is wanted": (both, "token_signature"),
        "not JSON after all": ("{not json", "token_malformed"),
        "general JSON with white space": (both.replace(":", ": ", 1), "token_malformed"),
        "general JSON with more": (general(x=1), "token_malformed"),
        "general JSON without payload": (general(payload=...), "token_malformed"),
        "general JSON with a list as payload": (general(payload=[body]), "token_malformed"),
        "general JSON without signatures": (general(signatures=...), "token_malformed"),
        "flattened JSON": (
            encode({"payload": body, "protected": protected, "signature": signature}).decode(),
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
            signatures(lambda s: [s[0], {**s[1], "protected": b64(head | {"typ": "denial+jwt"})}]),
            "token_type",
        ),
    }

    halves = {
        "one of the two": (good, "token_signature"),
        "the first twice": (signatures(lambda s: [s[0], s[0]]), "token_signature"),
        "the second by another key": (
            tokens.sign(lease_claims(device.kid), [key, other]),
            "token_signature",
        ),
        "the second's signature of nothing": (
            signatures(lambda s: [s[0], {**s[1], "signature": b64u(bytes(3309))}]),
            "token_signature",
        ),
        "three signatures": (
            tokens.sign(lease_claims(device.kid), [key, pq, other]),
            "token_signature",
        ),
        "the second under the first's algorithm": (
            signatures(
                lambda s: [s[0], {**s[1], "protected": b64(head | {"kid": pq.kid})}],
            ),
            "token_algorithm",
        ),
        "its payload exchanged": (general(payload=b64(claims | {"seq": 9})), "token_signature"),
    }
    return table, halves


def _without(value):
    return {name: item for name, item in value.items() if item is not ...}


def _loose_bits(part: str) -> str:
    """The same bytes with other unused bits in the last base64url character."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(part) % 4 in (2, 3)
    return part[:-1] + alphabet[alphabet.index(part[-1]) ^ 1]
