"""Certificates as evidence carries them: read by our own DER reader, keys and signatures checked by
``cryptography``.

Real devices write certificates that general parsers refuse (an ECDSA algorithm with NULL
parameters, for one), and such a leaf still deserves a verdict. What this reader lets pass beyond
RFC 5280 is listed in ``docs/spec/attestation.md``; no signature is let pass.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from modelseal.attest.verify import der
from modelseal.errors import EvidenceInvalid

MAX_CERTIFICATE_BYTES = 16384
MAX_CHAIN = 10
_RSA_BITS = (2048, 8192)
_CURVES: Mapping[str, type[ec.EllipticCurve]] = {
    "1.2.840.10045.3.1.7": ec.SECP256R1,
    "1.3.132.0.34": ec.SECP384R1,
    "1.3.132.0.35": ec.SECP521R1,
}
_RSA, _EC = "1.2.840.113549.1.1.1", "1.2.840.10045.2.1"
_SIGNATURES: Mapping[str, tuple[str, type[hashes.HashAlgorithm]]] = {
    "1.2.840.113549.1.1.11": (_RSA, hashes.SHA256),
    "1.2.840.113549.1.1.12": (_RSA, hashes.SHA384),
    "1.2.840.113549.1.1.13": (_RSA, hashes.SHA512),
    "1.2.840.10045.4.3.2": (_EC, hashes.SHA256),
    "1.2.840.10045.4.3.3": (_EC, hashes.SHA384),
    "1.2.840.10045.4.3.4": (_EC, hashes.SHA512),
}
_BASIC_CONSTRAINTS, _KEY_USAGE, _CRL_ADDRESS = "2.5.29.19", "2.5.29.15", "2.5.29.31"
COMMON_NAME, SERIAL_NUMBER, ORGANIZATION = "2.5.4.3", "2.5.4.5", "2.5.4.10"
_PEM = re.compile(
    rb"\s*-----BEGIN CERTIFICATE-----(\s[A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*"
)
_TEXT = (der.UTF8, 18, 19, 20, 22, 30)  # the string types of a name


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as it stands; nothing of it is believed until a chain has been checked."""

    der: bytes
    tbs: bytes
    serial: int
    issuer: tuple[Any, ...]
    subject: tuple[Any, ...]
    not_before: datetime
    not_after: datetime
    spki: bytes
    algorithm: str
    signature: bytes
    extensions: Mapping[str, bytes]
    critical: frozenset[str]

    @property
    def title(self) -> str:
        """The most telling text of the subject, for people."""
        return _title(self.subject)

    @property
    def issuer_title(self) -> str:
        """The most telling text of the issuer, for people."""
        return _title(self.issuer)

    @property
    def has_crl_address(self) -> bool:
        """True when the certificate says where its issuer publishes a revocation list."""
        return _CRL_ADDRESS in self.extensions

    def attribute(self, name: str) -> str | None:
        """The text of the subject's attribute ``name`` (a dotted OID); None without one."""
        return _attribute(self.subject, name)

    @property
    def serial_hex(self) -> str:
        """The serial number in lower-case hexadecimal without leading zeros."""
        return f"{self.serial:x}"

    def valid_at(self, now: datetime) -> bool:
        """True from ``not_before`` to ``not_after``, both included."""
        return self.not_before <= now <= self.not_after

    def public_key(self) -> Any:
        """The public key as ``cryptography`` holds it; ``EvidenceInvalid`` for other kinds."""
        return load_spki(self.spki)

    def is_ca(self) -> bool:
        """True when it may sign certificates: by its basic constraints and, where given, key usage.

        Early devices carry authorities without basic constraints; there key usage has to say so.
        """
        usage = self.key_usage()
        found = self.extensions.get(_BASIC_CONSTRAINTS)
        if found is None:
            return usage is not None and bool(usage & 0x04)
        members = der.read(found).sequence()
        if not members or not members[0].is_(der.BOOLEAN) or not members[0].boolean():
            return False
        return usage is None or bool(usage & 0x04)

    def path_length(self) -> int | None:
        """How many certificates of authorities may stand below; None without a limit."""
        found = self.extensions.get(_BASIC_CONSTRAINTS)
        members = () if found is None else der.read(found).sequence()
        return members[1].integer() if len(members) > 1 else None

    def key_usage(self) -> int | None:
        """The first byte of key usage (0x80 signatures, 0x04 certificates); None if absent."""
        found = self.extensions.get(_KEY_USAGE)
        if found is None:
            return None
        bits = der.read(found)
        if not bits.is_(der.BIT_STRING) or bits.constructed or not 1 <= len(bits.content) <= 3:
            _refuse("key usage is a short BIT STRING")
        return bits.content[1] if len(bits.content) > 1 else 0

    def check_issued_by(self, issuer: Certificate) -> None:
        """Returns when ``issuer`` has the issuer's name and its key made the signature."""
        if self.issuer != issuer.subject:
            raise EvidenceInvalid("certificate: issued by another name")
        self.check_signed_by(issuer.public_key())

    def check_signed_by(self, key: Any) -> None:
        """Returns when ``key`` made the signature; ``EvidenceInvalid`` otherwise."""
        kind, digest = _SIGNATURES.get(self.algorithm, ("", hashes.SHA256))
        try:
            if kind == _EC and isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(self.signature, self.tbs, ec.ECDSA(digest()))
                return
            if kind == _RSA and isinstance(key, rsa.RSAPublicKey):
                key.verify(self.signature, self.tbs, padding.PKCS1v15(), digest())
                return
        except (InvalidSignature, ValueError):
            raise EvidenceInvalid("certificate: the signature does not hold") from None
        raise EvidenceInvalid("certificate: signed by an algorithm that is not accepted")


