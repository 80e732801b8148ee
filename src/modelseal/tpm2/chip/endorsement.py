"""The endorsement key: what a TPM's maker certified, found by its certificate.

Which kinds a TPM has is told by its certificates' NV indices (TCG EK Credential Profile 2.5,
section 2.2.1). The key itself may lie at a persistent handle or be made again from its template;
a certificate counts only when it holds the very key that came out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelseal.errors import KeyStoreUnavailable, TpmFailed
from modelseal.tpm2.chip import nv, objects
from modelseal.tpm2.chip.objects import Loaded
from modelseal.tpm2.chip.tpm import Tpm
from modelseal.tpm2.wire import templates
from modelseal.tpm2.wire.codes import Hierarchy
from modelseal.tpm2.wire.public import Public

_MAX_CERTIFICATE_BYTES = 8192
_PERSISTENT_EK = range(0x81010000, 0x81010100)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of EK: where its certificate lies and how the key is made."""

    label: str
    certificate: int
    template: Callable[[], Public]


KINDS = (
    Kind("P-384", 0x01C00016, templates.endorsement_p384),
    Kind("P-256", 0x01C0000A, templates.endorsement_p256),
    Kind("RSA-2048", 0x01C00002, templates.endorsement_rsa2048),
)
FALLBACK = KINDS[1]


@dataclass(frozen=True, slots=True)
class Endorsement:
    """A kind of EK and its certificate, DER, None where the TPM holds none."""

    kind: Kind
    certificate: bytes | None


def find(tpm: Tpm) -> tuple[Endorsement, ...]:
    """Every kind with a certificate, best first; the P-256 kind without one when there is none."""
    found = []
    for kind in KINDS:
        index = nv.find_index(tpm, kind.certificate)
        if index is None or index.size > _MAX_CERTIFICATE_BYTES:
            continue
        with contextlib.suppress(TpmFailed):
            found.append(Endorsement(kind, trim(nv.read(tpm, index))))
    return tuple(found) or (Endorsement(FALLBACK, None),)


@contextlib.contextmanager
def loaded(tpm: Tpm, found: Endorsement) -> Iterator[Loaded]:
    """The EK in the TPM: a persistent one whose key the certificate holds, else made anew.

    ``KeyStoreUnavailable`` when neither is the certificate's key.
    """
    if found.certificate is not None:
        for handle in tpm.handles(_PERSISTENT_EK.start):
            if handle not in _PERSISTENT_EK:
                continue
            kept = objects.read_public(tpm, handle)
            if holds(found.certificate, kept.public):
                yield kept
                return
    with objects.primary(tpm, Hierarchy.ENDORSEMENT, found.kind.template()) as made:
        if found.certificate is not None and not holds(found.certificate, made.public):
            raise KeyStoreUnavailable("the TPM's certificate is for another endorsement key")
        yield made


def holds(certificate: bytes, public: Public) -> bool:
    """True when the certificate's subject key is ``public``."""
    try:
        subject = x509.load_der_x509_certificate(certificate).public_key()
        wanted = public.public_key()
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return bool(subject.public_bytes(*form) == wanted.public_bytes(*form))
    except Exception:  # noqa: BLE001 - whatever the parser says, it does not hold this key
        return False


def trim(data: bytes) -> bytes:
    """The DER certificate at the start of an NV index that may be larger."""
    if len(data) > 4 and data[0] == 0x30 and data[1] == 0x82:
        return data[: 4 + int.from_bytes(data[2:4], "big")]
    return data
