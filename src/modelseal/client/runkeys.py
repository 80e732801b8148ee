"""Opened data keys of one run: in locked memory, for exactly one lease, never on a disk.

What a key release brought, or what a software lease carries, is kept here until the lease ends or
is followed by the next, a refusal comes, or the client is closed; then it is wiped.
(``docs/adr/0078-released-keys-live-as-long-as-their-lease.md``,
``docs/adr/0122-keys-of-a-lease-are-opened-once-per-run.md``.)
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime

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
        self._proved: dict[bytes, tuple[int, int]] = {}
        self._opened_by: bytes | None = None
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
            proved = self._proved if self._lease == lease else {}
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
            self._lease, self._places, self._proved = lease, places, proved
            self._files.update(dict.fromkeys(asked))

    def prove(self, lease: str, files: Iterable[bytes], level: int, exp: int) -> None:
        """The keys of ``files`` that are here came at ``level``, until ``exp`` (NumericDate)."""
        with self._guard:
            if self._lease == lease and self._secret is not None:
                self._proved.update(dict.fromkeys(files, (level, exp)))

    @property
    def proved(self) -> bool:
        """Whether any keys here came by evidence."""
        return bool(self._proved)

    def level(self, lease: str | None, file_id: bytes) -> int:
        """The level at which the keys of a file came by evidence; 0 for all others."""
        with self._guard:
            return self._proved.get(file_id, (0, 0))[0] if self._lease == lease else 0

    def expire(self, now: datetime) -> None:
        """Keys that came by evidence are wiped where their own end is over."""
        with self._guard:
            at = now.timestamp()
            over = {file_id for file_id, (_, exp) in self._proved.items() if exp <= at}
            if not over or self._secret is None:
                return
            kept = [place for place in self._places if place[0] not in over]
            gathered = bytearray(_KEY_BYTES * len(kept))
            for to, place in enumerate(kept):
                at_ = self._places[place]
                gathered[_KEY_BYTES * to : _KEY_BYTES * (to + 1)] = self._secret.view[
                    at_ : at_ + _KEY_BYTES
                ]
            lease, proved = self._lease, {f: p for f, p in self._proved.items() if f not in over}
            self._drop()
            if kept:
                self._secret = SecretBytes(memoryview(gathered))
                wipe(gathered)
                self._places = {p: _KEY_BYTES * n for n, p in enumerate(kept)}
                self._lease, self._proved = lease, proved

    def is_opened_by(self, file: bytes | None) -> bool:
        """Whether ``file``, a ``lease.key``, is known to open the lease whose keys are here."""
        with self._guard:
            return file is not None and self._opened_by == file

    def note_opened_by(self, lease: str, file: bytes | None) -> None:
        """``is_opened_by`` is true for ``file`` as long as the keys of ``lease`` are here."""
        with self._guard:
            if self._lease == lease:
                self._opened_by = file

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
        self._lease, self._places, self._secret, self._proved = None, {}, None, {}
        self._opened_by = None
