"""Key providers over a key store that does few, slow operations: a token, a cloud service.

The store wraps a random **working key**, and the working key wraps what is given here, so that one
call to the store serves many rows. Normative: ``docs/spec/keys.md``, section 11. The whole context
is associated data of what the working key wraps; purpose, product and server are shown to the store
too, where it can bind them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Mapping
from typing import NoReturn, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelseal.errors import KeyStoreUnavailable, Misuse, WrappedKeyInvalid
from modelseal.keys import limits
from modelseal.keys.envelope import MAX_PLAINTEXT_BYTES, Context, encode_context
from modelseal.keys.working import WorkingKeys
from modelseal.memory import SecretBytes
from modelseal.types import Level
from modelseal.wiping import wipe_bytes

MAGIC = b"\x89MSX1\r\n\x1a"
VERSION = 1
KEY_BYTES = 32
KEY_ID_BYTES = 16
SALT_BYTES = 32
TAG_BYTES = 16
MAX_STORE_BYTES = 8192
SHOWN = ("purpose", "product", "server")
"""What of a context the store is shown."""
_PREFIX = MAGIC + bytes([VERSION])
_LENGTH = struct.Struct("<H")
_FIXED_BYTES = len(_PREFIX) + KEY_ID_BYTES + _LENGTH.size

# The key is derived anew for every wrapping from 32 random bytes, so one fixed nonce is safe.
_NONCE = bytes(12)

Bound = Mapping[str, str]


class KeyStore(Protocol):
    """What wraps working keys. Raises ``WrappedKeyInvalid``, ``KeyStoreUnavailable``."""

    @property
    def kind(self) -> str:
        """The URI scheme."""
        ...

    @property
    def identity(self) -> bytes:
        """Bytes that name the key for ever and tell nothing about it."""
        ...

    @property
    def level(self) -> Level:
        """The assurance level that it claims."""
        ...

    def wrap_key(self, key: bytes, bound: Bound) -> bytes:
        """The 32-byte ``key`` wrapped, bound to ``bound`` where the store can do that."""
        ...

    def unwrap_key(self, wrapped: bytes, bound: Bound) -> bytes:
        """The key again."""
        ...

    def describe(self) -> Mapping[str, object]:
        """What may be shown beside kind, URI, key id and level."""
        ...


class LayeredProvider:
    """A key store as a ``KeyProvider``. See the module.

    ``cache_seconds`` is how long an unwrapped working key stays in locked memory: 0 asks the store
    each time. ``store_seconds`` limits each call to the store.
    """

    limit_seconds = None
    """The guard need not count: every call to the store is limited here."""

    def __init__(
        self,
        uri: str,
        store: KeyStore,
        *,
        cache_seconds: float,
        store_seconds: float,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._uri = uri
        self._store = store
        self._seconds = store_seconds
        self._random = random
        self._working = WorkingKeys(cache_seconds)
        self._key_id = hashlib.sha256(
            b"modelseal key store " + store.kind.encode() + b"\0" + store.identity
        ).digest()[:KEY_ID_BYTES]

    @property
    def uri(self) -> str:
        """The key URI."""
        return self._uri

    @property
    def level(self) -> Level:
        """The assurance level that the store claims."""
        return self._store.level

    def wrap(self, plaintext: bytes, context: Context) -> bytes:
        """``plaintext`` wrapped and bound to ``context``."""
        if len(plaintext) > MAX_PLAINTEXT_BYTES:
            raise Misuse("longer than anything that is wrapped here")
        bound = shown(context)
        kept = self._working.newest(bound)
        working, wrapped = self._fresh(bound) if kept is None else kept
        salt = self._random(SALT_BYTES)
        if len(salt) != SALT_BYTES:
            raise Misuse("the random source answered with another length")
        header = _PREFIX + self._key_id + _LENGTH.pack(len(wrapped)) + wrapped + salt
        key = _derive(working.view, salt)
        return header + AESGCM(key).encrypt(_NONCE, plaintext, header + encode_context(context))

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """The plaintext; ``WrappedKeyInvalid`` under another key or context."""
        if not self.owns(wrapped):
            raise WrappedKeyInvalid("wrapped by another key")
        (length,) = _LENGTH.unpack_from(wrapped, _FIXED_BYTES - _LENGTH.size)
        middle = _FIXED_BYTES + length
        header, salt = wrapped[: middle + SALT_BYTES], wrapped[middle : middle + SALT_BYTES]
        key = self._message_key(bytes(wrapped[_FIXED_BYTES:middle]), shown(context), salt)
        try:
            return AESGCM(key).decrypt(
                _NONCE, wrapped[len(header) :], header + encode_context(context)
            )
        except InvalidTag:
            raise WrappedKeyInvalid("altered, or bound to another context") from None

    def owns(self, wrapped: bytes) -> bool:
        """True when the store's key is named in these bytes; the store is not asked."""
        found = owner(wrapped)
        return found is not None and hmac.compare_digest(found, self._key_id)

    def describe(self) -> Mapping[str, object]:
        """Kind, URI, key id, level, how long working keys are kept, and what the store tells."""
        return {
            **self._store.describe(),
            "kind": self._store.kind,
            "uri": self._uri,
            "key_id": self._key_id.hex(),
            "level": int(self.level),
            "cache_seconds": self._working.seconds,
        }

    def forget(self) -> None:
        """Afterwards no unwrapped working key is held here."""
        self._working.wipe()

    def _fresh(self, bound: Bound) -> tuple[SecretBytes, bytes]:
        """A new working key, proved to open again before anything is wrapped by it."""
        key = bytearray(self._random(KEY_BYTES))
        if len(key) != KEY_BYTES:
            raise Misuse("the random source answered with another length")
        working = SecretBytes.take(key)
        copy = working.reveal()  # the stores' clients take nothing else
        try:
            wrapped = self._call(lambda: self._store.wrap_key(copy, bound))
        finally:
            wipe_bytes(copy)
        if not isinstance(wrapped, bytes) or not 0 < len(wrapped) <= MAX_STORE_BYTES:
            raise KeyStoreUnavailable("the key store did not wrap what it was given", uri=self._uri)
        if self._working.seconds and self._unwrapped(wrapped, bound) != working.view:
            raise KeyStoreUnavailable("the key store cannot open what it wrapped", uri=self._uri)
        self._working.keep(bound, wrapped, working, newest=True)
        return working, wrapped

    def _message_key(self, wrapped: bytes, bound: Bound, salt: bytes) -> bytes:
        kept = self._working.find(bound, wrapped)
        if kept is not None:
            return _derive(kept.view, salt)
        working = self._unwrapped(wrapped, bound)
        try:
            if self._working.seconds:
                self._working.keep(bound, wrapped, SecretBytes(working))
            return _derive(working, salt)
        finally:
            wipe_bytes(working)

    def _unwrapped(self, wrapped: bytes, bound: Bound) -> bytes:
        key = self._call(lambda: self._store.unwrap_key(wrapped, bound))
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            raise KeyStoreUnavailable("the key store answered with no working key", uri=self._uri)
        return key

    def _call(self, act: Callable[[], bytes]) -> bytes:
        return limits.run(act, self._seconds, uri=self._uri)

    def __repr__(self) -> str:
        return f"LayeredProvider({self._uri})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key provider cannot be pickled or copied")


def owner(wrapped: bytes) -> bytes | None:
    """The id of the key that wrapped these bytes; None when they are no such envelope.

    Raises nothing: "not mine" is a normal answer.
    """
    if not wrapped.startswith(_PREFIX) or len(wrapped) < _FIXED_BYTES:
        return None
    (length,) = _LENGTH.unpack_from(wrapped, _FIXED_BYTES - _LENGTH.size)
    rest = len(wrapped) - _FIXED_BYTES - length - SALT_BYTES - TAG_BYTES
    if not 0 < length <= MAX_STORE_BYTES or not 0 <= rest <= MAX_PLAINTEXT_BYTES:
        return None
    start = len(_PREFIX)
    return bytes(wrapped[start : start + KEY_ID_BYTES])


def shown(context: Context) -> dict[str, str]:
    """The part of ``context`` that a store is shown: texts of the members ``SHOWN``."""
    encode_context(context)
    found = {name: context[name] for name in SHOWN if name in context}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def _derive(working: bytes | memoryview, salt: bytes) -> bytes:
    hkdf = HKDF(hashes.SHA256(), KEY_BYTES, salt, b"modelseal layered key v1")
    return hkdf.derive(working)
