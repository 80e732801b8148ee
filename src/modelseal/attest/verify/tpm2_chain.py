"""The endorsement key of a TPM: its certificate, up to a pinned root. Pure.

The chain that evidence carries proves nothing by itself: it must end under a root that is pinned
here. TCG EK Credential Profile 2.5 for the certificate, RFC 5280 for the path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from modelseal.attest.verify.steps import NotGenuine, Step
from modelseal.errors import EvidenceInvalid
from modelseal.tpm2.wire.codes import Alg, Curve
from modelseal.tpm2.wire.public import Public, Rsa, Symmetric, ecc_of
from modelseal.tpm2.wire.templates import MADE_HERE
from modelseal.types import check_aware

MAX_CERTIFICATES = 4
MAX_CERTIFICATE_BYTES = 8192
_EK_PURPOSE = x509.ObjectIdentifier("2.23.133.8.1")
_MANUFACTURER = x509.ObjectIdentifier("2.23.133.2.1")
_MODEL = x509.ObjectIdentifier("2.23.133.2.2")
_SHOWN = {_MANUFACTURER: "manufacturer", _MODEL: "model"}
_UNDERSTOOD = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
    }
)
# What a credential is encrypted with follows from the key: EK Credential Profile 2.5, annex B.
_STORAGE: dict[tuple[type, int], tuple[int, int]] = {
    (rsa.RSAPublicKey, 2048): (Alg.SHA256, 128),
    (rsa.RSAPublicKey, 3072): (Alg.SHA384, 256),
    (ec.EllipticCurvePublicKey, 256): (Alg.SHA256, 128),
    (ec.EllipticCurvePublicKey, 384): (Alg.SHA384, 256),
}
_UNREADABLE = (
    *(ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion),
    *(x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""What ``cryptography`` raises over damaged certificates; not all of it is a ``ValueError``."""


@dataclass(frozen=True, slots=True)
class Endorsement:
    """A TPM's endorsement key whose certificate reaches a pinned root.

    ``key`` is what a credential is made for; ``digest`` the SHA-256 of its public key (DER), by
    which the TPM is known; ``root`` the SHA-256 of the root's certificate (DER).
    """

    key: Public
    digest: bytes
    root: bytes
    claims: dict[str, str]


