"""Opening what was sealed to one KEM key for exactly one lease or release."""

from __future__ import annotations

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.hpke_p256 import P256PrivateKey
from modelseal.errors import SealedKeyInvalid
from modelseal.license import lease_keys
from modelseal.license.claims import LeaseClaims, ReleaseClaims
from modelseal.license.lease_keys import Binding, DataKeys
from modelseal.strict_json import unb64u
from modelseal.types import Enforcement


def is_online(lease: LeaseClaims) -> bool:
    """Whether the keys come at each run instead of lying on the device."""
    return Enforcement(lease.enforcement) is Enforcement.ONLINE


def open_claims(
    claims: LeaseClaims | ReleaseClaims,
    kem: KemPrivateKey,
    hardware: P256PrivateKey | None = None,
) -> DataKeys:
    """The keys in ``claims`` sealed to ``kem``, and round that to ``hardware`` where there is one.

    ``SealedKeyInvalid`` for other keys'; the hardware's own refusal leaves as it is.
    """
    recipient = kem.kid if hardware is None else hardware.kid
    mine = [item for item in claims.keys if item.recipient == recipient]
    if claims.keys and not mine:
        raise SealedKeyInvalid("sealed to another KEM key")
    found: DataKeys = {}
    for item in mine:
        binding = _binding(claims, item.level)
        found.update(lease_keys.open_keys(item, kem, binding, hardware))
    return found


def _binding(claims: LeaseClaims | ReleaseClaims, level: int) -> Binding:
    """What the keys in ``claims`` are sealed for: exactly this lease or release."""
    released = isinstance(claims, ReleaseClaims)
    proved = claims.attested if isinstance(claims, ReleaseClaims) else None
    plain = "release" if released else "lease"
    return Binding(
        label=plain if proved is None else "attested-release",
        product=claims.product,
        license=claims.lic,
        device=claims.sub,
        lease=claims.lease if isinstance(claims, ReleaseClaims) else claims.jti,
        seq=claims.seq,
        exp=claims.exp,
        level=level,
        jkt=claims.cnf.jkt,
        nonce=claims.request_nonce if released else None,
        transcript=None if proved is None else unb64u(proved.transcript),
        result=None if proved is None else unb64u(proved.result),
    )
