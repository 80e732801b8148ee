"""``modelseal.open``: the files of a sealed model for anything that takes bytes or a file."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from modelseal.errors import Misuse
from modelseal.runtime import default, report
from modelseal.runtime.loading import choose, is_full, label, open_sealed
from modelseal.runtime.memoryfile import MemoryFile
from modelseal.runtime.view import View


def open_file(path: str | os.PathLike[str] | bytes, *, depth: str = "auto") -> SealedFile:
    """The sealed model at ``path`` (or sealed bytes), opened by the license in use.

    ``depth`` is how deeply it is verified: ``full`` compares the signed hash of every chunk that
    is read, ``auto`` leaves that out while a record of this device says that this very file was
    wholly verified. Raises ``InputMissing``, ``NotSealed``, the refusals of the license,
    ``InvalidBytes`` for a damaged or foreign one.
    """
    return SealedFile(open_sealed(path, full=is_full(depth)), label(path))


class SealedFile:
    """The files inside one sealed model. Reading decrypts only the chunks that are asked for.

    Every method raises ``ReaderClosed`` after ``close``, ``NotFound`` for a name that is not
    there, and the refusal when the license does not grant the file's section.
    """

    def __init__(self, view: View, path: str | None) -> None:
        self._view = view
        self._path = path

    @property
    def depth(self) -> str:
        """How deeply the next read is verified: ``full`` or ``tag``."""
        return str(self._view.depth)

    def names(self) -> list[str]:
        """The original names, with ``/`` between folders."""
        return self._view.names()

    def size(self, name: str | None = None) -> int:
        """The length of the file in bytes; without a name that of the only file."""
        return self._view.size(self._name(name))

    def read(
        self, name: str | None = None, *, offset: int = 0, size_bytes: int | None = None
    ) -> bytes:
        """A plain copy of the file, or of ``size_bytes`` bytes from ``offset`` on (fewer at its
        end). ``view`` gives the same without the copy."""
        return bytes(self.view(name, offset=offset, size_bytes=size_bytes))

    def view(
        self, name: str | None = None, *, offset: int = 0, size_bytes: int | None = None
    ) -> memoryview:
        """The same bytes in writable memory of the caller's own, wiped when the view goes."""
        with report.told(default.for_record, self._path):
            name = self._name(name)
            length = self._view.size(name)
            if offset < 0 or (size_bytes is not None and size_bytes < 0):
                raise Misuse("offset and size count from 0 on")
            start = min(offset, length)
            stop = length if size_bytes is None else min(length, start + size_bytes)
            return self._view.private(name, start, stop)

    def read_into(self, name: str | None, offset: int, target: memoryview) -> None:
        """``target`` (writable) holds the bytes of the file from ``offset`` on, decrypted straight
        into it; it is zero when that fails. ``Misuse`` for a range outside the file."""
        with report.told(default.for_record, self._path):
            self._view.read_into(self._name(name), offset, target)

    def open(self, name: str | None = None) -> SealedReader:
        """A read-only, seekable file object; what is read is decrypted then."""
        name = self._name(name)
        return SealedReader(self, name, self._view.size(name))

    def memory_path(self, name: str | None = None) -> MemoryPath:
        """A path that ends in the file's own name, under which native code finds it in memory.

        Linux only (``memfd_create``); other systems raise ``MemoryUnavailable``. It is decrypted
        straight into the file's pages. The path ends with the context; until then root can read
        it, and the same user's processes where this one is dumpable.
        """
        with report.told(default.for_record, self._path):
            name = self._name(name)
            size = self._view.size(name)
            return MemoryPath(size, name, lambda target: self._view.read_into(name, 0, target))

    def close(self) -> None:
        """Nothing more is read; what was read stays its holder's."""
        self._view.close()

    def __enter__(self) -> SealedFile:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SealedFile({self._path!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an opened sealed model cannot be pickled or copied")

    def _name(self, name: str | None) -> str:
        if name is None:
            return choose(self._view, ())
        if not isinstance(name, str):
            raise Misuse("the name of a file inside is a text")
        return name


class SealedReader(io.RawIOBase):
    """A binary file object over one file of a sealed model."""

    def __init__(self, sealed: SealedFile, name: str, size_bytes: int) -> None:
        super().__init__()
        self._sealed, self.name, self._size, self._at = sealed, name, size_bytes, 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new position, which may lie behind the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}.get(whence)
        if base is None or base + offset < 0:
            raise Misuse("seek goes from the start, the position or the end, not before the start")
        self._at = base + offset
        return self._at

    def readinto(self, target: Any, /) -> int:
        """Fills ``target`` as far as the file goes; 0 at its end."""
        with memoryview(target) as view, view.cast("B") as flat:
            count = max(0, min(len(flat), self._size - self._at))
            if count:
                self._sealed.read_into(self.name, self._at, flat[:count])
                self._at += count
            return count

    def readall(self) -> bytes:
        """The rest of the file."""
        rest = self._sealed.read(self.name, offset=self._at)
        self._at += len(rest)
        return rest


class MemoryPath:
    """``with sealed.memory_path(name) as path``: a path of a file in memory for native loaders.

    The path ends in the file's own name, for loaders that judge by it: a link, in a new folder of
    this user's alone, that holds no byte of the file. Where none can be made it is a number.
    """

    def __init__(self, size_bytes: int, name: str, fill: Callable[[memoryview], None]) -> None:
        self._file = MemoryFile(name, size_bytes, fill)
        self._name = name.rpartition("/")[2]
        self._link: Path | None = None

    def __enter__(self) -> str:
        place = f"/proc/{os.getpid()}/fd/{self._file.fd}"
        if self._link is None:
            self._link = _linked(place, self._name)
        return str(self._link or place)

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def fd(self) -> int:
        """The descriptor, for ``subprocess``'s ``pass_fds``; there it is ``/proc/self/fd/N``."""
        return self._file.fd

    def close(self) -> None:
        """The path leads nowhere any more; what is mapped stays mapped."""
        self._file.close()
        link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(OSError):
                link.unlink()
                link.parent.rmdir()


def _linked(place: str, name: str) -> Path | None:
    """A link called ``name`` to ``place``; None when the system gives no folder for it."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="modelseal-"))
    except OSError:
        return None
    link = folder / name
    try:
        link.symlink_to(place)
    except (OSError, ValueError):
        folder.rmdir()
        return None
    return link
