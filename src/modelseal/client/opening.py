"""Opening what was sealed to one KEM key for exactly one lease or release."""

from __future__ import annotations

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import SealedKeyInvalid
from modelseal.license import lease_keys
from modelseal.license.claims import LeaseClaims, ReleaseClaims
from modelseal.license.lease_keys import Binding, DataKeys
from modelseal.types import Enforcement


def is_online(lease: LeaseClaims) -> bool:
    """Whether the keys come at each run instead of lying on the device."""
    return Enforcement(lease.enforcement) is Enforcement.ONLINE


def open_claims(claims: LeaseClaims | ReleaseClaims, kem: KemPrivateKey) -> DataKeys:
    """The keys in ``claims`` sealed to ``kem``; ``SealedKeyInvalid`` for another KEM key's."""
    mine = [item for item in claims.keys if item.recipient == kem.kid]
    if claims.keys and not mine:
        raise SealedKeyInvalid("sealed to another KEM key")
    found: DataKeys = {}
    for item in mine:
        found.update(lease_keys.open_keys(item, kem, _binding(claims, item.level)))
    return found


def _binding(claims: LeaseClaims | ReleaseClaims, level: int) -> Binding:
    """What the keys in ``claims`` are sealed for: exactly this lease or release."""
    released = isinstance(claims, ReleaseClaims)
    return Binding(
        label="release" if released else "lease",
        product=claims.product,
        license=claims.lic,
        device=claims.sub,
        lease=claims.lease if isinstance(claims, ReleaseClaims) else claims.jti,
        seq=claims.seq,
        exp=claims.exp,
        level=level,
        jkt=claims.cnf.jkt,
        nonce=claims.request_nonce if released else None,
    )
