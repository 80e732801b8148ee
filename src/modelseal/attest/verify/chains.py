"""From a leaf to a pinned key: what a chain of certificates has to hold, and who took it back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from typing import Any

from cryptography.x509 import CertificateRevocationList

from modelseal.attest.verify import der, x509
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step
from modelseal.attest.verify.x509 import Certificate
from modelseal.errors import EvidenceInvalid


def anchors(roots: tuple[bytes, ...]) -> frozenset[bytes]:
    """The pinned keys of ``roots``, each a certificate or a SubjectPublicKeyInfo in DER."""
    return frozenset(map(_anchor, roots))


def check_issued(below: Certificate, above: Certificate) -> None:
    """Returns when ``above`` issued ``below``; ``NotGenuine`` at the chain otherwise."""
    try:
        below.check_issued_by(above)
    except EvidenceInvalid as error:
        raise NotGenuine(Step.CHAIN, "signature_invalid", detail=error.detail) from None


def check(chain: tuple[Certificate, ...], pinned: frozenset[bytes]) -> None:
    """Returns when each certificate is signed by the next and the last reaches a pinned key.

    The root itself may be left out. ``NotGenuine`` otherwise. Dates are no part of it.
    """
    try:
        for depth, (below, above) in enumerate(pairwise(chain)):
            check_issued(below, above)
            _check_authority(above, depth)
        top = chain[-1]
        if top.spki in pinned:
            top.check_signed_by(top.public_key())
            return
        _check_signed_by_any(top, pinned)
    except EvidenceInvalid as error:
        raise NotGenuine(Step.CHAIN, "signature_invalid", detail=error.detail) from None


def check_dates(chain: Iterable[Certificate], now: datetime, ledger: Ledger) -> None:
    """Write freshness: all of ``chain`` is valid at ``now``, or which certificate is not."""
    for certificate in chain:
        name = certificate.title
        if now < certificate.not_before:
            at = _instant(certificate.not_before)
            ledger.refuse(Step.FRESHNESS, "certificate_not_yet_valid", name=name, at=at)
            return
        if now > certificate.not_after:
            at, days = _instant(certificate.not_after), (now - certificate.not_after).days
            ledger.refuse(Step.FRESHNESS, "certificate_expired", name=name, at=at, days=days)
            return
    ledger.ok(Step.FRESHNESS)


def check_revocation(
    chain: tuple[Certificate, ...],
    lists: tuple[CertificateRevocationList, ...],
    now: datetime,
    ledger: Ledger,
) -> None:
    """Write revocation from the lists that the chain's authorities signed.

    Unknown when a certificate names where its issuer publishes a list and no current one is here;
    a certificate that names none cannot be taken back. Revoked is ``NotGenuine``.
    """
    unknown: str | None = None
    stale: str | None = None
    for below, above in pairwise(chain):
        found = [crl for crl in lists if _issued(crl, above)]
        for crl in found:
            entry = crl.get_revoked_certificate_by_serial_number(below.serial)
            if entry is not None and entry.revocation_date_utc <= now:
                raise NotGenuine(Step.REVOCATION, "certificate_revoked", name=below.title)
        current = [crl for crl in found if _current(crl, now)]
        if not current and below.has_crl_address:
            unknown = unknown or above.title
            stale = stale or (above.title if found else None)
    if stale is not None:
        ledger.unknown(Step.REVOCATION, "revocation_list_expired", issuer=stale)
    elif unknown is not None:
        ledger.unknown(Step.REVOCATION, "revocation_unknown", issuer=unknown)
    else:
        ledger.ok(Step.REVOCATION)


def _check_authority(above: Certificate, depth: int) -> None:
    limit = above.path_length()
    if not above.is_ca():
        raise EvidenceInvalid("certificate: issued by one that may not issue")
    if limit is not None and depth > limit:
        raise EvidenceInvalid("certificate: more authorities below than allowed")


def _check_signed_by_any(top: Certificate, pinned: frozenset[bytes]) -> None:
    for spki in sorted(pinned):
        try:
            top.check_signed_by(x509.load_spki(spki))
        except EvidenceInvalid:
            continue
        return
    raise NotGenuine(Step.CHAIN, "chain_not_anchored", issuer=top.issuer_title)


def _anchor(root: bytes) -> bytes:
    try:
        members = der.read(root).sequence()
        return x509.read(root).spki if len(members) == 3 else root
    except EvidenceInvalid as error:
        raise NotGenuine(Step.CHAIN, "root_unreadable", detail=error.detail) from None


def _issued(crl: CertificateRevocationList, authority: Certificate) -> bool:
    try:
        name = x509.read_name(der.read(crl.issuer.public_bytes()))
        key: Any = authority.public_key()
        return name == authority.subject and crl.is_signature_valid(key)
    except (EvidenceInvalid, ValueError, TypeError):
        return False


def _current(crl: CertificateRevocationList, now: datetime) -> bool:
    end = crl.next_update_utc
    return crl.last_update_utc <= now and (end is None or now <= end)


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
