"""What a device asks: verified, for this server, with the key it proves."""

from __future__ import annotations

from modelseal.crypto.hpke import SUITE, KemPublicKey
from modelseal.errors import Misuse, TokenClaims
from modelseal.license import jws, license_key, tokens
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

    For a device the store does not know, the request's own key is proved instead and the row is
    None: only a lease of ours can tell who that is.
    """
    row = context.store.read(device_store.get, device_id)
    # The tombstone of a device that a restore forgot has but the key's thumbprint.
    jwk = row.jwk if row is not None and row.jwk else _own_key(token, max_bytes)
    claims = tokens.read_request(token, server_id=context.server_id, jwk=jwk, max_bytes=max_bytes)
    if row is not None and claims.iss != row.jkt:
        raise TokenClaims("the request is signed by another key than the device's")
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
    return [
        KemPublicKey({"kty": "AKP", "alg": SUITE, "pub": key.pub})
        for key in claims.kem
        if key.suite == SUITE
    ]


def _for(claims: RequestClaims, op: str) -> RequestClaims:
    if claims.op != op:
        raise Misuse(f"this address takes the operation {op}", op=claims.op)
    return claims


def _own_key(token: bytes, max_bytes: int) -> dict[str, object]:
    """The key a request names; ``read_request`` then demands that it signed."""
    own = jws.parse(token, max_bytes=max_bytes).payload.get("jwk")
    if not isinstance(own, dict):
        raise TokenClaims("a request carries its public key")
    return own
