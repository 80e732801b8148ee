"""A TPM in software and a maker for it: every field of its statements can be made wrong.

Real statements of a real emulator are judged in ``tests/leases``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from modelseal.attest.verify.tpm2 import LeaseKey, Point, attestation_public, lease_template
from modelseal.tpm2.wire.attest import Attest, Certified, Clock, Quoted, Signature
from modelseal.tpm2.wire.codec import u32
from modelseal.tpm2.wire.codes import Alg, Hierarchy
from modelseal.tpm2.wire.policy import PcrSelection, pcr_digest
from modelseal.tpm2.wire.public import Public
from modelseal.tpm2.wire.secrets import qualified_name

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EK_PURPOSE = x509.ObjectIdentifier("2.23.133.8.1")
MANUFACTURER = x509.ObjectIdentifier("2.23.133.2.1")
BOUND = bytes(range(32))
PCRS = {(int(Alg.SHA256), 7): bytes(32), (int(Alg.SHA256), 11): bytes([1]) * 32}


def point_of(key: ec.EllipticCurvePrivateKey) -> Point:
    at = key.public_key().public_numbers()
    return Point(at.x.to_bytes(32, "big"), at.y.to_bytes(32, "big"))


def new_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


@dataclass
class SoftTpm:
    """What a TPM would say; ``certify`` and ``quote`` take what is to be wrong by name."""

    ak: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    lease: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    clock: Clock = field(default_factory=lambda: Clock(1_000_000, 7, 2, safe=True))

    @property
    def by(self) -> Point:
        return point_of(self.ak)

    def key(self, **wrong: Any) -> LeaseKey:
        return replace(LeaseKey(point_of(self.lease), 1_600_000, 31), **wrong)

    def public(self, key: LeaseKey) -> Public:
        template = lease_template(key.clock_limit_ms, key.reset_limit)
        return replace(template, body=replace(template.body, x=key.point.x, y=key.point.y))

    def certify(self, key: LeaseKey | None = None, **wrong: Any) -> tuple[bytes, bytes]:
        public = wrong.pop("public", None) or self.public(key or self.key())
        hierarchy = wrong.pop("key_hierarchy", Hierarchy.OWNER)
        name = wrong.pop("name", public.name)
        said = Certified(name, qualified_name(u32(hierarchy), public.name))
        return self.state(wrong.pop("statement", said), **wrong)

    def quote(self, **wrong: Any) -> tuple[bytes, bytes]:
        selections = wrong.pop("selections", (PcrSelection(Alg.SHA256, (7, 11)),))
        digest = wrong.pop("digest", None)
        if digest is None:
            digest = pcr_digest(selections, PCRS)
        return self.state(Quoted(selections, digest), **wrong)

    def state(self, statement: Any, **wrong: Any) -> tuple[bytes, bytes]:
        hierarchy = wrong.pop("ak_hierarchy", Hierarchy.ENDORSEMENT)
        name = attestation_public(self.by).name
        said = Attest(
            signer=qualified_name(u32(hierarchy), name),
            extra=wrong.pop("bound", BOUND),
            clock=wrong.pop("clock", self.clock),
            firmware=1,
            statement=statement,
        )
        signer = wrong.pop("signed_by", self.ak)
        raw = said.to_bytes()
        r, s = decode_dss_signature(signer.sign(raw, ec.ECDSA(hashes.SHA256())))
        made = Signature(Alg.ECDSA, Alg.SHA256, r.to_bytes(32, "big"), s.to_bytes(32, "big"))
        assert not wrong, wrong
        return raw, made.to_bytes()


@dataclass
class Maker:
    """A maker of TPMs: a root, an intermediate, and certificates for endorsement keys."""

    name: str = "Maker"
    root_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    middle_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    def __post_init__(self) -> None:
        self.root = self.certificate(self.root_key.public_key(), "root", "root", ca=True)
        self.middle = self.certificate(self.middle_key.public_key(), "middle", "root", ca=True)

    def certificate(
        self, key: Any, subject: str, issuer: str, *, ca: bool = False, **wrong: Any
    ) -> x509.Certificate:
        """One certificate; ``wrong`` replaces lifetimes, extensions, the signer."""
        signer = self.root_key if issuer == "root" else self.middle_key
        made = (
            x509.CertificateBuilder()
            .subject_name(self._name(subject))
            .issuer_name(self._name(issuer))
            .public_key(key)
            .serial_number(wrong.pop("serial", x509.random_serial_number()))
            .not_valid_before(wrong.pop("begins", NOW - timedelta(days=30)))
            .not_valid_after(wrong.pop("ends", NOW + timedelta(days=3650)))
            .add_extension(
                x509.BasicConstraints(ca=ca, path_length=wrong.pop("path_length", None)), True
            )
        )
        for extension, critical in wrong.pop("extensions", ()):
            made = made.add_extension(extension, critical)
        assert not wrong, wrong
        return made.sign(signer, hashes.SHA256())

    def endorse(self, key: Any, **wrong: Any) -> x509.Certificate:
        """The certificate of an endorsement key, as a factory makes it."""
        purpose = wrong.pop("purpose", EK_PURPOSE)
        named = x509.DirectoryName(x509.Name([x509.NameAttribute(MANUFACTURER, "id:41424344")]))
        extensions = [
            (x509.SubjectAlternativeName(wrong.pop("names", [named])), True),
            (_usage(**wrong.pop("usage", {"key_agreement": True})), True),
        ]
        if purpose is not None:
            extensions.append((x509.ExtendedKeyUsage([purpose]), False))
        extensions += wrong.pop("more", [])
        issuer = wrong.pop("issuer", "middle")
        return self.certificate(key, "ek", issuer, extensions=extensions, **wrong)

    def chain(self, key: Any, **wrong: Any) -> list[bytes]:
        """The certificate and the intermediate in DER."""
        certificates = [self.endorse(key, **wrong), self.middle]
        return [one.public_bytes(Encoding.DER) for one in certificates]

    def crl(self, *serials: int, issuer: str = "middle", at: datetime = NOW) -> Any:
        """A revocation list."""
        signer = self.root_key if issuer == "root" else self.middle_key
        made = x509.CertificateRevocationListBuilder().issuer_name(self._name(issuer))
        made = made.last_update(at).next_update(at + timedelta(days=30))
        for serial in serials:
            gone = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
            made = made.add_revoked_certificate(gone.build())
        return made.sign(signer, hashes.SHA256())

    def _name(self, part: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{self.name} {part}")])


def _usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


def random(size: int) -> bytes:
    return os.urandom(size)
