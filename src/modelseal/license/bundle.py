"""The key bundle: many data keys, or personal ones, in one object that a lease names. Pure.

``magic (8) | version (1) | nonce (12) | AES-256-GCM ciphertext and tag``; inside, deterministic
CBOR. ``open_bundle`` and ``open_variants`` undo ``seal_bundle``. The lease carries the bundle's
SHA-256 and, among its keys, the bundle key. Normative: ``docs/spec/tokens.md``, "Key bundle".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelseal import cbor
from modelseal.cbor import CborInvalid
from modelseal.errors import Misuse, SealedKeyInvalid
from modelseal.ids import Random
from modelseal.license.lease_keys import DataKeys

MAGIC = b"\x89MSB\r\n\x1a\n"
VERSION = 1
MAX_BYTES = 1 << 20
LABEL_BYTES = 16
_NONCE_BYTES = 12
_KEY_BYTES = 32
_FILE_ID_BYTES = 32
_TAG_BYTES = 16
_PREFIX_BYTES = len(MAGIC) + 1
_HEAD_BYTES = _PREFIX_BYTES + _NONCE_BYTES
_MAX_SECTION = 2**32 - 1

VariantKeys = dict[tuple[bytes, int], tuple[tuple[bytes, bytes], ...]]
"""By file id and section: for every chunk the label and key of the one variant that is had."""


def seal_bundle(
    keys: Mapping[tuple[bytes, int], bytes],
    *,
    product: str,
    license: str,
    bundle_key: bytes,
    random: Random,
    variants: Mapping[tuple[bytes, int], Sequence[tuple[bytes, bytes]]] | None = None,
) -> bytes:
    """The bundle of ``keys`` and ``variants`` under ``bundle_key``.

    ``bundle_key`` is 32 random bytes made for this one customer's bundle. Raises ``Misuse`` for
    keys of odd sizes and for a bundle that would be longer than 1 MiB.
    """
    content = {
        "keys": _rows((place, bytes(key)) for place, key in keys.items()),
        "variants": _rows(
            (place, [[bytes(label), bytes(key)] for label, key in chunks])
            for place, chunks in (variants or {}).items()
        ),
    }
    try:
        _read(content)
    except SealedKeyInvalid as error:
        raise Misuse(error.detail) from None
    if len(bundle_key) != _KEY_BYTES:
        raise Misuse("a bundle key has 32 bytes")
    nonce = random(_NONCE_BYTES)
    plain = cbor.encode(content)
    if _HEAD_BYTES + len(plain) + _TAG_BYTES > MAX_BYTES:
        raise Misuse("a key bundle has at most 1 MiB", limit=MAX_BYTES)
    sealed = AESGCM(bytes(bundle_key)).encrypt(nonce, plain, _context(product, license))
    return MAGIC + bytes([VERSION]) + nonce + sealed


def open_bundle(
    data: bytes, *, digest: bytes, product: str, license: str, bundle_key: bytes
) -> DataKeys:
    """The data keys in ``data``; ``SealedKeyInvalid`` for anything that the lease does not name.

    ``digest`` is the SHA-256 in the lease, ``bundle_key`` stands among the lease's keys under it.
    """
    return _open(data, digest, product, license, bundle_key)[0]


def open_variants(
    data: bytes, *, digest: bytes, product: str, license: str, bundle_key: bytes
) -> VariantKeys:
    """The keys of traced sections in ``data``; see ``open_bundle``."""
    return _open(data, digest, product, license, bundle_key)[1]


def _open(
    data: bytes, digest: bytes, product: str, license: str, bundle_key: bytes
) -> tuple[DataKeys, VariantKeys]:
    if not _HEAD_BYTES + _TAG_BYTES <= len(data) <= MAX_BYTES:
        raise SealedKeyInvalid("no key bundle has this size")
    if data[: len(MAGIC)] != MAGIC:
        raise SealedKeyInvalid("not a key bundle")
    if data[len(MAGIC)] != VERSION:
        raise SealedKeyInvalid("a key bundle of another version")
    if not hmac.compare_digest(hashlib.sha256(data).digest(), digest):
        raise SealedKeyInvalid("not the key bundle that the lease names")
    try:
        plain = AESGCM(bytes(bundle_key)).decrypt(
            data[_PREFIX_BYTES:_HEAD_BYTES], data[_HEAD_BYTES:], _context(product, license)
        )
        content = cbor.decode_secret(plain, max_bytes=MAX_BYTES)
    except (InvalidTag, ValueError, CborInvalid):
        raise SealedKeyInvalid("the key bundle does not open") from None
    return _read(content)


def _context(product: str, license: str) -> bytes:
    """Associated data: the digest cannot stand in what it covers; the lease binds it."""
    return cbor.encode(["modelseal", "key-bundle", VERSION, product, license])


def _rows(items: Any) -> list[list[object]]:
    return [
        [file_id, section, value]
        for (file_id, section), value in sorted(items, key=lambda item: item[0])
    ]


def _read(content: Any) -> tuple[DataKeys, VariantKeys]:
    if not isinstance(content, dict) or sorted(content, key=str) != ["keys", "variants"]:
        raise SealedKeyInvalid("a key bundle holds keys and variants")
    keys: DataKeys = {}
    for place, value in _places(content["keys"]):
        if not _is_bytes(value, _KEY_BYTES):
            raise SealedKeyInvalid("a data key has 32 bytes")
        keys[place] = value
    variants: VariantKeys = {}
    for place, chunks in _places(content["variants"]):
        if not isinstance(chunks, list) or not all(_is_variant(item) for item in chunks):
            raise SealedKeyInvalid("a variant key is a label of 16 bytes and a key of 32")
        variants[place] = tuple((label, key) for label, key in chunks)
    return keys, variants


def _places(rows: Any) -> list[tuple[tuple[bytes, int], Any]]:
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        raise SealedKeyInvalid("a row is a file id, a section and what opens it")
    places = [(row[0], row[1]) for row in rows]
    if places != sorted(set(places)):
        raise SealedKeyInvalid("rows stand in order, each once")
    return [((row[0], row[1]), row[2]) for row in rows]


def _is_row(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 3
        and _is_bytes(row[0], _FILE_ID_BYTES)
        and type(row[1]) is int
        and 0 <= row[1] <= _MAX_SECTION
    )


def _is_variant(item: object) -> bool:
    return (
        isinstance(item, list)
        and len(item) == 2
        and _is_bytes(item[0], LABEL_BYTES)
        and _is_bytes(item[1], _KEY_BYTES)
    )


def _is_bytes(value: object, length: int) -> bool:
    return isinstance(value, bytes) and len(value) == length
