"""Certificate chains as ``cryptography`` reads them: up to a pinned root, validity, revocation.

For vendors whose certificates are in good order (AMD, Intel, AWS); ``chains`` reads the others.
Validity in time is kept apart from the chain: an expired chain is still genuine, and not
acceptable. A revoked certificate is not genuine any more: nobody knows who signs with its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from modelseal.attest.verify.endorsements import sound
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step, malformed

MAX_LENGTH = 8
MAX_TRIED = 64


def load(der: bytes, what: str) -> x509.Certificate:
    """The certificate of ``der``; malformed for anything else."""
    try:
        return sound(x509.load_der_x509_certificate(der))
    except Exception:  # noqa: BLE001 - a parser's errors stay here
        malformed(f"{what} is no certificate")


def der_of(certificate: x509.Certificate) -> bytes:
    """Its bytes."""
    return certificate.public_bytes(Encoding.DER)


@lru_cache(maxsize=256)
def issued(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    """True when ``issuer``'s key signed ``child`` and the names fit; remembered."""
    if child.issuer != issuer.subject:
        return False
    try:
        child.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - odd keys and algorithms are a no, like a wrong signature
        return False
    return True


def is_ca(certificate: x509.Certificate) -> bool:
    """True when basic constraints say that it may issue, and key usage where there is one."""
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as missing:
        return bool(missing.oid == x509.KeyUsage.oid)
    except Exception:  # noqa: BLE001 - extensions that cannot be read allow nothing
        return False
    return usage.key_cert_sign


@lru_cache(maxsize=64)
def _anchor(der: bytes) -> x509.Certificate:
    return load(der, "a pinned root")


def to_root(
    leaf: x509.Certificate,
    others: Iterable[x509.Certificate],
    roots: Sequence[bytes],
) -> tuple[x509.Certificate, ...]:
    """Leaf, intermediates among ``others``, and the pinned root (DER) that ends it.

    ``NotGenuine`` at the step *chain* when none leads there. The root is the pinned bytes, not a
    certificate that merely has its name; ``others`` are only ever intermediates.
    """
    anchors = [_anchor(root) for root in roots]
    candidates = [c for c in others if c not in anchors and is_ca(c)][:MAX_TRIED]
    chain = [leaf]
    while leaf not in anchors and len(chain) < MAX_LENGTH:
        root = next((a for a in anchors if issued(chain[-1], a)), None)
        if root is not None:
            chain.append(root)
            _check_path_lengths(chain)
            return tuple(chain)
        parent = next((c for c in candidates if c not in chain and issued(chain[-1], c)), None)
        if parent is None:
            break
        chain.append(parent)
    raise NotGenuine(Step.CHAIN, "chain_not_anchored", issuer=name_of(chain[-1].issuer))


def _check_path_lengths(chain: list[x509.Certificate]) -> None:
    """``path_length`` counts the intermediates below a certificate, the leaf not among them."""
    for below, issuer in enumerate(chain[1:]):
        try:
            constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        except x509.ExtensionNotFound:  # a pinned root may be older than extensions
            continue
        if constraints.path_length is not None and below > constraints.path_length:
            raise NotGenuine(Step.CHAIN, "chain_too_long", issuer=name_of(issuer.subject))


def name_of(name: x509.Name) -> str:
    """A name for people, of bounded length and without control characters."""
    try:
        text = name.rfc4514_string()
    except Exception:  # noqa: BLE001 - a name that cannot be written is still only a name
        return "?"
    return "".join(c if c.isprintable() else "?" for c in text[:160])


def ec_key(
    certificate: x509.Certificate, curve: type[ec.EllipticCurve]
) -> ec.EllipticCurvePublicKey | None:
    """Its key when that lies on ``curve``; None for any other, or none that can be read."""
    try:
        key = certificate.public_key()
    except Exception:  # noqa: BLE001 - a key of an unknown kind is not the one that is wanted
        return None
    fits = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, curve)
    return key if fits else None  # type: ignore[return-value]


def common_name(certificate: x509.Certificate) -> str:
    """The subject's common name; empty unless there is exactly one."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else ""


def judge_validity(chain: Sequence[x509.Certificate], now: datetime, ledger: Ledger) -> bool:
    """True when all are valid at ``now``; the first that is not is refused under *freshness*."""
    for certificate in chain:
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        name = name_of(certificate.subject)
        if now < start:
            ledger.refuse(Step.FRESHNESS, "certificate_not_yet_valid", name=name, at=when(start))
            return False
        if now > end:
            days = (now - end).days
            ledger.refuse(Step.FRESHNESS, "certificate_expired", name=name, at=when(end), days=days)
            return False
    return True


def when(at: datetime) -> str:
    """An instant in RFC 3339."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def judge_revocation(
    chain: Sequence[x509.Certificate],
    crls: Iterable[x509.CertificateRevocationList],
    now: datetime,
    ledger: Ledger,
    *,
    leaf_listed: bool = True,
) -> None:
    """Write under *revocation* whether each link was looked up; ``NotGenuine`` when one is revoked.

    Known: for every certificate below the root there is a list of its issuer, signed by it and
    current. A list that is signed but not current can still say *revoked*, and never says *good*.
    ``leaf_listed`` False: this vendor keeps no list of leaves, so that none is missed; one that is
    there counts all the same.
    """
    lists = list(crls)[:MAX_TRIED]
    unknown: tuple[str, str] | None = None
    for place, (certificate, issuer) in enumerate(pairwise(chain)):
        mine = [crl for crl in lists if _signed(crl, issuer)]
        for crl in mine:
            if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                name = name_of(certificate.subject)
                raise NotGenuine(Step.REVOCATION, "certificate_revoked", name=name)
        needed = place > 0 or leaf_listed
        if needed and unknown is None and not any(_current(crl, now) for crl in mine):
            code = "revocation_list_expired" if mine else "revocation_unknown"
            unknown = (code, name_of(issuer.subject))
    if unknown is None:
        ledger.ok(Step.REVOCATION)
    else:
        ledger.unknown(Step.REVOCATION, unknown[0], issuer=unknown[1])


def _signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    if crl.issuer != issuer.subject:
        return False
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - a list that cannot be checked says nothing
        return False


def _current(crl: x509.CertificateRevocationList, now: datetime) -> bool:
    end = crl.next_update_utc
    return crl.last_update_utc <= now and end is not None and now <= end
