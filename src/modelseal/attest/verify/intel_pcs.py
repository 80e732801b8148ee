"""Intel's collateral as its own service hands it out: one file an answer, put together here. Pure.

Two of the answers are JSON with a signature over the exact text of one member, so that text is cut
out as it stands. Nothing is believed: ``dcap-qvl`` checks all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from modelseal.attest.verify import pki
from modelseal.attest.verify.endorsements import Endorsements

_ANSWER = re.compile(
    rb'\s*\{\s*"(tcbInfo|enclaveIdentity)"\s*:\s*(\{.*\})\s*,\s*'
    rb'"signature"\s*:\s*"([0-9a-fA-F]{128})"\s*\}\s*',
    re.DOTALL,
)
_SIGNING = "Intel SGX TCB Signing"
_MAX_ANSWERS = 16


def assembled(
    endorsements: Endorsements, chain: tuple[x509.Certificate, ...]
) -> list[dict[str, Any]]:
    """Documents as ``dcap-qvl`` takes them, one for each pair of answers; none where a part lacks.

    ``chain`` is that of the platform's key, whose issuers' revocation lists are needed.
    """
    infos: list[tuple[str, str]] = []
    identities: list[tuple[str, str]] = []
    for raw in endorsements.raw:
        found = _ANSWER.fullmatch(raw)
        if found is not None:
            kind, text, signature = found.groups()
            of_kind = infos if kind == b"tcbInfo" else identities
            of_kind.append((text.decode("utf-8", "replace"), signature.decode("ascii")))
    signers = [c for c in endorsements.certificates if pki.common_name(c) == _SIGNING]
    lists = [_list_of(endorsements.crls, issuer) for issuer in chain[1:]]
    if not signers or len(lists) != 2 or None in lists:
        return []
    pem = _pem([signers[0], chain[-1]])
    shared = {
        "pck_crl_issuer_chain": _pem(chain[1:]),
        "pck_crl": lists[0],
        "root_ca_crl": lists[1],
        "tcb_info_issuer_chain": pem,
        "qe_identity_issuer_chain": pem,
    }
    return [
        {
            **shared,
            "tcb_info": info,
            "tcb_info_signature": info_signature,
            "qe_identity": identity,
            "qe_identity_signature": identity_signature,
        }
        for info, info_signature in infos[:_MAX_ANSWERS]
        for identity, identity_signature in identities[:_MAX_ANSWERS]
        if ('"TDX"' in info[:64]) is ('"TD_QE"' in identity[:64])
    ]


def _list_of(
    lists: Iterable[x509.CertificateRevocationList], issuer: x509.Certificate
) -> str | None:
    """The newest list of ``issuer`` by its name, in hex."""
    mine = [crl for crl in lists if crl.issuer == issuer.subject]
    if not mine:
        return None
    newest = max(mine, key=lambda crl: crl.last_update_utc)
    return newest.public_bytes(Encoding.DER).hex()


def _pem(certificates: Iterable[x509.Certificate]) -> str:
    return b"".join(c.public_bytes(Encoding.PEM) for c in certificates).decode("ascii")
