"""The data keys of one sealed model while one view of it is open: fetched once, then wiped."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from modelseal.container import VerifiedModel
from modelseal.errors import ReaderClosed
from modelseal.runtime.ports import Keys, Licensee


class Keyring:
    """Keys in memory that ``close`` wipes, as does the end of the keyring itself.

    A lazily read file is asked for hundreds of tensors; opening the lease for each would cost
    more than the tensors. Whether a section may be read is asked of the law every time, not here.
    """

    def __init__(self, licensee: Licensee) -> None:
        self._licensee = licensee
        self._held = contextlib.ExitStack()
        self._keys: dict[int, memoryview] = {}
        self._lock = threading.Lock()
        self._lent = 0

    def take(self, model: VerifiedModel, sections: Sequence[int]) -> Keys:
        """The data keys of ``sections``; raises what ``Licensee.data_keys`` raises."""
        with self._lock:
            missing = [section for section in sections if section not in self._keys]
            if missing:
                asked = self._licensee.data_keys(model, missing)
                self._keys.update(self._held.enter_context(asked))
            return {section: self._keys[section] for section in sections}

    def close(self) -> None:
        """No key is here any more; ``take`` fetches anew."""
        with self._lock:
            self._keys.clear()
            self._held.close()

    def lend(self) -> Lent:
        """The same keys for one more holder; they are wiped when the last one has closed."""
        with self._lock:
            self._lent += 1
        return Lent(self)

    def _take_back(self) -> None:
        with self._lock:
            self._lent -= 1
            if self._lent == 0:
                self._keys.clear()
                self._held.close()

    def __enter__(self) -> Keyring:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Lent:
    """A keyring that is shared with others; see ``Keyring.lend``."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring: Keyring | None = keyring

    def take(self, model: VerifiedModel, sections: Sequence[int]) -> Keys:
        """See ``Keyring.take``; ``ReaderClosed`` after ``close``."""
        if self._keyring is None:
            raise ReaderClosed("this sealed model is closed")
        return self._keyring.take(model, sections)

    def close(self) -> None:
        """This holder needs the keys no longer."""
        keyring, self._keyring = self._keyring, None
        if keyring is not None:
            keyring._take_back()

    def __del__(self) -> None:
        self.close()
