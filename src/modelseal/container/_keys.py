"""The few cryptographic calls of the format: key derivation, commitments, nonces, AAD.

A fixed nonce per chunk index is safe because a chunk key serves one sealing of one section only:
it hangs on a fresh random data key and, through the salt, on the fresh file id in the prologue.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelseal.container import _limits as limits
from modelseal.container._source import Buffer, wipe
from modelseal.errors import ContainerDamaged, Misuse

COMMITMENT = b"modelseal v1 commitment"
CHUNK_KEY = b"modelseal v1 chunk key"
VARIANT_KEY = b"modelseal v1 variant key"
VARIANT_COMMITMENT = b"modelseal v1 variant commitment"
VARIANT_CHUNK_KEY = b"modelseal v1 variant chunk key"
_SECRET_HASH = b"modelseal v1 together secret\x00"
_NONCE = struct.Struct("<B3xQ")
_AAD = struct.Struct("<8sII")
_PLACE = struct.Struct("<II")


def prologue_hash(prologue: bytes) -> bytes:
    """The salt of every derivation in one sealed model."""
    return hashlib.sha256(prologue).digest()


def commitment(prologue_hash: bytes, data_key: Buffer) -> bytes:
    """What the header says about ``data_key`` (32 bytes each way; HKDF-SHA256)."""
    return bytes(_derive(prologue_hash, (data_key,), COMMITMENT))


def check_commitment(prologue_hash: bytes, data_key: Buffer, expected: bytes) -> None:
    """Returns when ``data_key`` is the key ``expected`` was made of; else ``ContainerDamaged``."""
    _check(prologue_hash, data_key, COMMITMENT, expected)


def section_cipher(
    prologue_hash: bytes, data_key: Buffer, secrets: Iterable[Buffer], section: int
) -> AESGCM:
    """The cipher for all chunks of one section; dropped by its user after the last chunk."""
    return _cipher(prologue_hash, (data_key, *secrets), CHUNK_KEY + struct.pack("<I", section))


def variant_key(prologue_hash: bytes, seed: Buffer, place: bytes) -> bytes:
    """The key of one chunk and variant, made of the section's seed (its data key)."""
    return bytes(_derive(prologue_hash, (seed,), VARIANT_KEY + place))


def variant_commitment(prologue_hash: bytes, key: Buffer, place: bytes) -> bytes:
    """What the section's commitment table says about one variant key."""
    return bytes(_derive(prologue_hash, (key,), VARIANT_COMMITMENT + place))


def check_variant(prologue_hash: bytes, key: Buffer, place: bytes, expected: bytes) -> None:
    """Returns when ``key`` is the variant key ``expected`` was made of."""
    _check(prologue_hash, key, VARIANT_COMMITMENT + place, expected)


def variant_cipher(
    prologue_hash: bytes, key: Buffer, secrets: Iterable[Buffer], place: bytes
) -> AESGCM:
    """The cipher for the one chunk at ``place``."""
    return _cipher(prologue_hash, (key, *secrets), VARIANT_CHUNK_KEY + place)


def variant_place(section: int, index: int, label: bytes) -> bytes:
    """Section, chunk index and label: what binds a variant key to its one chunk."""
    return _PLACE.pack(section, index) + label


def nonce(index: int, last: bool) -> bytes:
    """Last-chunk flag and chunk index in the section."""
    return _NONCE.pack(1 if last else 0, index)


def aad(section: int, stored_index: int, label: bytes = b"") -> bytes:
    """Magic, section, position in the leaf table and, for variants, the label."""
    return _AAD.pack(limits.MAGIC, section, stored_index) + label


def secret_hash(secret: Buffer) -> bytes:
    """What a header says about the *together with* secret in another model's index."""
    digest = hashlib.sha256(_SECRET_HASH)
    digest.update(secret)
    return digest.digest()


def same(left: bytes, right: bytes) -> bool:
    """Compared in constant time."""
    return bytes_eq(left, right)


def is_key(key: Buffer) -> bool:
    """True for 32 bytes; ``Misuse`` for what is no byte string at all."""
    if not isinstance(key, (bytes, bytearray, memoryview)):
        raise Misuse("a key is a byte string")
    return memoryview(key).nbytes == limits.KEY_BYTES


def _cipher(salt: bytes, parts: tuple[Buffer, ...], info: bytes) -> AESGCM:
    key = _derive(salt, parts, info)
    try:
        return AESGCM(key)
    finally:
        wipe(key)


def _derive(salt: bytes, parts: tuple[Buffer, ...], info: bytes) -> bytearray:
    """HKDF-SHA256 of the joined parts; the joined copy is wiped."""
    if not all(map(is_key, parts)):
        raise ContainerDamaged("a key has 32 bytes")
    material = bytearray(limits.KEY_BYTES * len(parts))
    for position, part in enumerate(parts):
        start = position * limits.KEY_BYTES
        material[start : start + limits.KEY_BYTES] = part
    out = bytearray(limits.KEY_BYTES)
    try:
        HKDF(hashes.SHA256(), limits.KEY_BYTES, salt, info).derive_into(material, out)
    finally:
        wipe(material)
    return out


def _check(salt: bytes, key: Buffer, info: bytes, expected: bytes) -> None:
    if not same(bytes(_derive(salt, (key,), info)), expected):
        raise ContainerDamaged("the key is not the key of this section")
