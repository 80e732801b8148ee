"""Sealed files whose signatures hold, with their index: opened once per file identity."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Any

from modelseal import container
from modelseal.container import Depth, Index, VerifiedModel
from modelseal.errors import SourceChanged
from modelseal.runtime.keyring import Keyring
from modelseal.runtime.ports import Licensee
from modelseal.runtime.source import AnySource, FileSource, MemorySource

_SETTLED_NS = 2_000_000_000
"""A change right after another may bear the same time: younger files are not recorded."""


class OpenedFile:
    """A sealed file, its index, and how deeply its chunks have to be verified; shared by views."""

    def __init__(self, source: AnySource, model: VerifiedModel, index: Index, depth: Depth) -> None:
        self.source = source
        self.model = model
        self.index = index
        self.depth = depth
        self._recorded = depth is Depth.TAG

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
        source = self.source
        if self._recorded or not isinstance(source, FileSource) or not self.model.wholly_proved:
            return
        age = time.time_ns() - max(source.identity.ctime_ns, source.identity.mtime_ns)
        if age > _SETTLED_NS and self.still_holds():
            self._recorded = True
            licensee.record(source.seen, self.model.leaf_hash)


_files: weakref.WeakValueDictionary[Any, OpenedFile] = weakref.WeakValueDictionary()
_lock = threading.Lock()
_opening: dict[Any, threading.Lock] = {}


def open_file(path: str, licensee: Licensee, keyring: Keyring) -> OpenedFile:
    """The sealed file at ``path``, once per file identity and process; the key is in ``keyring``.

    Raises ``InputMissing``, ``AccessDenied``, what ``Licensee`` raises, ``InvalidBytes`` errors.
    """
    file = FileSource(path)
    key = (id(licensee), file.identity)
    with _lock:
        gate = _opening.setdefault(key, threading.Lock())
    try:
        with gate:
            opened = _files.get(key)
            if opened is None:
                opened = _open(file, licensee, keyring)
                file.check_unchanged()
                with _lock:
                    _files[key] = opened
            else:
                file.close()
    finally:
        with _lock:
            _opening.pop(key, None)
    return opened


def open_bytes(data: bytes, licensee: Licensee, keyring: Keyring) -> OpenedFile:
    """The sealed bytes ``data``; raises as ``open_file`` does."""
    return _open(MemorySource(data), licensee, keyring)


def _open(source: AnySource, licensee: Licensee, keyring: Keyring) -> OpenedFile:
    model = licensee.verify(container.parse(source))
    licensee.authorize(model, [0])
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
