"""A key that a provider holds in this process's locked memory, and wraps with by itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NoReturn

from modelseal.errors import KeyStoreUnavailable
from modelseal.keys import envelope
from modelseal.keys.envelope import KEY_BYTES, Context
from modelseal.memory import SecretBytes
from modelseal.types import Level

MAGIC = b"\x89MSK1\r\n\x1a"
VERSION = 1
_PREFIX = MAGIC + bytes([VERSION])


def encode(key: bytes) -> bytes:
    """The 41 bytes of a key file. ``decode`` undoes it."""
    return _PREFIX + key


def decode(data: bytes) -> bytes | None:
    """The key in the bytes of a key file; None when they are of another form or version."""
    if not data.startswith(_PREFIX) or len(data) != len(_PREFIX) + KEY_BYTES:
        return None
    return data[len(_PREFIX) :]


class HeldKey:
    """A 32-byte key, read once from where it lies. See ``KeyProvider``."""

    __slots__ = ("_key", "_random", "_uri", "kind", "level")
    limit_seconds = None

    def __init__(
        self,
        kind: str,
        uri: str,
        key: bytes,
        level: Level = Level.L0,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if len(key) != KEY_BYTES:
            raise KeyStoreUnavailable(f"a {kind} key has 32 bytes", uri=uri)
        self.kind = kind
        self.level = level
        self._uri = uri
        self._key = SecretBytes(key)
        self._random = random

    @property
    def uri(self) -> str:
        """The key URI."""
        return self._uri

    def wrap(self, plaintext: bytes, context: Context) -> bytes:
        """``plaintext`` wrapped and bound to ``context``."""
        return envelope.seal(self._key.view, plaintext, context, self._random)

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """The plaintext; ``WrappedKeyInvalid`` under another key or context."""
        return envelope.open_(self._key.view, wrapped, context)

    def owns(self, wrapped: bytes) -> bool:
        """True when this key wrapped these bytes."""
        return envelope.owner(wrapped) == envelope.key_id(self._key.view)

    def describe(self) -> Mapping[str, object]:
        """Kind, URI, key id and level."""
        return {
            "kind": self.kind,
            "uri": self._uri,
            "key_id": envelope.key_id(self._key.view).hex(),
            "level": int(self.level),
        }

    def reveal(self) -> bytes:
        """The key bytes themselves: for a backup, which encrypts them at once."""
        return self._key.reveal()

    def __repr__(self) -> str:
        return f"<{self.kind} key {self._uri}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key provider cannot be pickled or copied")
