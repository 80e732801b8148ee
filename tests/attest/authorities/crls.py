"""Revocation lists of our own."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from tests.attest.authorities.certificates import Plan, issue


def crl(issuer: Plan, now: datetime, revoked: Iterable[int] = (), days: int = 30) -> bytes:
    """A list in DER, begun a day before ``now`` and current for ``days``."""
    subject = x509.load_der_x509_certificate(issue(issuer, issuer)).subject
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(subject)
        .last_update(now - timedelta(days=1))
        .next_update(now + timedelta(days=days))
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
            critical=False,
        )
    )
    for serial in revoked:
        one = x509.RevokedCertificateBuilder().serial_number(serial)
        builder = builder.add_revoked_certificate(one.revocation_date(now).build())
    digest = hashes.SHA384() if issuer.key.key_size == 384 else hashes.SHA256()
    return builder.sign(issuer.key, digest).public_bytes(Encoding.DER)
