"""What Intel writes into a platform's certificate (PCK): whose package it is, and of which family.

Intel SGX PCK Certificate and CRL Profile, extension 1.2.840.113741.1.13.1: a sequence of pairs of
object identifier and value.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from modelseal.attest.verify import der, pki
from modelseal.attest.verify.steps import NotGenuine, Step
from modelseal.errors import EvidenceInvalid

_SGX = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
_PPID = f"{_SGX.dotted_string}.1"
_FMSPC = f"{_SGX.dotted_string}.4"


@dataclass(frozen=True, slots=True)
class Pck:
    """Lower-case hex: the package's id (16 bytes) and its family (6 bytes)."""

    ppid: str
    fmspc: str


def is_leaf(certificate: x509.Certificate) -> bool:
    """True for a certificate with Intel's extension and a key on P-256."""
    return (
        _extension(certificate) is not None
        and pki.ec_key(certificate, ec.SECP256R1) is not None
        and not pki.is_ca(certificate)
    )


def read(certificate: x509.Certificate) -> Pck:
    """The extension of a PCK certificate; ``NotGenuine`` at *chain* when it is missing or odd."""
    raw = _extension(certificate)
    try:
        values = _pairs(raw or b"")
        ppid = values[_PPID].octets()
        fmspc = values[_FMSPC].octets()
    except (EvidenceInvalid, KeyError):
        raise NotGenuine(Step.CHAIN, "pck_extension") from None
    if len(ppid) != 16 or len(fmspc) != 6:
        raise NotGenuine(Step.CHAIN, "pck_extension")
    return Pck(ppid.hex(), fmspc.hex())


def _extension(certificate: x509.Certificate) -> bytes | None:
    try:
        found = certificate.extensions.get_extension_for_oid(_SGX).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    return found.value if isinstance(found, x509.UnrecognizedExtension) else None


def _pairs(raw: bytes) -> dict[str, der.Element]:
    found: dict[str, der.Element] = {}
    for pair in der.read(raw).sequence():
        members = pair.sequence()
        if len(members) == 2:
            found[members[0].oid()] = members[1]
    return found
