"""The one internal seam: path -> opened, verified, judged, decrypted in memory, shared.

Steps, for every load:

1. the sealed file is opened; from here on the descriptor counts, not the name
2. sizes, canonical form; signatures with the pinned keys, product, release
3. the license law says yes to the sections that are read, at this moment
4. the data keys come from the lease (or a key release) and are dropped after step 5
5. each chunk is compared with its signed leaf, decrypted into the arena and authenticated

Steps 1 and 2 are done once per file identity and process, step 5 once for all who hold the same
entry at the same time; step 3 every time.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from modelseal import container
from modelseal.container import Entry, Index, VerifiedModel
from modelseal.errors import MemoryNotReached, Misuse, NotSealed, ReaderClosed
from modelseal.memory import Arena
from modelseal.runtime import together
from modelseal.runtime.parallel import spread
from modelseal.runtime.ports import Licensee
from modelseal.runtime.sniff import find, is_sealed_bytes
from modelseal.runtime.source import AnySource, FileSource, MemorySource
from modelseal.types import MemoryProtection

_FILE_ROLE = "file"  # other roles are what sealing added
_STRONGEST = (MemoryProtection.SECRET, MemoryProtection.LOCKED, MemoryProtection.NONE)


class OpenedFile:
    """A sealed file whose signatures hold, with its index; shared by all views of it."""

    def __init__(self, source: AnySource, model: VerifiedModel, index: Index) -> None:
        self.source = source
        self.model = model
        self.index = index
        self.lock = threading.Lock()
        self.shared: dict[str, _Shared] = {}


class _Shared:
    """One decrypted entry and how many hold it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holders = 0
        self.arena: Arena | None = None


_files: weakref.WeakValueDictionary[Any, OpenedFile] = weakref.WeakValueDictionary()
_files_lock = threading.Lock()
_opening: dict[Any, threading.Lock] = {}


def open_view(given: object, licensee: Licensee) -> View:
    """The view of the sealed model at a path, or of sealed bytes.

    Raises ``InputMissing``, ``NotSealed`` for a plain file, and whatever the five steps raise.
    """
    if isinstance(given, (bytes, bytearray, memoryview)):
        if not is_sealed_bytes(given):
            raise NotSealed("the magic is missing")
        return View(_open_source(MemorySource(bytes(given)), licensee), licensee, None, None)
    path, inner = find(as_path(given))
    return View(open_file(path, licensee), licensee, path, inner)


def open_file(path: str, licensee: Licensee) -> OpenedFile:
    """Steps 1 and 2 for the sealed file at ``path``, once per file identity and process."""
    file = FileSource(path)
    key = (id(licensee), file.identity)
    with _files_lock:
        gate = _opening.setdefault(key, threading.Lock())
    try:
        with gate:
            opened = _files.get(key)
            if opened is None:
                opened = _open_source(file, licensee)
                file.check_unchanged()
                with _files_lock:
                    _files[key] = opened
            else:
                file.close()
    finally:
        with _files_lock:
            _opening.pop(key, None)
    return opened


def _forget_parent() -> None:
    """A forked child opens for itself: a lock of its parent may be held for ever."""
    global _files_lock  # noqa: PLW0603
    _files_lock = threading.Lock()
    _files.clear()
    _opening.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


def as_path(given: object) -> str:
    """``given`` as the text of a path; ``Misuse`` for anything that is none."""
    try:
        return os.fsdecode(os.fspath(given))  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise Misuse(f"a path is expected, not {type(given).__name__}") from None


def _open_source(source: AnySource, licensee: Licensee) -> OpenedFile:
    model = licensee.verify(container.parse(source))
    licensee.authorize(model, [0])
    with licensee.data_keys(model, [0]) as keys:
        index = model.open_index(keys[0])
    return OpenedFile(source, model, index)


