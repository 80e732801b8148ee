"""An output file that appears whole or not at all, and never over anything."""

from __future__ import annotations

import atexit
import contextlib
import os
import stat
from pathlib import Path

from modelseal.desk import leftovers
from modelseal.errors import ContainerTruncated, InputMissing, Misuse, OutputExists
from modelseal.keys import files

Buffer = bytes | bytearray | memoryview
MODE = 0o644
_FLAGS = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)

# A signal may end the program between the moment a file appears and the moment its owner would
# remove it; what is still here at the end of the process goes then.
_unfinished: set[Path] = set()


@atexit.register
def _remove_unfinished() -> None:
    for path in tuple(_unfinished):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


class PendingFile:
    """A container ``Sink`` under a temporary name beside ``path``.

    ``commit`` gives it its name, ``discard`` removes it, and the next one for ``path`` what a
    killed process left. ``replacing`` a regular file takes over its permissions and happens by
    one rename. Raises ``OutputExists`` when ``path`` exists and is
    not to be replaced, ``InputMissing`` when its folder does not, ``DiskFull``,
    ``StateNotWritable``.
    """

    def __init__(self, path: Path, *, replacing: bool = False) -> None:
        leftovers.sweep(path)
        if not replacing and os.path.lexists(path):
            raise OutputExists("the output exists already", path=str(path))
        if not path.parent.is_dir():
            raise InputMissing("there is no such folder", path=str(path.parent))
        self.path = path
        self._temporary = leftovers.temporary(path)
        self._size = 0
        self._committed = False
        self._replacing = replacing
        _unfinished.add(self._temporary)
        try:
            self._descriptor = os.open(self._temporary, _FLAGS, 0o600 if replacing else MODE)
            leftovers.claim(self._descriptor)
            if replacing:  # whatever the umask says
                self._temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        except OSError as error:
            self._remove(self._temporary)
            raise files.not_written(error, path) from None

    @property
    def size_bytes(self) -> int:
        """What was written so far."""
        return self._size

    def write(self, data: Buffer) -> None:
        """Appends ``data``."""
        self._put(self._size, data)
        self._size += memoryview(data).nbytes

    def write_at(self, offset: int, data: Buffer) -> None:
        """Overwrites bytes that were appended before."""
        if offset < 0 or offset + memoryview(data).nbytes > self._size:
            raise Misuse("write_at only overwrites what was written")
        self._put(offset, data)

    def read_into(self, offset: int, target: memoryview) -> None:
        """``target`` holds what was written at ``offset``."""
        done = 0
        while done < target.nbytes:
            try:
                if hasattr(os, "preadv"):
                    got = os.preadv(self._descriptor, [target[done:]], offset + done)
                else:  # Windows
                    got = self._read_at(target[done:], offset + done)
            except OSError as error:
                raise files.translated(error, self.path) from None
            if got == 0:
                raise ContainerTruncated("nothing was written there")
            done += got

    def _read_at(self, target: memoryview, offset: int) -> int:
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        data = os.read(self._descriptor, target.nbytes)
        target[: len(data)] = data
        return len(data)

    def commit(self) -> None:
        """Afterwards ``path`` is the finished file, durable."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise files.not_written(error, self.path) from None
        self._close()
        if self._replacing:
            files.move_over(self._temporary, self.path)
            return
        files.link_new(self._temporary, self.path)
        self._committed = True
        self._remove(self._temporary)

    def discard(self) -> None:
        """Afterwards nothing is left: neither the temporary file nor a committed one."""
        self._close()
        self._remove(self._temporary)
        if self._committed:
            self._remove(self.path)

    def _put(self, offset: int, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        done = 0
        try:
            if not hasattr(os, "pwrite"):  # Windows
                os.lseek(self._descriptor, offset, os.SEEK_SET)
            while done < view.nbytes:
                part = view[done:]
                if hasattr(os, "pwrite"):
                    done += os.pwrite(self._descriptor, part, offset + done)
                else:
                    done += os.write(self._descriptor, part)
        except OSError as error:
            raise files.not_written(error, self.path) from None

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _remove(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        _unfinished.discard(path)
