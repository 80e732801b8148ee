"""What a device asks: verified, for this server, with the key it proves."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from modelseal.crypto.hpke import SUITE, KemPublicKey
from modelseal.errors import Misuse, NotFound, TokenClaims
from modelseal.license import handover, jws, license_key, tokens
from modelseal.license.claims import RequestClaims
from modelseal.server.services.context import Context
from modelseal.server.store import devices as device_store
from modelseal.server.store.rows import DeviceRow


def introducing(
    context: Context, token: bytes, op: str, *, max_bytes: int = tokens.MAX_REQUEST_BYTES
) -> RequestClaims:
    """A request of a device that may be new; proves possession of the key it names."""
    claims = tokens.read_request(token, server_id=context.server_id, jwk=None, max_bytes=max_bytes)
    return _for(claims, op)


def enrolled(
    context: Context,
    token: bytes,
    op: str,
    device_id: str,
    *,
    max_bytes: int = tokens.MAX_REQUEST_BYTES,
) -> tuple[RequestClaims, DeviceRow | None]:
    """A request of the device ``device_id``, signed by its enrolled key.

    A renewal may be signed by a new key to which the enrolled one hands over in it. For a device
    the store does not know, the request's own key is proved instead and the row is None: only a
    lease of ours can tell who that is.
    """
    row = context.store.read(device_store.get, device_id)
    # The tombstone of a device that a restore forgot has but the key's thumbprint.
    enrolled_key = row.jwk if row is not None and row.jwk else None
    jwk: Mapping[str, object] | None = enrolled_key
    payload = jws.parse(token, max_bytes=max_bytes).payload
    if row is not None and payload.get("iss") != row.jkt:
        if not _may_speak(payload, row):
            raise NotFound("no such device", device=device_id)
        jwk = _own_key(payload) if op == "renew" else jwk
    elif jwk is None:
        jwk = _own_key(payload)
    claims = tokens.read_request(token, server_id=context.server_id, jwk=jwk, max_bytes=max_bytes)
    if row is not None and claims.iss != row.jkt and not _is_ahead(claims, row):
        handover.read(claims, server_id=context.server_id, old=enrolled_key or {})
    if claims.sub != device_id:
        raise TokenClaims("the request names another device than its address")
    if row is not None and claims.lic is not None and claims.lic != row.license_id:
        raise TokenClaims("the request names another license than the device's")
    return _for(claims, op), row


def typed_key(context: Context, claims: RequestClaims) -> bytes:
    """The ten bytes of the license key in the request, opened with our sealing key."""
    sealed = claims.license_key
    if sealed is None:
        raise TokenClaims("the request carries no license key")
    binding = license_key.KeyBinding(
        server=context.server_id, product=claims.product, jkt=claims.iss, nonce=claims.nonce
    )
    return license_key.open_key(sealed, context.opener(sealed.recipient, context.now()), binding)


def kem_key(claims: RequestClaims) -> KemPublicKey:
    """The KEM key the answer's keys are sealed to."""
    known = kem_keys(claims)
    if not known:
        raise TokenClaims(f"the request carries no KEM key of suite {SUITE}")
    return known[0]


def kem_keys(claims: RequestClaims) -> list[KemPublicKey]:
    """Every KEM key of the request: the answer's, and those of leases made ahead."""
    return [_kem_key(key.pub) for key in claims.kem if key.suite == SUITE]


@functools.lru_cache(maxsize=256)
def _kem_key(pub: str) -> KemPublicKey:
    """Reading one costs half a seal, and an act looks at the key of its request several times."""
    return KemPublicKey({"kty": "AKP", "alg": SUITE, "pub": pub})


def _for(claims: RequestClaims, op: str) -> RequestClaims:
    if claims.op != op:
        raise Misuse(f"this address takes the operation {op}", op=claims.op)
    return claims


def _may_speak(payload: Mapping[str, object], row: DeviceRow) -> bool:
    """True when another key than the enrolled one shows something by which it could speak.

    Whether the device is there is told to nobody else.
    """
    seq = payload.get("seq")
    is_ahead = isinstance(seq, int) and seq > row.seq
    return payload.get("op") == "renew" and ("handover" in payload or is_ahead)


def _is_ahead(claims: RequestClaims, row: DeviceRow) -> bool:
    """A device may have got a new key after the snapshot from which this store was restored.

    Its lease must tell (``adoption``), and the renewal asks again whose key signed.
    """
    return claims.op == "renew" and claims.handover is None and claims.seq > row.seq


def _own_key(payload: Mapping[str, object]) -> Mapping[str, object]:
    """The key a request names; ``read_request`` then demands that it signed."""
    own = payload.get("jwk")
    if not isinstance(own, dict):
        raise TokenClaims("a request carries its public key")
    return own
