"""The development TLS authority of a workspace: HTTPS from the first minute, trusted by pinning.

TLS is not the root of trust here, the signed answers are. For a public name, put a certificate of
a public authority into ``server/tls`` and set ``tls_ca`` to nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modelseal.crypto.signing import SigningKey
from modelseal.errors import InvalidBytes, Misuse
from modelseal.strict_json import b64u

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
DEFAULT_HOSTS = ("localhost", "127.0.0.1", "::1")
SERVER_NAME = "modelseal license server"
AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 3650


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A server's certificate and its private key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return "ServerCertificate(…)"


@dataclass(frozen=True, slots=True)
class Authority:
    """A development authority: its key for the desk, its certificate for ``trust.json``."""

    key: SigningKey
    certificate_pem: bytes

    def issue(self, hosts: Sequence[str], *, not_before: datetime) -> ServerCertificate:
        """A certificate for ``hosts`` (names or addresses), valid ten years."""
        names = [_san(host) for host in hosts]
        private = ec.generate_private_key(ec.SECP256R1())
        authority = x509.load_pem_x509_certificate(self.certificate_pem)
        builder = (
            _builder(_name(SERVER_NAME), authority.subject, private.public_key(), not_before)
            .add_extension(x509.SubjectAlternativeName(names), False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_key_usage(sign_certificates=False), True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(_private(self.key).public_key()),
                False,
            )
        )
        certificate = builder.sign(_private(self.key), hashes.SHA256())
        key_pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return ServerCertificate(certificate.public_bytes(Encoding.PEM), key_pem)


def create_authority(product: str, *, not_before: datetime) -> Authority:
    """A fresh P-256 authority that signs server certificates and nothing below itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"modelseal development authority: {product}"[:64])
    certificate = (
        _builder(name, name, private.public_key(), not_before, days=AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_key_usage(sign_certificates=True), True)
        .sign(private, hashes.SHA256())
    )
    return Authority(SigningKey("ES256", private), certificate.public_bytes(Encoding.PEM))


def matches(certificate_pem: str, jwk: dict[str, str]) -> bool:
    """True when the PEM certificate holds the P-256 key ``jwk``."""
    try:
        public = x509.load_pem_x509_certificate(certificate_pem.encode()).public_key()
    except ValueError:
        raise InvalidBytes("tls_ca is no certificate") from None
    if not isinstance(public, ec.EllipticCurvePublicKey):
        return False
    numbers = public.public_numbers()
    x, y = (number.to_bytes(32, "big") for number in (numbers.x, numbers.y))
    return jwk == {"kty": "EC", "crv": "P-256", "x": b64u(x), "y": b64u(y)}


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    not_before: datetime,
    days: int = CERTIFICATE_DAYS,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_before + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: SigningKey) -> ec.EllipticCurvePrivateKey:
    private = load_der_private_key(key.to_pkcs8(), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise Misuse("a TLS authority has an ES256 key")
    return private


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _san(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        name = host.encode("idna").decode("ascii")
    except (UnicodeError, ValueError):
        name = ""
    if len(name) > 253 or not all(_LABEL.fullmatch(part) for part in name.split(".")):
        shown = host[:64].encode("ascii", "replace").decode("ascii")
        raise Misuse("a host is a DNS name or an IP address", server=shown)
    return x509.DNSName(name)
