"""The recovery entry: all data keys of a file, HPKE-sealed to the publisher's recovery key.

``seal_entry`` and ``open_entry`` undo each other for the same product, model and prologue.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelseal import cbor
from modelseal.container import _limits as limits
from modelseal.container._header import Header, RecoveryEntry
from modelseal.crypto import hpke
from modelseal.crypto.hpke import KemOpener, KemPublicKey
from modelseal.errors import ContainerDamaged, SealedKeyInvalid

LABEL = "sealed-model recovery"


def info(
    *, product: str, model: str, release: int, file_id: bytes, prologue_hash: bytes, kid: str
) -> bytes:
    """The HPKE ``info`` that binds the entry to its file."""
    return hpke.info(
        LABEL,
        {
            "product": product,
            "model": model,
            "release": release,
            "file_id": file_id,
            "prologue": prologue_hash,
            "kid": kid,
        },
    )


def plain_bytes(sections: int) -> int:
    """The length of the plaintext for that many sections."""
    return len(cbor.encode(dict.fromkeys(range(sections), bytes(limits.KEY_BYTES))))


def seal_entry(
    data_keys: Mapping[int, bytes], recovery: KemPublicKey, bound: bytes
) -> RecoveryEntry:
    """The entry with ``data_keys`` by section id."""
    return RecoveryEntry(recovery.kid, recovery.seal(cbor.encode(dict(data_keys)), bound))


def open_entry(
    header: Header, file_id: bytes, prologue_hash: bytes, opener: KemOpener
) -> dict[int, bytes]:
    """The data keys by section id; ``SealedKeyInvalid`` when sealed to another key."""
    if opener.kid != header.recovery.kid:
        raise SealedKeyInvalid("sealed to another recovery key", kid=header.recovery.kid)
    bound = info(
        product=header.product,
        model=header.model,
        release=header.release,
        file_id=file_id,
        prologue_hash=prologue_hash,
        kid=opener.kid,
    )
    plain = opener.open(header.recovery.ct, bound)
    try:
        found = cbor.decode(plain, max_bytes=limits.MAX_HEADER_BYTES)
    except cbor.CborInvalid as error:
        raise ContainerDamaged(f"recovery entry: {error.detail}") from None
    if not isinstance(found, dict) or list(found) != list(range(len(header.sections))):
        raise ContainerDamaged("recovery entry: one key per section")
    if not all(isinstance(k, bytes) and len(k) == limits.KEY_BYTES for k in found.values()):
        raise ContainerDamaged("recovery entry: a data key has 32 bytes")
    return found
