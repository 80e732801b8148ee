"""The encrypted cache file; normative: ``docs/spec/sealed-cache.md``. Pure.

``seal`` and ``unseal`` undo each other under the same key. The key is made from the data keys of
every section that went into what is cached: without a right to all of them there is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelseal import cbor
from modelseal.errors import CacheUseless, InvalidBytes
from modelseal.memory import wipe

MAGIC = bytes.fromhex("894d5343310d0a1a")
TYP, VERSION = "modelseal-cache", 1
CHUNK_BYTES = 1 << 20
SALT_BYTES = 32
MAX_HEADER_BYTES = 1 << 16
MAX_ORIGINS = 64
MAX_SIZE_BYTES = 1 << 40
_TAG_BYTES = 16
_INFO = b"modelseal cache v1\0"


@dataclass(frozen=True, slots=True)
class Origin:
    """A sealed model that went in: where it lay, what it was, and which of its sections."""

    path: str
    file_id: bytes
    leaf_hash: bytes
    sections: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """What a cache file says in the clear; all of it is authenticated."""

    kind: str
    origins: tuple[Origin, ...]
    size_bytes: int
    salt: bytes


def encode(header: Header) -> bytes:
    """Magic, length and header, as the file begins."""
    body = cbor.encode({
        "typ": TYP,
        "version": VERSION,
        "kind": header.kind,
        "origins": [[o.path, o.file_id, o.leaf_hash, list(o.sections)] for o in header.origins],
        "size": header.size_bytes,
        "salt": header.salt,
    })  # fmt: skip
    return MAGIC + len(body).to_bytes(4, "little") + body


def decode(data: memoryview) -> tuple[Header, int]:
    """The header that ``data`` begins with, and where the chunks begin; ``CacheUseless``."""
    size = int.from_bytes(data[8:12], "little")
    if bytes(data[:8]) != MAGIC or not 0 < size <= MAX_HEADER_BYTES or len(data) < 12 + size:
        raise CacheUseless("no cache file, or its header is cut")
    try:
        value = cbor.decode(bytes(data[12 : 12 + size]), max_bytes=MAX_HEADER_BYTES)
        header = _header(value)
        fine = _is_sound(header) and encode(header) == bytes(data[: 12 + size])
    except (InvalidBytes, KeyError, TypeError, ValueError, AttributeError):
        fine = False
    if not fine:
        raise CacheUseless("the header is malformed")
    if len(data) != 12 + size + header.size_bytes + _TAG_BYTES * _chunks(header.size_bytes):
        raise CacheUseless("the file is cut or longer than it says")
    return header, 12 + size


def _header(value: Any) -> Header:
    if (value["typ"], value["version"]) != (TYP, VERSION):
        raise ValueError
    origins = tuple(
        Origin(path, file_id, leaf_hash, tuple(sections))
        for path, file_id, leaf_hash, sections in value["origins"]
    )
    return Header(value["kind"], origins, value["size"], value["salt"])


def _is_sound(header: Header) -> bool:
    return (
        isinstance(header.kind, str)
        and 1 <= len(header.origins) <= MAX_ORIGINS
        and type(header.size_bytes) is int
        and 0 <= header.size_bytes <= MAX_SIZE_BYTES
        and isinstance(header.salt, bytes)
        and len(header.salt) == SALT_BYTES
        and all(
            isinstance(o.path, str)
            and isinstance(o.file_id, bytes)
            and len(o.file_id) == 32
            and isinstance(o.leaf_hash, bytes)
            and len(o.leaf_hash) == 32
            and bool(o.sections)
            and all(type(s) is int and 0 <= s < 1 << 16 for s in o.sections)
            for o in header.origins
        )
    )


def cipher(front: bytes, header: Header, keys: Sequence[memoryview]) -> AESGCM:
    """The cipher of the file that begins with ``front``, from the data keys in order."""
    material = bytearray(sum(map(len, keys)))  # one that grows would leave copies behind
    at = 0
    for key in keys:
        material[at : at + len(key)] = key
        at += len(key)
    out = bytearray(32)
    try:
        info = _INFO + hashlib.sha256(front).digest()
        HKDF(hashes.SHA256(), 32, header.salt, info).derive_into(material, out)
        return AESGCM(out)
    finally:
        wipe(material)
        wipe(out)


def seal(made: AESGCM, front: bytes, plain: memoryview) -> Iterator[bytes]:
    """The chunks that follow ``front``."""
    aad, count = MAGIC + hashlib.sha256(front).digest(), _chunks(len(plain))
    for place in range(count):
        part = plain[place * CHUNK_BYTES : (place + 1) * CHUNK_BYTES]
        yield made.encrypt(_nonce(place, count), part, aad)


def unseal(made: AESGCM, front: bytes, sealed: memoryview, target: memoryview) -> None:
    """``target`` holds the plaintext; it is zero, and ``CacheUseless`` raised, when that fails."""
    aad, count = MAGIC + hashlib.sha256(front).digest(), _chunks(len(target))
    at = 0
    try:
        for place in range(count):
            part = target[place * CHUNK_BYTES : (place + 1) * CHUNK_BYTES]
            stop = at + len(part) + _TAG_BYTES
            made.decrypt_into(_nonce(place, count), sealed[at:stop], aad, part)
            at = stop
    except InvalidTag:
        wipe(target)
        raise CacheUseless("the file was changed, or its keys are others") from None


def _chunks(size_bytes: int) -> int:
    return max(1, -(-size_bytes // CHUNK_BYTES))


def _nonce(place: int, count: int) -> bytes:
    """Never twice under one key: the salt is new for each file, the place for each chunk."""
    return bytes([place == count - 1, 0, 0, 0]) + place.to_bytes(8, "little")
