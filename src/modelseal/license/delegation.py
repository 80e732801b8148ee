"""Whether what a relay signed stays within the delegation by which it may sign. Pure.

A relay says yes and nothing else: license tokens and software leases of L0, of one license, no more
and no longer than the server let it. Normative: ``docs/spec/tokens.md``, "Delegation".
"""

from __future__ import annotations

from collections.abc import Iterable

from modelseal.crypto.signing import VerifyKey
from modelseal.errors import DelegationExceeded, TokenAlgorithm
from modelseal.license.claims import (
    DelegationClaims,
    Entitlement,
    LeaseClaims,
    LicenseClaims,
)

ALGORITHM = "Ed25519"


def key_of(delegation: DelegationClaims) -> VerifyKey:
    """The relay's key; ``TokenAlgorithm`` for one of another kind than Ed25519."""
    key = VerifyKey.from_jwk(dict(delegation.jwk))
    if key.alg != ALGORITHM:
        raise TokenAlgorithm(f"a relay signs with {ALGORITHM}")
    return key


def check(claims: LicenseClaims | LeaseClaims, by: DelegationClaims) -> None:
    """Returns when ``claims`` are within ``by``; ``DelegationExceeded`` names what is not."""
    if isinstance(claims, LeaseClaims):
        held = {
            "lic": claims.lic == by.lic,
            "lease_max_seconds": claims.exp - claims.iat <= by.lease_max_seconds,
            "enforcement": claims.enforcement == "software" and claims.hardware is None,
            "level": claims.level == 0,
        }
    else:
        held = {
            "lic": claims.sub == by.lic,
            "plan": claims.plan == by.plan,
            "lease_max_seconds": claims.lease_max_seconds <= by.lease_max_seconds,
        }
    held |= {
        "pv": claims.pv == by.pv,
        "iat": by.iat <= claims.iat,
        "exp": claims.exp <= by.exp,
        "status": claims.status == by.status,
        "ent": _within(claims.ent, by.ent),
    }
    for member, is_held in held.items():
        if not is_held:
            raise DelegationExceeded("beyond what the server let the relay give", member=member)


def _within(given: Iterable[Entitlement], most: Iterable[Entitlement]) -> bool:
    """True when each of ``given`` is one of ``most``, for no lower level and no longer."""
    known = {item.id: item for item in most}
    return all(_is_less(item, known.get(item.id)) for item in given)


def _is_less(item: Entitlement, most: Entitlement | None) -> bool:
    if most is None or item.min_level < most.min_level:
        return False
    return most.exp is None or (item.exp is not None and item.exp <= most.exp)