def pinned(files: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """The root certificates in ``files``, PEM or DER; ``EvidenceInvalid`` for anything else."""
    found: list[x509.Certificate] = []
    for data in files:
        try:
            if b"-----BEGIN" in data:
                found += x509.load_pem_x509_certificates(data)
            else:
                found.append(x509.load_der_x509_certificate(data))
        except _UNREADABLE:
            raise EvidenceInvalid("a root of TPM makers that is no certificate") from None
    return tuple(found)


def root_digest(root: x509.Certificate) -> bytes:
    """By what a root is known."""
    return hashlib.sha256(root.public_bytes(Encoding.DER)).digest()


def endorsement(
    chain: Sequence[bytes],
    roots: Sequence[x509.Certificate],
    now: datetime,
    crls: Sequence[x509.CertificateRevocationList] = (),
) -> Endorsement:
    """The endorsement key of ``chain`` (DER, its certificate first, then intermediates).

    Raises ``NotGenuine`` at the steps parse, chain and revocation. A revocation list counts when
    its own issuer signed it; without one for an issuer nothing of that issuer is revoked here.
    """
    at = check_aware(now)
    certificates = _parsed(chain)
    leaf = certificates[0]
    _is_endorsement(leaf)
    key = _credential_key(leaf)
    path = _path(leaf, certificates[1:], roots)
    for certificate in path:
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            raise NotGenuine(Step.CHAIN, "ek_certificate_expired")
    _not_revoked(path, crls, at)
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha256(spki).digest()
    return Endorsement(key, digest, root_digest(path[-1]), _claims(leaf))


def _parsed(chain: Sequence[bytes]) -> list[x509.Certificate]:
    if not 1 <= len(chain) <= MAX_CERTIFICATES or any(
        len(data) > MAX_CERTIFICATE_BYTES for data in chain
    ):
        raise NotGenuine(Step.PARSE, "ek_certificate_malformed")
    try:
        found = [x509.load_der_x509_certificate(data) for data in chain]
        for certificate in found:
            _ = certificate.extensions, certificate.public_key()  # both are read lazily
            _ = certificate.not_valid_after_utc, certificate.signature_hash_algorithm
    except _UNREADABLE:
        raise NotGenuine(Step.PARSE, "ek_certificate_malformed") from None
    return found


def _extension(certificate: x509.Certificate, kind: type[Any]) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _is_endorsement(leaf: x509.Certificate) -> None:
    """The certificate is for the endorsement key of a TPM and for nothing else."""
    purposes = _extension(leaf, x509.ExtendedKeyUsage)
    fits = _EK_PURPOSE in purposes if purposes is not None else _MANUFACTURER in dict(_named(leaf))
    constraints = _extension(leaf, x509.BasicConstraints)
    usage = _extension(leaf, x509.KeyUsage)
    if usage is not None:
        fits = fits and (usage.key_encipherment or usage.key_agreement)
    if not fits or (constraints is not None and constraints.ca):
        raise NotGenuine(Step.CHAIN, "ek_certificate_purpose")


def _named(leaf: x509.Certificate) -> list[tuple[x509.ObjectIdentifier, str]]:
    names = _extension(leaf, x509.SubjectAlternativeName)
    found = [] if names is None else names.get_values_for_type(x509.DirectoryName)
    return [(part.oid, str(part.value)) for name in found for part in name]


def _claims(leaf: x509.Certificate) -> dict[str, str]:
    return {_SHOWN[oid]: value[:64] for oid, value in _named(leaf) if oid in _SHOWN}


def _credential_key(leaf: x509.Certificate) -> Public:
    key = leaf.public_key()
    kind = rsa.RSAPublicKey if isinstance(key, rsa.RSAPublicKey) else ec.EllipticCurvePublicKey
    name_alg, bits = _STORAGE.get((kind, getattr(key, "key_size", 0)), (0, 0))
    if isinstance(key, rsa.RSAPublicKey) and name_alg:
        numbers = key.public_numbers()
        modulus = numbers.n.to_bytes(key.key_size // 8, "big")
        exponent = 0 if numbers.e == 65537 else numbers.e
        rsa_body = Rsa(key.key_size, modulus, exponent, symmetric=Symmetric(bits))
        return Public(MADE_HERE, rsa_body, name_alg=name_alg)
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
        key.curve, (ec.SECP256R1, ec.SECP384R1)
    ):
        point = ecc_of(key)
        curve = Curve.P256 if bits == 128 else Curve.P384
        body = type(point)(curve, point.x, point.y, symmetric=Symmetric(bits))
        return Public(MADE_HERE, body, name_alg=name_alg)
    raise NotGenuine(Step.CHAIN, "ek_key_unusual")


def _path(
    leaf: x509.Certificate,
    carried: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
) -> list[x509.Certificate]:
    """``leaf`` and its issuers up to a pinned root; every one of them signed the one before.

    A pinned certificate need not be self-signed: whatever is pinned ends the path.
    """
    path = [leaf]
    while len(path) <= MAX_CERTIFICATES:
        below = path[-1]
        root = next((known for known in roots if _issued(below, known, len(path))), None)
        if root is not None:
            return [*path, root]
        above = next((c for c in carried if c not in path and _issued(below, c, len(path))), None)
        if above is None:
            break
        path.append(above)
    raise NotGenuine(Step.CHAIN, "ek_root_unknown")


def _issued(below: x509.Certificate, above: x509.Certificate, depth: int) -> bool:
    """True when ``above`` may sign certificates, at this depth, and signed ``below``."""
    constraints = _extension(above, x509.BasicConstraints)
    usage = _extension(above, x509.KeyUsage)
    if constraints is None or not constraints.ca or not _understood(below, above):
        return False
    if constraints.path_length is not None and constraints.path_length < depth - 1:
        return False
    if usage is not None and not usage.key_cert_sign:
        return False
    try:
        below.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _understood(*certificates: x509.Certificate) -> bool:
    """No critical extension is passed over."""
    return all(
        extension.oid in _UNDERSTOOD or not extension.critical
        for certificate in certificates
        for extension in certificate.extensions
    )


def _not_revoked(
    path: Sequence[x509.Certificate],
    crls: Sequence[x509.CertificateRevocationList],
    at: datetime,
) -> None:
    for below, above in pairwise(path):
        for crl in crls:
            if crl.issuer != above.subject or not crl.is_signature_valid(above.public_key()):  # type: ignore[arg-type]
                continue
            entry = crl.get_revoked_certificate_by_serial_number(below.serial_number)
            if entry is not None and entry.revocation_date_utc <= at:
                raise NotGenuine(Step.REVOCATION, "ek_certificate_revoked")
