"""A certificate authority for tests whose every field can be made wrong."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.attest.authorities import der_writer as w

COMMON_NAME, SERIAL_NUMBER, TITLE, ORGANIZATION = "2.5.4.3", "2.5.4.5", "2.5.4.12", "2.5.4.10"
ECDSA_SHA256, ECDSA_SHA384 = "1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3"
RSA_SHA256 = "1.2.840.113549.1.1.11"
START, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
CA = {"2.5.29.19": w.sequence(w.boolean(True)), "2.5.29.15": w.tlv(0x03, b"\x01\x06")}
LEAF = {"2.5.29.15": w.tlv(0x03, b"\x07\x80")}


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def p384() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def spki(key: Any) -> bytes:
    found: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return found


@dataclass(frozen=True)
class Plan:
    """What a certificate shall say; ``key`` is its own key, the issuer comes with ``issue``."""

    name: Mapping[str, str]
    key: Any
    extensions: Mapping[str, bytes] = field(default_factory=dict)
    serial: int = 1
    start: datetime = START
    end: datetime = END
    algorithm: str = ""
    null_parameters: bool = False

    def but(self, **changes: Any) -> Plan:
        return replace(self, **changes)


def issue(plan: Plan, issuer: Plan) -> bytes:
    """The certificate of ``plan`` in DER, signed by the key of ``issuer``."""
    rsa_key = isinstance(issuer.key, rsa.RSAPrivateKey)
    fallback = ECDSA_SHA256 if getattr(issuer.key, "key_size", 0) == 256 else ECDSA_SHA384
    name = plan.algorithm or (RSA_SHA256 if rsa_key else fallback)
    parameters = (w.null(),) if plan.null_parameters or name == RSA_SHA256 else ()
    algorithm = w.sequence(w.oid(name), *parameters)
    listed = [w.sequence(w.oid(o), w.octets(v)) for o, v in plan.extensions.items()]
    tbs = w.sequence(
        w.explicit(0, w.integer(2)),
        w.integer(plan.serial),
        algorithm,
        _name(issuer.name),
        w.sequence(w.instant(plan.start), w.instant(plan.end)),
        _name(plan.name),
        spki(plan.key),
        *((w.explicit(3, w.sequence(*listed)),) if listed else ()),
    )
    digest = hashes.SHA384() if name == ECDSA_SHA384 else hashes.SHA256()
    if rsa_key:
        signature = issuer.key.sign(tbs, padding.PKCS1v15(), digest)
    else:
        signature = issuer.key.sign(tbs, ec.ECDSA(digest))
    return w.sequence(tbs, algorithm, w.bits(signature))


def chain(plans: list[Plan]) -> list[bytes]:
    """The certificates of ``plans``, leaf first, each issued by the next, the last by itself."""
    return [issue(p, plans[min(i + 1, len(plans) - 1)]) for i, p in enumerate(plans)]


def pem(ders: list[bytes]) -> bytes:
    return b"".join(
        b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
        for der in ders
    )


def _name(attributes: Mapping[str, str]) -> bytes:
    pairs = (w.sequence(w.oid(o), w.text(value)) for o, value in attributes.items())
    return w.sequence(*(w.set_(pair) for pair in pairs))
