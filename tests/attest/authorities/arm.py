"""A maker of Arm chips: PSA and CCA tokens whose every claim can be made wrong."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.attest.authorities import certificates as c

from modelseal.strict_json import b64u

_ALGORITHMS = {256: (-7, hashes.SHA256, 32), 384: (-35, hashes.SHA384, 48)}
INSTANCE = b"\x01" + b"\x09" * 32
COMPONENT = {1: "BL", 2: b"\x01" * 32, 4: "1.0", 5: b"\x02" * 32}


def sign1(
    key: Any, claims: Any, *, header: dict[int, Any] | None = None, tag: int | None = 18
) -> Any:
    """A COSE_Sign1 over ``claims`` as a CBOR value."""
    algorithm, digest, size = _ALGORITHMS[key.key_size]
    protected = cbor2.dumps({1: algorithm} if header is None else header)
    payload = claims if isinstance(claims, bytes) else cbor2.dumps(claims)
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(digest())))
    members = [protected, {}, payload, r.to_bytes(size, "big") + s.to_bytes(size, "big")]
    return members if tag is None else cbor2.CBORTag(tag, members)


def cose_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    curve, size = {256: (1, 32), 384: (2, 48)}[key.key_size]
    x, y = (n.to_bytes(size, "big") for n in (numbers.x, numbers.y))
    return cbor2.dumps({1: 2, -1: curve, -2: x, -3: y})


def raw_point(key: ec.EllipticCurvePrivateKey) -> bytes:
    public = key.public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


class Maker:
    """One chip with its attestation key, and a realm on it."""

    def __init__(self) -> None:
        self.iak = c.p256()
        self.rak = c.p384()

    @property
    def jwk(self) -> bytes:
        """The chip's public key, as an operator pins it."""
        numbers = self.iak.public_key().public_numbers()
        x, y = (b64u(n.to_bytes(32, "big")) for n in (numbers.x, numbers.y))
        return json.dumps({"kty": "EC", "crv": "P-256", "x": x, "y": y}).encode()

    @property
    def pem(self) -> bytes:
        return self.iak.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def psa(self, **changes: Any) -> dict[int, Any]:
        """The claims of a PSA token of 2.0.0; a value None leaves the claim out."""
        return _changed(
            {
                265: "http://arm.com/psa/2.0.0",
                2394: 1,
                2395: 0x3000,
                2396: b"\x07" * 32,
                268: b"\x08" * 32,
                2399: [COMPONENT],
                10: b"\x0a" * 32,
                256: INSTANCE,
            },
            changes,
        )

    def legacy(self, **changes: Any) -> dict[int, Any]:
        """The claims of ``PSA_IOT_PROFILE_1``."""
        return _changed(
            {
                -75000: "PSA_IOT_PROFILE_1",
                -75001: -1,
                -75002: 0x3000,
                -75003: b"\x07" * 32,
                -75004: b"\x08" * 32,
                -75006: [COMPONENT],
                -75008: b"\x0a" * 48,
                -75009: INSTANCE,
            },
            changes,
        )

    def platform(self, **changes: Any) -> dict[int, Any]:
        return _changed(
            {
                265: "tag:arm.com,2023:cca_platform#1.0.0",
                10: hashlib.sha256(cose_key(self.rak)).digest(),
                2396: b"\x07" * 32,
                256: INSTANCE,
                2401: b"\x01\x02",
                2395: 0x3003,
                2399: [COMPONENT],
                2402: "sha-256",
            },
            changes,
        )

    def realm(self, **changes: Any) -> dict[int, Any]:
        return _changed(
            {
                265: "tag:arm.com,2023:realm#1.0.0",
                10: b"\x0b" * 64,
                44235: b"\x0c" * 64,
                44238: b"\x0d" * 32,
                44239: [bytes([i]) * 32 for i in range(4)],
                44236: "sha-256",
                44237: cose_key(self.rak),
                44240: "sha-256",
            },
            changes,
        )

    def cca(self, platform: Any = None, realm: Any = None, *, tag: int = 399) -> bytes:
        """A whole token of ``platform`` and ``realm`` claims."""
        tokens = [
            cbor2.dumps(sign1(self.iak, self.platform() if platform is None else platform)),
            cbor2.dumps(sign1(self.rak, self.realm() if realm is None else realm)),
        ]
        members: list[Any] = tokens if tag == 399 else [[263, token] for token in tokens]
        return cbor2.dumps(cbor2.CBORTag(tag, {44234: members[0], 44241: members[1]}))


def _changed(claims: dict[int, Any], changes: dict[str, Any]) -> dict[int, Any]:
    """Keyword ``k10`` changes claim 10, ``n75001`` claim -75001."""
    for name, value in changes.items():
        key = int(name[1:]) * (-1 if name[0] == "n" else 1)
        if value is None:
            del claims[key]
        else:
            claims[key] = value
    return claims
