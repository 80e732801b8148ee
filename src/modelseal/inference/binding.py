"""What evidence of an inference service is bound to: one question, one TLS key, these models.

The client made the nonce and sees the TLS key in its own handshake, so it computes the value anew:
evidence for another connection, an earlier question or another service's key has another value.
Pure. Normative: ``docs/spec/confidential-inference.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from modelseal import cbor
from modelseal.errors import Misuse
from modelseal.license.attested import SHORT

LABEL = "modelseal/inference-channel/v1"
NONCE_BYTES = 32
SPKI_BYTES = 32


def transcript(nonce: bytes, spki: bytes, models: Mapping[str, str]) -> bytes:
    """The bytes that are hashed: ``spki`` is SHA-256 of the TLS key's SubjectPublicKeyInfo.

    ``models`` maps the name of each model that is served to the file id (hex) of its sealed file.
    """
    if len(nonce) != NONCE_BYTES or len(spki) != SPKI_BYTES:
        raise Misuse("a channel is bound by a nonce and a key digest of 32 bytes each")
    return cbor.encode([LABEL, {"nonce": nonce, "spki": spki, "models": dict(models)}])


def bound(kind: str, encoded: bytes) -> bytes:
    """What evidence of ``kind`` binds: the whole hash of the length that it takes."""
    chosen = hashlib.sha256 if kind in SHORT else hashlib.sha512
    return chosen(encoded).digest()
