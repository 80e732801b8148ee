"""Fake key providers for tests of software that uses modelseal. Each warns when it is built.

``FakeKeyProvider`` keeps its key in memory and passes the contract suite; the liars break one
promise each, to show that a caller survives them.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping

from modelseal.keys import envelope
from modelseal.keys.envelope import Context
from modelseal.types import Level


class FakeKeyProviderWarning(UserWarning):
    """A key provider that protects nothing was built."""


class FakeKeyProvider:
    """A provider whose key is the hash of its name: the same name opens what it wrapped before."""

    def __init__(self, name: str = "fake") -> None:
        warnings.warn(
            "FakeKeyProvider protects nothing: its key is the hash of its name",
            FakeKeyProviderWarning,
            stacklevel=2,
        )
        self._name = name
        self._key = hashlib.sha256(f"modelseal fake key {name}".encode()).digest()
        self._count = 0

    @property
    def uri(self) -> str:
        """``fake:NAME``; no shipped dispatch serves it."""
        return f"fake:{self._name}"

    @property
    def level(self) -> Level:
        """L0: a fake never counts as more."""
        return Level.L0

    def wrap(self, plaintext: bytes, context: Context) -> bytes:
        """``plaintext`` wrapped and bound to ``context``; the salts are counted, not random."""
        self._count += 1
        return envelope.seal(self._key, plaintext, context, self._salt)

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """The plaintext; ``WrappedKeyInvalid`` under another name or context."""
        return envelope.open_(self._key, wrapped, context)

    def owns(self, wrapped: bytes) -> bool:
        """True when this name wrapped these bytes."""
        return envelope.owner(wrapped) == envelope.key_id(self._key)

    def describe(self) -> Mapping[str, object]:
        """Kind, URI, key id and level."""
        return {
            "kind": "fake",
            "uri": self.uri,
            "key_id": envelope.key_id(self._key).hex(),
            "level": int(self.level),
        }

    def _salt(self, size_bytes: int) -> bytes:
        return hashlib.shake_256(f"{self._name} {self._count}".encode()).digest(size_bytes)


class LyingKeyProvider(FakeKeyProvider):
    """A fake that breaks its promise in ``unwrap`` or ``wrap``.

    ``lie`` gets what the honest answer would be and returns or raises whatever it likes.
    """

    def __init__(
        self,
        *,
        unwrap_lie: Callable[[bytes], object] | None = None,
        wrap_lie: Callable[[bytes], object] | None = None,
        name: str = "liar",
    ) -> None:
        super().__init__(name)
        self.unwrap_lie = unwrap_lie
        self.wrap_lie = wrap_lie

    def wrap(self, plaintext: bytes, context: Context) -> bytes:
        """What ``wrap_lie`` makes of the honest answer."""
        honest = super().wrap(plaintext, context)
        return honest if self.wrap_lie is None else self.wrap_lie(honest)  # type: ignore[return-value]

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """What ``unwrap_lie`` makes of the honest answer."""
        honest = super().unwrap(wrapped, context)
        return honest if self.unwrap_lie is None else self.unwrap_lie(honest)  # type: ignore[return-value]


def raising(error: Exception) -> Callable[[bytes], object]:
    """A lie that raises ``error``."""

    def lie(_honest: bytes) -> object:
        raise error

    return lie
