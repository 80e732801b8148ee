"""The one internal seam: path -> opened, verified, judged, decrypted in memory, shared.

Steps, for every load:

1. the sealed file is opened; from here on the descriptor counts, not the name
2. sizes, canonical form; signatures with the pinned keys, product, release
3. the license law says yes to the sections that are read, at this moment
4. the data keys come from the lease (or a key release) and are wiped when the view is closed
5. each chunk is compared with its signed leaf, decrypted into the arena and authenticated; the
   leaf is left out while a record of this device says that this very file was wholly verified

Step 2 is done once per file identity and process, step 5 once for all who hold the same entry at
the same time; step 3 every time, for a load of all at once by one look at the license.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any

from modelseal.container import Depth, Entry, EntryReader, Part, VerifiedModel, in_place
from modelseal.errors import InvalidBytes, Misuse, NotSealed, ReaderClosed
from modelseal.memory import Arena
from modelseal.runtime import egress, places, room, sharing, streaming, together
from modelseal.runtime.ending import Watch
from modelseal.runtime.files import Held, OpenedFile, open_bytes, open_file, sections_of
from modelseal.runtime.filling import Filler
from modelseal.runtime.keyring import Keyring, Lent
from modelseal.runtime.pages import Pages
from modelseal.runtime.ports import Licensee, Look, strongest
from modelseal.runtime.sniff import find, is_sealed_bytes
from modelseal.types import MemoryProtection

_ALIGNMENT_BYTES = 64
_FILE_ROLE = "file"  # other roles are what sealing added


def open_view(
    given: object, licensee: Licensee, *, full: bool = False, at_once: bool = False
) -> View:
    """The view of the sealed model at a path, or of sealed bytes.

    With ``full`` no record shortens the verification. With ``at_once`` the view is for one load
    right now, and the license is looked at once; else at every read. Raises ``InputMissing``,
    ``NotSealed`` for a plain file, and whatever the five steps raise.
    """
    keyring = Keyring(licensee)
    try:
        if isinstance(given, (bytes, bytearray, memoryview)):
            if not is_sealed_bytes(given):
                raise NotSealed("the magic is missing")
            look = licensee.look()
            held = open_bytes(bytes(given), licensee, keyring, look)
            return View(held, licensee, keyring, (None, None), full, look if at_once else None)
        standing = places.at(as_path(given))
        if standing is not None:
            keyring.close()
            return standing[0].view(standing[1])
        path, inner = find(as_path(given))
        look = licensee.look()
        held = open_file(path, licensee, keyring, look)
        return View(held, licensee, keyring, (path, inner), full, look if at_once else None)
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
        held: Held,
        licensee: Licensee,
        keyring: Keyring | Lent,
        place: tuple[str | None, str | None],
        full: bool,
        look: Look | None = None,
    ) -> None:
        self._held: Held | None = held
        self._licensee = licensee
        self._keyring = keyring
        self._full = full
        self._look = look
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
        self._now().authorize(self._file.model, sections_of(entry, start, end))
        found = self._decrypt(entry, start, end)
        egress.note(found, self.path)
        return found

    def may_open(self, name: str) -> None:
        """Returns when the license grants all of the file ``name`` now; else the refusal."""
        self._now().authorize(self._file.model, self._file.index.entry(name).sections)

    def beside(self, keyring: Keyring, inner: str | None) -> View:
        """Another view of the same opened file, with the keys of ``keyring``, which lends them."""
        return View(self._opened, self._licensee, keyring.lend(), (self.path, inner), self._full)

    def watch(self, name: str) -> Watch | None:
        """What tells when the license grants the file ``name`` no more, for a session of it; None
        where sessions that run may go on."""
        if not self._now().stops_now():
            return None
        model, licensee = self._file.model, self._licensee
        sections = self._file.index.entry(name).sections
        return Watch(lambda: licensee.look().authorize(model, sections))

    @property
    def kept(self) -> dict[str, Any]:
        """What was found out about the files of the sealed model, as long as it is open."""
        return self._file.kept

    def read_into(self, name: str, start: int, target: memoryview) -> None:
        """``target`` holds the bytes of the file ``name`` from ``start`` on; zero when it fails.

        It is the caller's memory as it is; ``private`` gives memory that is protected.
        """
        entry = self._file.index.entry(name)
        end = start + target.nbytes
        if not 0 <= start <= end <= entry.size_bytes:
            raise Misuse("the range lies outside the file", entry=name)
        sections = sections_of(entry, start, end)
        self._now().authorize(self._file.model, sections)
        if self._protection(sections) is MemoryProtection.SECRET:
            target[:] = self._decrypt(entry, start, end)
        else:
            self._filler(entry, sections).at(start, target)

    @contextlib.contextmanager
    def shared(self, name: str) -> Iterator[memoryview]:
        """The whole file ``name``, read-only, decrypted once for all who hold it by then."""
        held = self._shared(name)
        yield held.toreadonly()

    def stream(self, name: str) -> streaming.Stream | None:
        """The file ``name``, to be read once; None while it is held, and under ``secret``."""
        if sharing.is_held(self._content(name)):
            return None
        entry = self._file.index.entry(name)
        self._now().authorize(self._file.model, entry.sections)
        layout = streaming.Layout.of(entry, self.model.prologue.chunk_bytes)
        fill, protection = self._filler(entry, entry.sections).at, self._protection(entry.sections)
        return streaming.make(layout, fill, protection, self._licensee)

    def added(self, name: str, role: str) -> bool:
        """Whether sealing added an entry of that name and role."""
        return any(e.name == name and e.role == role for e in self._file.index)

    def gathered(
        self, key: str | None, pieces: Sequence[tuple[str, int, int, int]], size_bytes: int
    ) -> memoryview:
        """Memory of ``size_bytes`` with the pieces ``(name, offset, size, place)``.

        Read-only and decrypted once for all who hold it under the same ``key``; without one it is
        the caller's own. ``InvalidBytes`` for a piece outside its file or the memory.
        """
        model, index, sections = self._file.model, self._file.index, set()
        wanted: dict[str, list[tuple[int, int, int]]] = {}
        for name, offset, size, place in pieces:
            known = name in index.names and offset + size <= index.entry(name).size_bytes
            if not known or place + size > size_bytes:
                raise InvalidBytes("a piece lies outside its file or the memory", entry=name)
            sections.update(sections_of(index.entry(name), offset, offset + size))
            wanted.setdefault(name, []).append((offset, size, place))
        self._now().authorize(model, sorted(sections))

        def decrypt() -> memoryview:
            with self._arena(size_bytes, sorted(sections)) as arena:
                view, pages = arena.view, Pages.of(arena)
                for name, found in wanted.items():
                    parts = [Part(offset, view[place : place + n]) for offset, n, place in found]
                    self._filler(index.entry(name), sorted(sections), pages)(parts)
                return view

        if key is None:
            found = decrypt()
        else:  # no entry's name ends in a colon
            found = sharing.share(self._content(f"{key}:"), decrypt).toreadonly()
        if not self._full:
            self._file.prove(self._licensee)
        return found

    def mark(self, mark: bytes) -> None:
        """``is_marked`` is true from now on, where the device can remember it."""
        self._file.mark(self._licensee, mark)

    def is_marked(self, mark: bytes) -> bool:
        """Whether the device remembers ``mark`` for exactly this sealed file."""
        return self._file.is_marked(self._licensee, mark)

    def note(self, kind: str, reason: str) -> None:
        """An entry of that kind is in the device's journal."""
        self._licensee.note(kind, reason, self.path)

    def forget_keys(self) -> None:
        """The keys are wiped; the next read fetches them anew."""
        self._keyring.close()

    def close(self) -> None:
        """The view is closed, its keys are wiped; memory that was handed out stays its holders'."""
        self._held = self._look = None
        self._keyring.close()

    @property
    def _opened(self) -> Held:
        if self._held is None:
            raise ReaderClosed("this sealed model is closed", path=self.path)
        return self._held

    @property
    def _file(self) -> OpenedFile:
        return self._opened.file

    def _now(self) -> Look:
        return self._look or self._licensee.look()

    def _shared(self, name: str) -> memoryview:
        entry = self._file.index.entry(name)
        self._now().authorize(self._file.model, entry.sections)
        keep = self._protection(entry.sections) is not MemoryProtection.SECRET
        decrypt = functools.partial(self._decrypt, entry, 0, entry.size_bytes)
        return sharing.share(self._content(name), decrypt, keep=keep)

    def _content(self, name: str) -> sharing.Content:
        return sharing.Content(self.model.file_id, self.model.leaf_hash, name, self.depth)

    def _decrypt(self, entry: Entry, start: int, end: int) -> memoryview:
        """Memory whose address is that of the offset modulo 64, as in a mapped file: results of
        vector code can differ in the last bit with the alignment, and shall not."""
        phase = start % _ALIGNMENT_BYTES
        with self._arena(phase + end - start, sections_of(entry, start, end)) as arena:
            found = arena.view[phase:]
            self._filler(entry, sections_of(entry, start, end), Pages.of(arena)).at(start, found)
            return found

    def _arena(self, size_bytes: int, sections: Sequence[int]) -> Arena:
        return room.make(size_bytes, self._protection(sections), self._licensee)

    def _filler(self, entry: Entry, sections: Sequence[int], pages: Pages | None = None) -> Filler:
        """Fills memory with parts of the entry that lie in ``sections``."""
        file = self._file

        def reader(depth: Depth) -> EntryReader:
            return file.model.entry_reader(
                entry,
                self._keyring.take(file.model, sections),
                together=together.secrets(self, sections, self._licensee),
                depth=depth,
                prepare=pages or in_place,
                aside=lambda size: self._arena(size, sections).view,
            )

        return Filler(file, self._licensee, lambda: self.depth, reader)

    def _protection(self, sections: Sequence[int]) -> MemoryProtection:
        """The strongest protection that one of the sections or the license demands."""
        demands = {self.model.section(s).memory for s in sections} or {MemoryProtection.LOCKED}
        return strongest({*demands, self._now().memory()})
