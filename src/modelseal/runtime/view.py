"""The one internal seam: path -> opened, verified, judged, decrypted in memory, shared.

Steps, for every load:

1. the sealed file is opened; from here on the descriptor counts, not the name
2. sizes, canonical form; signatures with the pinned keys, product, release
3. the license law says yes to the sections that are read, at this moment
4. the data keys come from the lease (or a key release) and are wiped when the view is closed
5. each chunk is compared with its signed leaf, decrypted into the arena and authenticated; the
   leaf is left out while a record of this device says that this very file was wholly verified

Steps 1 and 2 are done once per file identity and process, step 5 once for all who hold the same
entry at the same time; step 3 every time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from modelseal.container import Depth, Entry, VerifiedModel
from modelseal.errors import MemoryNotReached, Misuse, NotSealed, ReaderClosed
from modelseal.memory import HUGE_PAGE_BYTES, Arena
from modelseal.runtime import sharing, together
from modelseal.runtime.files import OpenedFile, open_bytes, open_file
from modelseal.runtime.keyring import Keyring
from modelseal.runtime.parallel import threads_for
from modelseal.runtime.ports import Licensee
from modelseal.runtime.sniff import find, is_sealed_bytes
from modelseal.types import MemoryProtection

_FILE_ROLE = "file"  # other roles are what sealing added
_STRONGEST = (MemoryProtection.SECRET, MemoryProtection.LOCKED, MemoryProtection.NONE)


def open_view(given: object, licensee: Licensee, *, full: bool = False) -> View:
    """The view of the sealed model at a path, or of sealed bytes.

    With ``full`` no record shortens the verification. Raises ``InputMissing``, ``NotSealed`` for
    a plain file, and whatever the five steps raise.
    """
    keyring = Keyring(licensee)
    try:
        if isinstance(given, (bytes, bytearray, memoryview)):
            if not is_sealed_bytes(given):
                raise NotSealed("the magic is missing")
            opened = open_bytes(bytes(given), licensee, keyring)
            return View(opened, licensee, keyring, (None, None), full=full)
        path, inner = find(as_path(given))
        opened = open_file(path, licensee, keyring)
        return View(opened, licensee, keyring, (path, inner), full=full)
    except BaseException:
        keyring.close()
        raise


def as_path(given: object) -> str:
    """``given`` as the text of a path; ``Misuse`` for anything that is none."""
    try:
        return os.fsdecode(os.fspath(given))  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise Misuse(f"a path is expected, not {type(given).__name__}") from None


class View:
    """One opened sealed model: its entries by original name. See ``frameworks.Entries``.

    ``inner`` is the entry that the path went on to, where it did.
    """

    def __init__(
        self,
        opened: OpenedFile,
        licensee: Licensee,
        keyring: Keyring,
        place: tuple[str | None, str | None],
        *,
        full: bool,
    ) -> None:
        self._opened: OpenedFile | None = opened
        self._licensee = licensee
        self._keyring = keyring
        self._full = full
        self.path, self.inner = place

    @property
    def model(self) -> VerifiedModel:
        """The verified sealed model."""
        return self._file.model

    @property
    def depth(self) -> Depth:
        """How deeply the next read verifies its chunks."""
        return Depth.FULL if self._full else self._file.depth

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
        self._licensee.authorize(self._file.model, _sections(entry, start, end))
        return self._decrypt(entry, start, end)

    def read_into(self, name: str, start: int, target: memoryview) -> None:
        """``target`` holds the bytes of the file ``name`` from ``start`` on; zero when it fails.

        It is the caller's memory as it is; ``private`` gives memory that is protected.
        """
        entry = self._file.index.entry(name)
        end = start + target.nbytes
        if not 0 <= start <= end <= entry.size_bytes:
            raise Misuse("the range lies outside the file", entry=name)
        sections = _sections(entry, start, end)
        self._licensee.authorize(self._file.model, sections)
        if _protection(self._file.model, sections) is MemoryProtection.SECRET:
            target[:] = self._decrypt(entry, start, end)
        else:
            self._fill(entry, start, target)

    @contextlib.contextmanager
    def shared(self, name: str) -> Iterator[memoryview]:
        """The whole file ``name``, read-only, decrypted once for all who hold it by then."""
        held = self._shared(name)
        yield held.toreadonly()

    def close(self) -> None:
        """The view is closed, its keys are wiped; memory that was handed out stays its holders'."""
        self._opened = None
        self._keyring.close()

    @property
    def _file(self) -> OpenedFile:
        if self._opened is None:
            raise ReaderClosed("this sealed model is closed", path=self.path)
        return self._opened

    def _shared(self, name: str) -> memoryview:
        model, entry = self._file.model, self._file.index.entry(name)
        self._licensee.authorize(model, entry.sections)
        content = sharing.Content(model.file_id, model.leaf_hash, entry.name, self.depth)
        return sharing.share(content, lambda: self._decrypt(entry, 0, entry.size_bytes))

    def _decrypt(self, entry: Entry, start: int, end: int) -> memoryview:
        wanted = _protection(self._file.model, _sections(entry, start, end))
        with Arena(end - start, wanted) as arena:
            self._check_reached(arena, wanted)
            if end - start < HUGE_PAGE_BYTES:  # larger ones lie on huge pages, touched as they come
                arena.populate()
            self._fill(entry, start, arena.view)
            return arena.view

    def _fill(self, entry: Entry, start: int, target: memoryview) -> None:
        """``target`` holds the entry's bytes from ``start`` on; it is zero when that fails."""
        file, depth = self._file, self.depth
        self._fill_at(depth, entry, start, target)
        if depth is Depth.TAG and not file.still_holds():
            self._fill_at(Depth.FULL, entry, start, target)
        else:
            file.record(self._licensee)

    def _fill_at(self, depth: Depth, entry: Entry, start: int, target: memoryview) -> None:
        model = self._file.model
        sections = _sections(entry, start, start + target.nbytes)
        model.read_entry(
            entry,
            self._keyring.take(model, sections),
            target,
            file_offset=start,
            together=together.secrets(self, sections, self._licensee),
            depth=depth,
            threads=threads_for(target.nbytes),
        )

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
