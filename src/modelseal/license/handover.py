"""``handover+jwt``: a device's old signing key says which key follows it. Pure.

It travels in a renewal that the *new* key signs, so that both keys prove themselves and nobody
else's key gets in between. ``read(sign(claims, old), ...)`` holds only for the very device, server
and question that it names. Normative: ``docs/spec/tokens.md``, section 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from modelseal.crypto.signing import Signer, VerifyKey
from modelseal.errors import TokenAlgorithm, TokenClaims, TokenKeyUnknown, TokenSignature, TokenType
from modelseal.license import jws
from modelseal.license.claims import HandoverClaims, RequestClaims
from modelseal.license.tokens import DEVICE_ALGORITHMS

MAX_BYTES = 4096


def sign(claims: HandoverClaims, old: Signer) -> str:
    """The compact token of ``claims``, by the key that is followed."""
    payload: dict[str, Any] = msgspec.to_builtins(claims)
    return jws.build(HandoverClaims.TYP, payload, [old])


def read(asked: RequestClaims, *, server_id: str, old: Mapping[str, object]) -> HandoverClaims:
    """The handover in the renewal ``asked``, from the enrolled key ``old`` to the one that signed.

    Raises ``TokenKeyUnknown`` when there is none, ``TokenClaims`` when it is for another question,
    device or key, ``TokenSignature`` and other token errors when ``old`` did not sign it.
    """
    if asked.handover is None or asked.op != "renew":
        raise TokenKeyUnknown("signed by another device's key")
    parsed = jws.parse(asked.handover, max_bytes=MAX_BYTES)
    if parsed.typ != HandoverClaims.TYP:
        raise TokenType("no handover", wanted=HandoverClaims.TYP)
    key = VerifyKey.from_jwk(old)
    if len(parsed.signatures) != 1:
        raise TokenSignature("a handover has one signature")
    found = parsed.signatures[0]
    if found.kid != key.kid:
        raise TokenKeyUnknown("handed over by another key than the device's")
    if key.alg not in DEVICE_ALGORITHMS or found.alg != key.alg:
        raise TokenAlgorithm("the header names another algorithm than the key's")
    key.verify(found.signature, found.signing_input)
    try:
        claims = msgspec.convert(parsed.payload, HandoverClaims, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise TokenClaims(str(error)[:200]) from None
    wanted = (key.kid, server_id, asked.product, asked.sub, asked.nonce, asked.iss)
    if wanted != (claims.iss, claims.aud, claims.product, claims.sub, claims.nonce, claims.jkt):
        raise TokenClaims("the handover is for another question, device or key")
    return claims
