"""Sealed bytes where they lie: an opened file or bytes handed over.

A file is opened once; what was verified, judged and decrypted is that descriptor, whatever the
name points to by then.
"""

from __future__ import annotations

import errno
import os
import stat
import weakref
from dataclasses import dataclass
from threading import Lock

from modelseal import container
from modelseal.errors import (
    AccessDenied,
    ContainerTruncated,
    InputMissing,
    ModelsealError,
    NotSealed,
    ReaderClosed,
    SourceChanged,
    StorageFailed,
)

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO does not keep the opener waiting
    | getattr(os, "O_BINARY", 0)
)
_LONGEST_READ_BYTES = 1 << 30
_position = Lock()


@dataclass(frozen=True, slots=True)
class Identity:
    """Which bytes these are: the same identity is decrypted once per process."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


class Descriptor:
    """One opened file; closed with the object."""

    def __init__(self, path: str) -> None:
        try:
            self.fd = os.open(path, _FLAGS)
        except (OSError, ValueError) as error:
            raise translate(error, path) from None

    def close(self) -> None:
        """The descriptor is given back."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        try:  # at the interpreter's end the modules are gone
            self.close()
        except (AttributeError, OSError, TypeError):
            return


class FileSource:
    """A ``container.WatchedSource`` over an opened regular file; closed with the object.

    What was found out about the file may outlive its descriptor: after ``lend`` the holders of
    the descriptor keep it open, and ``wake`` gives another one of the same identity.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._own: Descriptor | None = Descriptor(path)
        self._lent = weakref.ref(self._own)
        self.seen = os.fstat(self._own.fd)
        self.identity = _identity(self.seen, path)

    def lend(self) -> Descriptor:
        """The descriptor, which is open as long as somebody holds it; a closed one is not lent."""
        found, self._own = self._descriptor(), None
        return found

    def wake(self, other: FileSource) -> Descriptor:
        """The descriptor that is open, else that of ``other``, which has the same identity."""
        found = self._lent()
        if found is None:
            found = other.lend()
            self._lent = weakref.ref(found)
        return found

    def _descriptor(self) -> Descriptor:
        found = self._lent()
        if found is None:
            raise ReaderClosed("this sealed model is closed", path=self.path)
        return found

    @property
    def size_bytes(self) -> int:
        """The length when it was opened."""
        return self.identity.size_bytes

    def read_into(self, offset: int, target: memoryview) -> None:
        """See ``container.Source``."""
        done = 0
        while done < target.nbytes:
            part = target[done : done + _LONGEST_READ_BYTES]
            count = self._read(offset + done, part)
            if count == 0:
                raise ContainerTruncated("the file ends earlier", path=self.path)
            done += count

    def check_unchanged(self) -> None:
        """``SourceChanged`` when the opened file is not what it was when it was opened."""
        if _identity(os.fstat(self._descriptor().fd), self.path) != self.identity:
            raise SourceChanged("the file changed while it was read", path=self.path)

    def _read(self, offset: int, target: memoryview) -> int:
        descriptor = self._descriptor()  # held while it is read
        if hasattr(os, "preadv"):
            return os.preadv(descriptor.fd, [target], offset)
        if hasattr(os, "pread"):
            data = os.pread(descriptor.fd, target.nbytes, offset)
        else:  # Windows: one file position for all threads
            with _position:
                os.lseek(descriptor.fd, offset, os.SEEK_SET)
                data = os.read(descriptor.fd, target.nbytes)
        target[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """The descriptor is given back."""
        own, self._own = self._own, None
        if own is not None:
            own.close()


class MemorySource(container.BytesSource):
    """Sealed bytes that the program had read itself; they have no place."""

    path = None
    identity = None


AnySource = FileSource | MemorySource


def translate(error: OSError | ValueError, path: str) -> ModelsealError:
    """Our error for what the operating system said about ``path``."""
    if isinstance(error, ValueError):  # a NUL in the name
        return InputMissing("no such file", path=path.replace("\0", "?"))
    said = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return InputMissing("no such file", path=path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return AccessDenied(said, path=path)
    return StorageFailed(said, path=path)


def _identity(info: os.stat_result, path: str) -> Identity:
    if not stat.S_ISREG(info.st_mode):
        raise NotSealed("not a regular file", path=path)
    return Identity(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
