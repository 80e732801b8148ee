"""The wrapped form that key providers of our own write: AES-256-GCM under a key for one wrapping.

``seal`` and ``open_`` undo each other under the same key and context. Normative:
``docs/spec/keys.md``. The context is associated data: an envelope moved elsewhere does not open.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelseal import cbor
from modelseal.errors import Misuse, WrappedKeyInvalid

MAGIC = b"\x89MSW1\r\n\x1a"
VERSION = 1
KEY_BYTES = 32
KEY_ID_BYTES = 16
SALT_BYTES = 32
TAG_BYTES = 16
HEADER_BYTES = len(MAGIC) + 1 + KEY_ID_BYTES + SALT_BYTES
MAX_PLAINTEXT_BYTES = 1024 * 1024

Context = Mapping[str, str | int | bytes]
RandomBytes = Callable[[int], bytes]
Key = bytes | memoryview

# The key is derived anew for every wrapping from 32 random bytes, so one fixed nonce is safe.
_NONCE = bytes(12)


def key_id(key: Key) -> bytes:
    """16 bytes that name ``key`` and tell nothing about it."""
    return hmac.digest(key, b"modelseal key id", hashlib.sha256)[:KEY_ID_BYTES]


def encode_context(context: Context) -> bytes:
    """Deterministic CBOR of ``context``; ``Misuse`` when it is empty or holds another type."""
    if not context:
        raise Misuse("a wrapped key is always bound to a context")
    for name, value in context.items():
        good = isinstance(value, (str, bytes, int)) and not isinstance(value, bool)
        if not isinstance(name, str) or not good:
            raise Misuse("a context holds texts, whole numbers and bytes")
    return cbor.encode(dict(context))


def seal(key: Key, plaintext: bytes, context: Context, random: RandomBytes) -> bytes:
    """``plaintext`` (at most 1 MiB) wrapped by the 32-byte ``key`` and bound to ``context``."""
    if len(plaintext) > MAX_PLAINTEXT_BYTES:
        raise Misuse("longer than anything that is wrapped here")
    salt = random(SALT_BYTES)
    if len(salt) != SALT_BYTES:
        raise Misuse("the random source answered with another length")
    header = MAGIC + bytes([VERSION]) + key_id(key) + salt
    bound = header + encode_context(context)
    return header + AESGCM(_derive(key, salt)).encrypt(_NONCE, plaintext, bound)


def open_(key: Key, wrapped: bytes, context: Context) -> bytes:
    """The plaintext of ``wrapped``; ``WrappedKeyInvalid`` under another key or context."""
    header = wrapped[:HEADER_BYTES]
    found = owner(wrapped)
    if found is None or not hmac.compare_digest(found, key_id(key)):
        raise WrappedKeyInvalid("wrapped by another key")
    bound = header + encode_context(context)
    try:
        salt = header[-SALT_BYTES:]
        return AESGCM(_derive(key, salt)).decrypt(_NONCE, wrapped[HEADER_BYTES:], bound)
    except InvalidTag:
        raise WrappedKeyInvalid("altered, or bound to another context") from None


def owner(wrapped: bytes) -> bytes | None:
    """The id of the key that wrapped these bytes; None when they are no envelope of this version.

    Raises nothing: "not mine" is a normal answer.
    """
    longest = HEADER_BYTES + MAX_PLAINTEXT_BYTES + TAG_BYTES
    if not HEADER_BYTES + TAG_BYTES <= len(wrapped) <= longest:
        return None
    if not wrapped.startswith(MAGIC + bytes([VERSION])):
        return None
    start = len(MAGIC) + 1
    return bytes(wrapped[start : start + KEY_ID_BYTES])


def _derive(key: Key, salt: bytes) -> bytes:
    return HKDF(hashes.SHA256(), KEY_BYTES, salt, b"modelseal wrapped key v1").derive(key)
