"""Sealed bytes where they lie: an opened file or bytes handed over.

A file is opened once; what was verified, judged and decrypted is that descriptor, whatever the
name points to by then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from threading import Lock

from modelseal import container
from modelseal.errors import (
    AccessDenied,
    ContainerTruncated,
    InputMissing,
    ModelsealError,
    NotSealed,
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


@dataclass(frozen=True, slots=True)
class Identity:
    """Which bytes these are: the same identity is decrypted once per process."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


class FileSource:
    """A ``container.WatchedSource`` over an opened regular file; closed with the object."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(path, _FLAGS)
        except (OSError, ValueError) as error:
            raise translate(error, path) from None
        try:
            self.seen = os.fstat(self._fd)
            self.identity = _identity(self.seen, path)
        except BaseException:
            self.close()
            raise
        self._lock = Lock()

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
        if _identity(os.fstat(self._fd), self.path) != self.identity:
            raise SourceChanged("the file changed while it was read", path=self.path)

    def _read(self, offset: int, target: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._fd, [target], offset)
        if hasattr(os, "pread"):
            data = os.pread(self._fd, target.nbytes, offset)
        else:  # Windows: one file position for all threads
            with self._lock:
                os.lseek(self._fd, offset, os.SEEK_SET)
                data = os.read(self._fd, target.nbytes)
        target[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """The descriptor is given back."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            self.close()


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
