"""A product with keys, a simple trust and one valid token of every kind."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from modelseal.crypto.hpke import SUITE, KemPrivateKey
from modelseal.crypto.signing import SigningKey, VerifyKey
from modelseal.errors import TokenKeyUnknown
from modelseal.license import status
from modelseal.license.claims import (
    Attested,
    ClockReading,
    Confirmation,
    DelegationClaims,
    DenialClaims,
    Entitlement,
    KemKey,
    LeaseClaims,
    LicenseClaims,
    ReleaseClaims,
    RequestClaims,
    StatusListClaims,
    StatusRef,
)
from modelseal.license.status import Status
from modelseal.strict_json import b64u
from modelseal.types import to_numeric

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
IAT = to_numeric(NOW)
DAY = 86400
PRODUCT = "facefusion"
SERVER = "srv_01890a5d-ac96-774b-bcce-b302099a8057"
LICENSE = "lic_01890a5d-ac96-774b-bcce-b302099a8057"
DEVICE = "dev_01890a5d-ac96-774b-bcce-b302099a8057"
LEASE = "lea_01890a5d-ac96-774b-bcce-b302099a8057"
NONCE = b64u(b"n" * 32)
LIST_URI = "/v1/status-lists/1"
ALGORITHMS = ("Ed25519", "ES256", "RS256")


@dataclass
class FakeTrust:
    """A trust that is one table: use -> sets of keys, each with its validity."""

    product: str = PRODUCT
    server_id: str = SERVER
    sets: list[tuple[str, tuple[VerifyKey, ...], datetime, datetime]] = field(default_factory=list)

    def add(self, use: str, *keys: SigningKey, days: int = 3650) -> FakeTrust:
        until = NOW + timedelta(days=days)
        verify = tuple(key.verify_key() for key in keys)
        self.sets.append((use, verify, NOW - timedelta(days=1), until))
        return self

    def verify_keys(self, use: str, kid: str, at: datetime) -> tuple[VerifyKey, ...]:
        for name, keys, start, end in self.sets:
            if name == use and start <= at < end and any(key.kid == kid for key in keys):
                return keys
        raise TokenKeyUnknown("not listed")


def trust_of(*keys: SigningKey) -> FakeTrust:
    trust = FakeTrust()
    for use in ("license", "lease", "status"):
        trust.add(use, *keys)
    return trust


def license_claims(jkt: str, **changes: Any) -> LicenseClaims:
    values: dict[str, Any] = {
        "iss": SERVER, "aud": PRODUCT, "sub": LICENSE, "jti": LICENSE + "-1", "iat": IAT,
        "nbf": IAT, "exp": IAT + 30 * DAY, "product": PRODUCT, "plan": "pro", "pv": 1,
        "ent": [Entitlement("face.swap"), Entitlement("face.restore", 2, IAT + 10 * DAY)],
        "cnf": Confirmation(jkt), "lease_max_seconds": 7 * DAY, "status": StatusRef(7, LIST_URI),
    }  # fmt: skip
    return LicenseClaims(**(values | changes))


def lease_claims(jkt: str, **changes: Any) -> LeaseClaims:
    values: dict[str, Any] = {
        "iss": SERVER, "aud": PRODUCT, "sub": DEVICE, "lic": LICENSE, "product": PRODUCT, "pv": 1,
        "jti": LEASE, "iat": IAT, "nbf": IAT, "exp": IAT + 7 * DAY,
        "renew_after_at": IAT + 7 * DAY // 3, "seq": 1, "request_nonce": NONCE,
        "cnf": Confirmation(jkt), "ent": [Entitlement("face.swap")], "enforcement": "software",
        "keys": [], "level": 0, "status": StatusRef(7, LIST_URI),
    }  # fmt: skip
    return LeaseClaims(**(values | changes))


def denial_claims(jkt: str, **changes: Any) -> DenialClaims:
    values: dict[str, Any] = {
        "iss": SERVER, "aud": PRODUCT, "sub": DEVICE, "product": PRODUCT,
        "jti": "den_01890a5d-ac96-774b-bcce-b302099a8057", "iat": IAT, "seq": 2,
        "request_nonce": NONCE, "cnf": Confirmation(jkt), "code": "license_revoked",
        "state": "REVOKED", "erase": True, "reference": "ABCD1234", "lic": LICENSE,
        "params": {"why": "chargeback"},
    }  # fmt: skip
    return DenialClaims(**(values | changes))


def release_claims(jkt: str, **changes: Any) -> ReleaseClaims:
    values: dict[str, Any] = {
        "iss": SERVER, "aud": PRODUCT, "sub": DEVICE, "lic": LICENSE, "product": PRODUCT,
        "jti": "rel_01890a5d-ac96-774b-bcce-b302099a8057", "iat": IAT, "exp": IAT + 3600,
        "lease": LEASE, "seq": 1, "request_nonce": NONCE, "cnf": Confirmation(jkt), "keys": [],
        "level": 0,
    }  # fmt: skip
    return ReleaseClaims(**(values | changes))


RELAY = "rly_01890a5d-ac96-774b-bcce-b302099a8057"
RELAY_KEY = SigningKey.from_pkcs8(
    bytes.fromhex("302e020100300506032b657004220420") + bytes(range(1, 33))
)
"""The relay that signs by ``delegation_claims``."""


def delegation_claims(jkt: str, **changes: Any) -> DelegationClaims:
    values: dict[str, Any] = {
        "iss": SERVER, "aud": PRODUCT, "sub": RELAY, "device": DEVICE, "lic": LICENSE,
        "product": PRODUCT, "plan": "pro", "pv": 1,
        "jti": "dlg_01890a5d-ac96-774b-bcce-b302099a8057", "iat": IAT, "exp": IAT + 60 * DAY,
        "number": 1, "request_nonce": NONCE, "cnf": Confirmation(jkt), "jwk": dict(RELAY_KEY.jwk),
        "kem": "k" * 43, "seats": 20, "renewals": 200,
        "lease_max_seconds": 7 * DAY,
        "ent": [Entitlement("face.swap"), Entitlement("face.restore", 2, IAT + 10 * DAY)],
        "status": StatusRef(7, LIST_URI), "level": 3,
        "attested": Attested(b64u(b"t" * 32), b64u(b"r" * 32), ["tpm2"]),
    }  # fmt: skip
    return DelegationClaims(**(values | changes))


def status_claims(**changes: Any) -> StatusListClaims:
    bits = status.pack({7: Status.REVOKED, 9: Status.SUSPENDED, 10: Status.ENDED}, 64)
    values: dict[str, Any] = {
        "iss": SERVER, "sub": LIST_URI, "iat": IAT, "exp": IAT + 600, "ttl": 300, "number": IAT,
        "status_list": status.body(bits),
    }  # fmt: skip
    return StatusListClaims(**(values | changes))


def request_claims(key: SigningKey, kem_key: KemPrivateKey | None = None, **changes: Any):
    values: dict[str, Any] = {
        "iss": key.kid, "aud": SERVER, "product": PRODUCT,
        "jti": "req_01890a5d-ac96-774b-bcce-b302099a8057", "iat": IAT, "op": "activate",
        "nonce": NONCE, "jwk": dict(key.jwk), "clock": ClockReading(IAT, 100),
        "kem": [] if kem_key is None else [KemKey(SUITE, kem_key.jwk["pub"])],
    }  # fmt: skip
    return RequestClaims(**(values | changes))


def every_claims(jkt: str) -> list[Any]:
    """One of every kind that the server signs."""
    return [
        license_claims(jkt),
        lease_claims(jkt),
        denial_claims(jkt),
        release_claims(jkt),
        status_claims(),
        delegation_claims(jkt),
    ]


def raw_token(header: Any, payload: Any, key: SigningKey) -> str:
    """A compact token of exactly these bytes or values, truly signed."""
    parts = [b64(header), b64(payload)]
    signature = key.sign(".".join(parts).encode())
    return ".".join([*parts, b64u(signature)])


def b64(value: Any) -> str:
    """base64url of bytes, or of the canonical JSON of anything else (NaN and floats allowed)."""
    if not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        value = value.encode()
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
