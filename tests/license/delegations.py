"""What relays of all kinds sign: within their delegation, beyond it, and without one."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.license.world import (
    DAY,
    IAT,
    LIST_URI,
    RELAY_KEY,
    delegation_claims,
    lease_claims,
    license_claims,
    raw_token,
)

from modelseal.crypto.signing import SigningKey
from modelseal.license import tokens
from modelseal.license.claims import Entitlement, HardwareEnd, StatusRef

OTHER = SigningKey.from_pkcs8(
    bytes.fromhex("302e020100300506032b657004220420") + bytes(range(2, 34))
)
JKT = "j" * 43
WIDE = "delegation_exceeded"


def lease(by: str, **changes: Any) -> str:
    """A lease by the relay's key."""
    return tokens.sign(lease_claims(JKT, delegation=by, **changes), [RELAY_KEY])


def license_(by: str, **changes: Any) -> str:
    """A license token by the relay's key."""
    return tokens.sign(license_claims(JKT, delegation=by, **changes), [RELAY_KEY])


def table(server: SigningKey) -> dict[str, tuple[str, str]]:
    """Tokens that are refused and their codes; ``server`` is the key that the trust lists."""
    good = tokens.sign(delegation_claims(JKT), [server])
    past = tokens.sign(delegation_claims(JKT, exp=IAT + DAY), [server])
    ending = [Entitlement("face.swap", 0, IAT + DAY)]
    short = tokens.sign(delegation_claims(JKT, ent=ending), [server])
    high = tokens.sign(delegation_claims(JKT, ent=[Entitlement("face.swap", 2)]), [server])
    end = HardwareEnd(1, 2, 3, 4)
    claims = msgspec.to_builtins(delegation_claims(JKT))
    header = {"alg": "Ed25519", "kid": server.kid, "typ": "delegation+jwt"}
    ec = SigningKey.generate("ES256")

    def signed(key: SigningKey = server, head: Any = header, **changes: Any) -> str:
        return raw_token(head, claims | changes, key)

    def by_other(by: str) -> str:
        return tokens.sign(lease_claims(JKT, delegation=by), [OTHER])

    return {
        "a delegation of nobody": (lease(tokens.sign(delegation_claims(JKT), [OTHER])),
                                   "token_key_unknown"),
        "a delegation with another's signature": (lease(signed(OTHER)), "token_signature"),
        "a lease by another key than the delegated one": (by_other(good), "token_signature"),
        "a lease by the server's key beside a delegation": (
            tokens.sign(lease_claims(JKT, delegation=good), [server]), "token_signature"),
        "a lease by the relay's key without a delegation": (
            tokens.sign(lease_claims(JKT), [RELAY_KEY]), "token_key_unknown"),
        "a license token in place of a delegation": (
            lease(tokens.sign(license_claims(JKT), [server])), "token_type"),
        "a delegation of another server": (lease(signed(iss="srv_other")), "token_issuer"),
        "a delegation for another product": (lease(signed(aud="other")), "token_audience"),
        "a delegation to a key of another kind": (
            lease(signed(jwk=dict(ec.jwk))), "token_algorithm"),
        "a delegation that ends before it begins": (lease(signed(exp=IAT - 1)), "token_claims"),
        "a delegation of text": (raw_token(
            {"alg": "Ed25519", "kid": RELAY_KEY.kid, "typ": "lease+jwt"},
            msgspec.to_builtins(lease_claims(JKT)) | {"delegation": "x"}, RELAY_KEY),
            "token_malformed"),
        "a number in place of a delegation": (raw_token(
            {"alg": "Ed25519", "kid": RELAY_KEY.kid, "typ": "lease+jwt"},
            msgspec.to_builtins(lease_claims(JKT)) | {"delegation": 7}, RELAY_KEY),
            "token_claims"),
        "another license": (lease(good, lic="lic_other"), WIDE),
        "another version of the plan": (lease(good, pv=2), WIDE),
        "a lease that is too long": (lease(good, exp=IAT + 7 * DAY + 1), WIDE),
        "a lease beyond the delegation": (lease(past, exp=IAT + DAY + 1, renew_after_at=IAT), WIDE),
        "a lease from before the delegation": (
            lease(good, iat=IAT - 1, nbf=IAT - 1, renew_after_at=IAT), WIDE),
        "an entitlement that was not given": (lease(good, ent=[Entitlement("face.all")]), WIDE),
        "an entitlement for longer": (lease(short, ent=[Entitlement("face.swap")]), WIDE),
        "an entitlement for a lower level": (lease(high, ent=[Entitlement("face.swap")]), WIDE),
        "another place in the status list": (lease(good, status=StatusRef(8, LIST_URI)), WIDE),
        "an online lease": (lease(good, enforcement="online"), WIDE),
        "a hardware lease": (lease(good, enforcement="hardware", hardware=end), WIDE),
        "a lease of L2": (lease(good, level=2), WIDE),
        "a token for another license": (license_(good, sub="lic_other"), WIDE),
        "a token for another plan": (license_(good, plan="free"), WIDE),
        "a token that allows longer leases": (license_(good, lease_max_seconds=8 * DAY), WIDE),
        "a token beyond the delegation": (license_(good, exp=IAT + 61 * DAY), WIDE),
    }  # fmt: skip
