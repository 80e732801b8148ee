"""Released data keys of one run: in locked memory, for exactly one lease, never on a disk.

An *online* lease carries no keys. What a key release brought is kept here until the lease ends or
is followed by the next, a refusal comes, or the client is closed; then it is wiped.
(``docs/adr/0078-released-keys-live-as-long-as-their-lease.md``.)
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from modelseal.license.lease_keys import DataKeys
from modelseal.memory import SecretBytes, wipe

_KEY_BYTES = 32


class RunKeys:
    """The data keys of the lease ``keep`` was last called for. Safe for several threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self.asking = threading.Lock()
        self._lease: str | None = None
        self._places: dict[tuple[bytes, int], int] = {}
        self._secret: SecretBytes | None = None
        self._files: dict[bytes, None] = {}
        self._closed = False

    @property
    def lease(self) -> str | None:
        """The id of the lease whose keys are here; None when none are."""
        with self._guard:
            return self._lease

    @property
    def files(self) -> list[bytes]:
        """The files asked for in this run, also when their keys are wiped by now."""
        with self._guard:
            return list(self._files)

    def pick(
        self, lease: str, file_id: bytes, sections: Sequence[int]
    ) -> dict[int, SecretBytes] | None:
        """A copy of each key, when all of them are here for that lease; else None."""
        with self._guard:
            if self._secret is None or self._lease != lease:
                return None
            places = {section: self._places.get((file_id, section)) for section in sections}
            if None in places.values():
                return None
            whole = self._secret.view
            return {
                section: SecretBytes(whole[at : at + _KEY_BYTES])
                for section, at in places.items()
                if at is not None
            }

    def keep(self, lease: str, keys: DataKeys, asked: Iterable[bytes]) -> None:
        """``keys`` are here for ``lease``, beside those that were; of another lease none is."""
        with self._guard:
            size = _KEY_BYTES * (len(keys) + len(self._places))
            gathered, places = bytearray(size), dict[tuple[bytes, int], int]()
            if self._lease == lease and self._secret is not None:
                old = self._secret.view
                gathered[: len(old)] = old
                places.update(self._places)
            for place, key in keys.items():
                at = places.setdefault(place, _KEY_BYTES * len(places))
                gathered[at : at + _KEY_BYTES] = key
            self._drop()
            self._secret = SecretBytes(memoryview(gathered)[: _KEY_BYTES * len(places)])
            wipe(gathered)
            if self._closed:  # a question was on its way
                self._drop()
                return
            self._lease, self._places = lease, places
            self._files.update(dict.fromkeys(asked))

    def wipe(self) -> None:
        """No key is here any more."""
        with self._guard:
            self._drop()

    def close(self) -> None:
        """No key is here, and none that is still on its way will be."""
        with self._guard:
            self._closed = True
            self._drop()

    def after_fork(self) -> None:
        """In a forked child: nothing is here. The memory is the parent's, who may wipe it."""
        self._guard, self.asking = threading.Lock(), threading.Lock()
        self._drop()
        self._files = {}

    def _drop(self) -> None:
        if self._secret is not None:
            self._secret.close()
        self._lease, self._places, self._secret = None, {}, None
