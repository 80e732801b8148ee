"""What a key provider is, and the guard that holds every provider to it.

Adding a technology: one file with ``open_provider`` and ``create``, one line in ``dispatch.py``
or an entry point ``modelseal.key_providers`` named after the URI scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from modelseal.errors import KeyStoreUnavailable, Misuse, ModelsealError
from modelseal.keys import limits
from modelseal.keys.envelope import Context, encode_context
from modelseal.keys.limits import Ask
from modelseal.types import Level

MAX_WRAPPED_BYTES = 2 * 1024 * 1024
T = TypeVar("T")

__all__ = ["Ask", "GuardedProvider", "KeyProvider", "ProviderModule", "call"]


@runtime_checkable
class KeyProvider(Protocol):
    """Wraps and unwraps short secrets with a key-encryption key that it keeps.

    ``unwrap(wrap(p, c), c) == p``, and nothing else opens: bytes that another key wrapped, that
    were altered, or that were wrapped under another context raise ``WrappedKeyInvalid``. The
    context (purpose, product, file id, section ...) is bound as associated data, never stored.
    A provider that cannot work now raises ``KeyStoreUnavailable``. Other errors do not exist.

    A member ``limit_seconds`` says how long one call may take before it ends in
    ``KeyStoreUnavailable``: a number, or None where the provider sees to that itself. Without it
    the limit is 30 seconds.
    """

    @property
    def uri(self) -> str:
        """The key URI under which ``open_provider`` finds this provider again."""
        ...

    @property
    def level(self) -> Level:
        """The assurance level it claims; counts as L0 until a server verified it."""
        ...

    def wrap(self, plaintext: bytes, context: Context) -> bytes:
        """``plaintext`` (1 byte to 1 MiB) wrapped and bound to ``context`` (never empty)."""
        ...

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """The plaintext that was wrapped under the same ``context``."""
        ...

    def owns(self, wrapped: bytes) -> bool:
        """True when this key wrapped these bytes; "not mine" is a normal answer."""
        ...

    def describe(self) -> Mapping[str, object]:
        """What may be shown: ``kind``, ``key_id``, ``level`` and more; never a secret."""
        ...


class ProviderModule(Protocol):
    """What the entry point of a provider names: two functions.

    ``base`` is the folder that relative paths mean; ``ask`` gets a secret from a person or is
    None where nobody can be asked. Each call may take 30 seconds, or ``OPEN_SECONDS`` of the
    module, beside the time that a person is asked.
    """

    def open_provider(self, uri: str, *, ask: Ask | None, base: Path | None) -> KeyProvider:
        """The provider at ``uri``, whose key exists."""
        ...

    def create(self, uri: str, *, ask: Ask | None, base: Path | None) -> KeyProvider:
        """The provider at ``uri`` with a fresh key; ``OutputExists`` when there is one."""
        ...


class GuardedProvider:
    """A provider whose lies and foreign errors end here. See ``KeyProvider``."""

    __slots__ = ("_inner", "_seconds")

    def __init__(self, inner: KeyProvider) -> None:
        self._inner = inner
        self._seconds: float | None = getattr(inner, "limit_seconds", limits.DEFAULT_SECONDS)

    @property
    def uri(self) -> str:
        """The key URI."""
        return self._call(lambda: self._inner.uri, str)

    @property
    def level(self) -> Level:
        """The assurance level it claims."""
        return self._call(lambda: Level(self._inner.level), Level)

    def wrap(self, plaintext: bytes, context: Context) -> bytes:
        """Wrapped bytes that were opened again once before they are handed out."""
        if not plaintext:
            raise Misuse("there is nothing to wrap")
        encode_context(context)
        wrapped = self._call(lambda: self._inner.wrap(plaintext, context), bytes)
        if not 0 < len(wrapped) <= MAX_WRAPPED_BYTES or wrapped == plaintext:
            raise KeyStoreUnavailable("the key provider did not wrap what it was given")
        if self.unwrap(wrapped, context) != plaintext:
            raise KeyStoreUnavailable("the key provider cannot open what it wrapped")
        return wrapped

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """The plaintext."""
        encode_context(context)
        plaintext = self._call(lambda: self._inner.unwrap(wrapped, context), bytes)
        if not plaintext:
            raise KeyStoreUnavailable("the key provider answered with nothing")
        return plaintext

    def owns(self, wrapped: bytes) -> bool:
        """True when this key wrapped these bytes."""
        return self._call(lambda: self._inner.owns(wrapped), bool)

    def describe(self) -> Mapping[str, object]:
        """What may be shown."""
        return self._call(lambda: dict(self._inner.describe()), dict)

    def forget(self) -> None:
        """Afterwards a provider that keeps unwrapped keys for a time keeps none."""
        act = getattr(self._inner, "forget", None)
        if act is not None:
            self._call(lambda: act() is None, bool)

    def _call(self, act: Callable[[], object], kind: type[T]) -> T:
        return call(lambda: limits.run(act, self._seconds), kind)

    def __repr__(self) -> str:
        return f"<key provider {self.uri}>"


def call(act: Callable[[], object], kind: type[T], uri: str | None = None) -> T:
    """The answer of ``act``, a ``kind``; whatever else happens is ``KeyStoreUnavailable``."""
    told = {} if uri is None else {"uri": uri}
    try:
        answer = act()
    except ModelsealError:
        raise
    except Exception as error:  # noqa: BLE001 - a provider's errors end here
        why = f"the key provider failed: {type(error).__name__}"
        raise KeyStoreUnavailable(why, **told) from None
    if not isinstance(answer, kind):
        raise KeyStoreUnavailable("the key provider answered with another type", **told)
    return answer
