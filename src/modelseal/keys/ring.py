"""Several key-encryption keys while one takes over from another: the first wraps, all open.

``KeyRing`` is a ``KeyProvider``. What was wrapped says by itself which key did it (``owns``), so
that a rotation may stop anywhere and every row and file still opens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from modelseal.errors import InputMissing, KeyStoreUnavailable, WrappedKeyInvalid
from modelseal.keys import dispatch
from modelseal.keys.envelope import Context
from modelseal.keys.provider import Ask, KeyProvider
from modelseal.types import Level

Uris = Callable[[], Sequence[str]]
"""The URIs of the keys in force, the one that wraps first."""


class KeyRing:
    """See the module. ``uris`` is asked again by ``reload`` and for bytes no key here wrapped."""

    def __init__(self, uris: Uris, *, ask: Ask | None = None, base: Path | None = None) -> None:
        self._uris = uris
        self._ask = ask
        self._base = base
        self._known: dict[str, KeyProvider] = {}
        self._providers: tuple[KeyProvider, ...] = ()
        self.reload()

    def reload(self, *, anew: bool = False) -> None:
        """The keys are those that ``uris`` names now.

        ``anew`` opens known ones again, since another key may have come to lie at the same URI;
        one that would need a passphrase stays as it is, for nobody is asked twice. A key behind
        the first that is gone has been erased: nothing is wrapped by it any more.
        """
        first, *older = self._uris()
        known = {first: self._open(first, anew=anew)}
        for uri in older:
            try:
                known[uri] = self._open(uri, anew=anew)
            except InputMissing:
                continue
        self._known, self._providers = known, tuple(known.values())

    def create(self, uri: str) -> KeyProvider:
        """A fresh key at ``uri``, not in force yet; ``OutputExists`` when there is one."""
        made = dispatch.create(uri, ask=self._ask, base=self._base)
        self._known[uri] = made
        return made

    def open(self, uri: str) -> KeyProvider:
        """The key at ``uri``, in force or not."""
        self._known[uri] = self._open(uri, anew=False)
        return self._known[uri]

    def _open(self, uri: str, *, anew: bool) -> KeyProvider:
        known = self._known.get(uri)
        if known is None:
            return dispatch.open_provider(uri, ask=self._ask, base=self._base)
        if not anew:
            return known
        try:
            return dispatch.open_provider(uri, base=self._base)
        except KeyStoreUnavailable:
            return known

    @property
    def current(self) -> KeyProvider:
        """The key that wraps."""
        return self._providers[0]

    @property
    def uri(self) -> str:
        """The key URI of the key that wraps."""
        return self.current.uri

    @property
    def level(self) -> Level:
        """The assurance level that the key that wraps claims."""
        return self.current.level

    def wrap(self, plaintext: bytes, context: Context) -> bytes:
        """``plaintext`` wrapped by the current key."""
        return self.current.wrap(plaintext, context)

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """The plaintext, opened by whichever key wrapped it."""
        owner = self._owner(wrapped)
        if owner is None:
            self.reload(anew=True)
            owner = self._owner(wrapped)
        if owner is None:
            raise WrappedKeyInvalid("wrapped by another key")
        return owner.unwrap(wrapped, context)

    def owns(self, wrapped: bytes) -> bool:
        """True when one of the keys wrapped these bytes."""
        return self._owner(wrapped) is not None

    def is_current(self, wrapped: bytes) -> bool:
        """True when the key that wraps now wrapped these bytes."""
        return self.current.owns(wrapped)

    def describe(self) -> Mapping[str, object]:
        """What may be shown of the key that wraps."""
        return self.current.describe()

    def _owner(self, wrapped: bytes) -> KeyProvider | None:
        return next((each for each in self._providers if each.owns(wrapped)), None)


def same_key(one: KeyProvider, other: KeyProvider) -> bool:
    """True when what ``one`` wraps is what ``other`` owns."""
    return other.owns(one.wrap(b"one key or two", {"purpose": "comparison"}))