class View:
    """One opened sealed model: its entries by original name. See ``frameworks.Entries``.

    ``inner`` is the entry that the path went on to, where it did.
    """

    def __init__(
        self, opened: OpenedFile, licensee: Licensee, path: str | None, inner: str | None
    ) -> None:
        self._opened: OpenedFile | None = opened
        self._licensee = licensee
        self.path = path
        self.inner = inner

    @property
    def model(self) -> VerifiedModel:
        """The verified sealed model."""
        return self._file.model

    def names(self) -> list[str]:
        """The original names, with ``/`` between folders."""
        return [entry.name for entry in self._file.index if entry.role == _FILE_ROLE]

    def size(self, name: str) -> int:
        """The length in bytes of the file ``name``; ``NotFound``."""
        return self._file.index.entry(name).size_bytes

    def private(self, name: str, start: int = 0, stop: int | None = None) -> memoryview:
        """Bytes ``start`` to ``stop`` of the file ``name`` in writable memory of the caller's own.

        Only the chunks they lie in are read and decrypted. The memory is wiped when the view and
        everything made over it are gone.
        """
        entry = self._file.index.entry(name)
        end = entry.size_bytes if stop is None else stop
        if not 0 <= start <= end <= entry.size_bytes:
            raise Misuse("the range lies outside the file", entry=name)
        return self._decrypt(entry, start, end).view

    @contextlib.contextmanager
    def shared(self, name: str) -> Iterator[memoryview]:
        """The whole file ``name``, read-only, decrypted once for all who hold it by then."""
        file = self._file
        entry = file.index.entry(name)
        self._licensee.authorize(file.model, entry.sections)
        with file.lock:
            held = file.shared.setdefault(name, _Shared())
            held.holders += 1
        try:
            with held.lock:
                if held.arena is None:
                    held.arena = self._decrypt(entry, 0, entry.size_bytes)
                view = held.arena.view.toreadonly()
            yield view
        finally:
            with file.lock:
                held.holders -= 1
                if not held.holders:
                    del file.shared[name]  # its arena is wiped when the last view goes

    def close(self) -> None:
        """The view is closed; memory that was handed out stays its holders'."""
        self._opened = None

    @property
    def _file(self) -> OpenedFile:
        if self._opened is None:
            raise ReaderClosed("this sealed model is closed", path=self.path)
        return self._opened

    def _decrypt(self, entry: Entry, start: int, end: int) -> Arena:
        model = self._file.model
        sections = _sections(entry, start, end)
        self._licensee.authorize(model, sections)
        wanted = _protection(model, sections)
        arena = Arena(end - start, wanted)
        try:
            self._check_reached(arena, wanted)
            secrets = together.secrets(self, sections, self._licensee)
            with self._licensee.data_keys(model, sections) as keys:

                def fill(low: int, high: int) -> None:
                    part = arena.view[low:high]
                    model.read_entry(entry, keys, part, file_offset=start + low, together=secrets)

                spread(fill, end - start)
        except BaseException:
            arena.close()
            raise
        return arena

    def _check_reached(self, arena: Arena, wanted: MemoryProtection) -> None:
        """``MemoryNotReached`` before anything is decrypted into memory that is too open."""
        self._licensee.reached(arena.reached, swap_safe=arena.swap_safe)
        if wanted is MemoryProtection.SECRET and arena.reached is not MemoryProtection.SECRET:
            raise MemoryNotReached(
                "no such memory on this system", reached=str(arena.reached), needed=str(wanted)
            )


def _sections(entry: Entry, start: int, end: int) -> list[int]:
    """The sections that bytes ``start`` to ``end`` of the entry lie in; all for an empty range."""
    if start == end:
        return list(entry.sections)
    return sorted({
        part.section
        for part in entry.extents
        if part.file_offset < end and start < part.file_offset + part.size_bytes
    })  # fmt: skip


def _protection(model: VerifiedModel, sections: Sequence[int]) -> MemoryProtection:
    """The strongest protection that one of the sections demands."""
    wanted = {model.section(section).memory for section in sections}
    return next((level for level in _STRONGEST if level in wanted), MemoryProtection.LOCKED)