def read_chain(data: bytes) -> tuple[Certificate, ...]:
    """The certificates of a PEM text or of DER values one after the other, leaf first."""
    if len(data) > MAX_CHAIN * 2 * MAX_CERTIFICATE_BYTES:
        _refuse("the chain is too long")
    ders = _unarmour(data) if b"-----BEGIN" in data else [e.raw for e in der.elements(data)]
    if not 1 <= len(ders) <= MAX_CHAIN:
        _refuse(f"a chain has 1 to {MAX_CHAIN} certificates")
    return tuple(map(read, ders))


def read(data: bytes) -> Certificate:
    """The certificate in ``data`` (DER)."""
    outer = der.read(data, max_bytes=MAX_CERTIFICATE_BYTES).sequence()
    if len(outer) != 3:
        _refuse("a certificate has three parts")
    tbs, algorithm, signature = outer
    fields = list(tbs.sequence())
    if fields and fields[0].is_(0, der.CONTEXT):
        if fields.pop(0).inner().integer() != 2:
            _refuse("not version 3")
    else:
        _refuse("not version 3")
    if len(fields) < 6 or fields[1].raw != algorithm.raw:
        _refuse("a member is missing, or two algorithms are named")
    validity = fields[3].sequence()
    if len(validity) != 2:
        _refuse("validity is two times")
    extensions, critical = _extensions(fields[6:])
    return Certificate(
        der=data,
        tbs=tbs.raw,
        serial=fields[0].integer(),
        issuer=read_name(fields[2]),
        subject=read_name(fields[4]),
        not_before=validity[0].instant(),
        not_after=validity[1].instant(),
        spki=fields[5].raw,
        algorithm=_algorithm(algorithm),
        signature=signature.bits(),
        extensions=extensions,
        critical=critical,
    )


def load_spki(spki: bytes) -> Any:
    """The RSA or elliptic-curve key in a SubjectPublicKeyInfo."""
    members = der.read(spki).sequence()
    if len(members) != 2:
        _refuse("a public key has two parts")
    algorithm = members[0].sequence()
    kind = algorithm[0].oid() if algorithm else ""
    try:
        if kind == _EC and len(algorithm) == 2:
            curve = _CURVES.get(algorithm[1].oid())
            if curve is not None:
                point = members[1].bits()
                return ec.EllipticCurvePublicKey.from_encoded_point(curve(), point)
        if kind == _RSA:
            return _rsa(members[1].bits())
    except ValueError:
        _refuse("a public key that is none")
    return _refuse("a public key of an unknown kind")


def _rsa(bits: bytes) -> rsa.RSAPublicKey:
    numbers = der.read(bits).sequence()
    if len(numbers) != 2:
        _refuse("an RSA key has two numbers")
    n, e = (number.integer() for number in numbers)
    if not _RSA_BITS[0] <= n.bit_length() <= _RSA_BITS[1] or e not in (3, 65537):
        _refuse(f"an RSA key has {_RSA_BITS[0]} to {_RSA_BITS[1]} bits")
    return rsa.RSAPublicNumbers(e, n).public_key()


def _algorithm(element: der.Element) -> str:
    members = element.sequence()
    if not 1 <= len(members) <= 2:
        _refuse("an algorithm is a name and its parameters")
    if len(members) == 2:
        members[1].null()  # Titan M signs with ECDSA and NULL, where RFC 5758 wants nothing
    return members[0].oid()


def _extensions(rest: list[der.Element]) -> tuple[Mapping[str, bytes], frozenset[str]]:
    found: dict[str, bytes] = {}
    critical = set()
    for element in rest:
        if not element.is_(3, der.CONTEXT):
            if element.is_(1, der.CONTEXT) or element.is_(2, der.CONTEXT):
                continue  # unique identifiers, which nobody uses
            _refuse("an unknown member")
        for extension in element.inner().sequence():
            members = extension.sequence()
            if not 2 <= len(members) <= 3:
                _refuse("an extension of another shape")
            name = members[0].oid()
            if name in found:
                _refuse("an extension stands twice")
            found[name] = members[-1].octets()
            if len(members) == 3 and members[1].boolean():
                critical.add(name)
    return found, frozenset(critical)


def read_name(element: der.Element) -> tuple[Any, ...]:
    """A name as values that compare equal whatever string type they were written in."""
    parts = []
    for relative in element.sequence():
        pairs = []
        for pair in relative.set_():
            members = pair.sequence()
            if len(members) != 2:
                _refuse("a name of another shape")
            value = members[1]
            text = value.tag_class == der.UNIVERSAL and value.number in _TEXT
            pairs.append((members[0].oid(), "text" if text else value.number, value.content))
        parts.append(tuple(sorted(pairs, key=repr)))
    return tuple(parts)


def _attribute(name: tuple[Any, ...], wanted: str) -> str | None:
    for relative in name:
        for attribute, _kind, content in relative:
            if attribute == wanted:
                text: str = content.decode("utf-8", "replace")
                return text[:128]
    return None


def _title(name: tuple[Any, ...]) -> str:
    for wanted in (COMMON_NAME, SERIAL_NUMBER, ORGANIZATION):
        found = _attribute(name, wanted)
        if found:
            return found
    return "a certificate without a name"


def _unarmour(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        match = _PEM.match(data, at)
        if match is None or match.end() == at:
            _refuse("not PEM")
        try:
            found.append(binascii.a2b_base64(b"".join(match[1].split()), strict_mode=True))
        except binascii.Error:
            _refuse("not PEM")
        at = match.end()
        if len(found) > MAX_CHAIN:
            _refuse(f"a chain has 1 to {MAX_CHAIN} certificates")
    return found


def _refuse(why: str) -> NoReturn:
    raise EvidenceInvalid(f"certificate: {why}")
