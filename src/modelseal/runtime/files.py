"""Sealed files whose signatures hold, with their index: verified once per file identity.

What was verified is remembered without keys, plaintext or an open descriptor; see
``docs/adr/0195-what-was-verified-is-remembered.md``.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import OrderedDict
from typing import Any

from modelseal import container
from modelseal.container import Depth, Entry, Index, VerifiedModel
from modelseal.errors import ContainerDamaged, SourceChanged, StorageFailed
from modelseal.runtime.keyring import Keyring
from modelseal.runtime.parallel import threads_for
from modelseal.runtime.ports import Licensee, Look
from modelseal.runtime.source import AnySource, Descriptor, FileSource, Identity, MemorySource

_SETTLED_NS = 2_000_000_000
"""A change right after another may bear the same time: younger files are not recorded."""
_REMEMBERED = 256


class OpenedFile:
    """A sealed file, its index, and how deeply its chunks have to be verified; shared by views."""

    def __init__(self, source: AnySource, model: VerifiedModel, index: Index, depth: Depth) -> None:
        self.source = source
        self.model = model
        self.index = index
        self.depth = depth
        self.kept: dict[str, Any] = {}
        self._recorded = depth is Depth.TAG

    def wake(self, found: FileSource, licensee: Licensee) -> Descriptor | None:
        """The descriptor that is read from while somebody holds it; ``found`` may be it."""
        if not isinstance(self.source, FileSource):
            return None
        full = self.depth is Depth.FULL
        if full and licensee.recorded(self.source.seen, self.model.leaf_hash):
            self._recorded, self.depth = True, Depth.TAG
        return self.source.wake(found)

    def still_holds(self) -> bool:
        """Whether the file is what it was when it was opened; if not, tags suffice no longer."""
        if not isinstance(self.source, FileSource):
            return True
        try:
            self.source.check_unchanged()
        except SourceChanged:
            self.depth = Depth.FULL
            return False
        return True

    def record(self, licensee: Licensee) -> None:
        """Later loads need the tags only, if by now the leaf of every stored chunk held.

        What is recorded is the file as it was found before anything was read.
        """
        if self._recorded or not self.model.wholly_proved:
            return
        self._recorded = self.mark(licensee, self.model.leaf_hash)

    def prove(self, licensee: Licensee) -> None:
        """As ``record``, for who reads a part only: the leaves of the rest are compared now.

        Damage in what nobody asked for is no refusal; the next load looks again.
        """
        if self._recorded or self.depth is Depth.TAG or not self._is_settled():
            return
        with contextlib.suppress(ContainerDamaged, StorageFailed):
            if not self.model.wholly_proved:
                self.model.verify_leaves(threads=threads_for(self.source.size_bytes))
            self.record(licensee)

    def mark(self, licensee: Licensee, mark: bytes) -> bool:
        """Whether the device remembers ``mark`` for exactly this file from now on."""
        source = self.source
        if not isinstance(source, FileSource) or not self._is_settled() or not self.still_holds():
            return False
        licensee.record(source.seen, mark)
        return True

    def is_marked(self, licensee: Licensee, mark: bytes) -> bool:
        """Whether the device remembers ``mark`` for exactly this file."""
        return isinstance(self.source, FileSource) and licensee.recorded(self.source.seen, mark)

    def _is_settled(self) -> bool:
        if not isinstance(self.source, FileSource):
            return False
        identity = self.source.identity
        return time.time_ns() - max(identity.ctime_ns, identity.mtime_ns) > _SETTLED_NS


class Held:
    """An opened file for one holder, who closes it by letting go of it."""

    def __init__(self, file: OpenedFile, descriptor: Descriptor | None) -> None:
        self.file, self._descriptor = file, descriptor


class _Known:
    """A file that is open or was: whose trust it was verified by, and what was found."""

    def __init__(self, file: OpenedFile, licensee: Licensee) -> None:
        self.file, self._licensee, self._pinned = file, weakref.ref(licensee), licensee.pinned()

    def is_for(self, licensee: Licensee) -> bool:
        """Whether ``licensee`` would find the same."""
        return self._licensee() is licensee and licensee.pinned() is self._pinned


_files: OrderedDict[Identity, _Known] = OrderedDict()
_lock = threading.Lock()
_opening: dict[Identity, threading.Lock] = {}


def open_file(path: str, licensee: Licensee, keyring: Keyring, look: Look) -> Held:
    """The sealed file at ``path``, verified once per identity; keys it needs are in ``keyring``.

    Raises ``InputMissing``, ``AccessDenied``, what ``Licensee`` raises, ``InvalidBytes`` errors.
    """
    source = FileSource(path)
    key = source.identity
    with _lock:
        gate = _opening.setdefault(key, threading.Lock())
    try:
        with gate:
            known = _files.get(key)
            if known is not None and known.is_for(licensee):
                look.authorize(known.file.model, [0])
                return Held(known.file, known.file.wake(source, licensee))
            opened = _open(source, licensee, keyring, look)
            source.check_unchanged()
            _remember(key, _Known(opened, licensee))
            return Held(opened, source.lend())
    finally:
        with _lock:
            _opening.pop(key, None)


def open_bytes(data: bytes, licensee: Licensee, keyring: Keyring, look: Look) -> Held:
    """The sealed bytes ``data``; raises as ``open_file`` does."""
    return Held(_open(MemorySource(data), licensee, keyring, look), None)


def sections_of(entry: Entry, start: int, end: int) -> list[int]:
    """The sections that bytes ``start`` to ``end`` of the entry lie in; all for an empty range."""
    if start == end:
        return list(entry.sections)
    return sorted({
        part.section
        for part in entry.extents
        if part.file_offset < end and start < part.file_offset + part.size_bytes
    })  # fmt: skip


def _remember(key: Identity, known: _Known) -> None:
    with _lock:
        _files[key] = known
        _files.move_to_end(key)
        while len(_files) > _REMEMBERED:
            _files.popitem(last=False)


def _open(source: AnySource, licensee: Licensee, keyring: Keyring, look: Look) -> OpenedFile:
    model = licensee.verify(container.parse(source))
    look.authorize(model, [0])
    depth = Depth.FULL
    if isinstance(source, FileSource) and licensee.recorded(source.seen, model.leaf_hash):
        depth = Depth.TAG
    # Of one section beside the index the key is wanted next: both come at once.
    wanted = [0, 1] if len(model.sections) == 2 else [0]
    index = model.open_index(keyring.take(model, wanted)[0], depth=depth)
    return OpenedFile(source, model, index, depth)


def _forget_parent() -> None:
    """A forked child opens for itself: a lock of its parent may be held for ever."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _files.clear()
    _opening.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
