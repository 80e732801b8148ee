"""What the runtime needs from whoever holds the license: the client now, a device agent later."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from modelseal.container import SealedModel, VerifiedModel
from modelseal.errors import ModelsealError
from modelseal.types import MemoryProtection

Keys = Mapping[int, memoryview]
_STRONGEST = (MemoryProtection.SECRET, MemoryProtection.LOCKED)


def strongest(demands: Collection[str]) -> MemoryProtection:
    """The strongest protection among ``demands``."""
    return next((level for level in _STRONGEST if level in demands), MemoryProtection.NONE)


class Look(Protocol):
    """What the license allows at one moment, that of the first question: a load asks for all of it
    at once. Every question raises where the license cannot be read."""

    def authorize(self, model: VerifiedModel, sections: Sequence[int]) -> None:
        """Returns when every one of ``sections`` may be opened; else the refusal.

        The index (section 0) may be opened whenever another section may.
        """
        ...

    def memory(self) -> MemoryProtection:
        """The least protection of opened weights that the license demands."""
        ...

    def stops_now(self) -> bool:
        """Whether sessions stop with the right to run them (the plan's ``on_expiry``)."""
        ...


class Licensee(Protocol):
    """The right to open, and the keys that go with it. Threads may call at once."""

    def verify(self, model: SealedModel) -> VerifiedModel:
        """``model``, proved to be the publisher's by the pinned trust.

        Raises ``WrongPublisher``, ``ContainerSignature``, ``WrongProduct``, ``ReleaseTooOld``.
        """
        ...

    def pinned(self) -> object:
        """What ``verify`` goes by: as long as it is this very object, so is the answer."""
        ...

    def look(self) -> Look:
        """A look at the license now. Never raises."""
        ...

    def data_keys(
        self, model: VerifiedModel, sections: Sequence[int]
    ) -> AbstractContextManager[Keys]:
        """The data keys of ``sections``, wiped at the end of the context.

        Raises ``KeyNotInLease`` and what a key release raises.
        """
        ...

    def recorded(self, seen: os.stat_result, leaf_hash: bytes) -> bool:
        """Whether a record of this device says that the file which looks like ``seen`` was wholly
        verified with that leaf table. Never raises."""
        ...

    def record(self, seen: os.stat_result, leaf_hash: bytes) -> None:
        """``recorded`` is true from now on, where the record can be written. Never raises."""
        ...

    def reached(self, protection: MemoryProtection, *, swap_safe: bool) -> None:
        """The memory of an opened model got this protection; ``status`` shows it. Never raises."""
        ...

    def note(self, kind: str, reason: str, path: str | None) -> None:
        """An entry of that kind, no refusal, is in the device's journal. Never raises."""
        ...

    def refusal(self, error: ModelsealError) -> None:
        """``error`` is on the device's record when this returns. Never raises."""
        ...
