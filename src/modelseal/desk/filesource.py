"""A file on disk as the container's ``Source``: read safely, watched for changes.

Only regular files: a FIFO would hang, a device has no end. Reads are positional, so that several
threads may read at once.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from modelseal.errors import ContainerTruncated, SourceChanged, SourceNotSealable
from modelseal.keys import files

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


class FileSource:
    """An open regular file.

    Raises ``InputMissing``, ``SourceNotSealable``, ``StateNotReadable``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            _check_regular(path.stat(), path)
            self._descriptor = os.open(path, _FLAGS)
        except OSError as error:
            raise files.translated(error, path) from None
        try:
            found = os.fstat(self._descriptor)
            _check_regular(found, path)
        except BaseException:
            self.close()
            raise
        self._seen = _fingerprint(found)
        self._size = found.st_size

    @property
    def size_bytes(self) -> int:
        """The size when it was opened."""
        return self._size

    def read_into(self, offset: int, target: memoryview) -> None:
        """``target`` holds the bytes from ``offset`` on; ``ContainerTruncated`` past the end."""
        done = 0
        while done < target.nbytes:
            try:
                if hasattr(os, "preadv"):
                    got = os.preadv(self._descriptor, [target[done:]], offset + done)
                else:  # Windows: one reader at a time
                    got = self._read_at(target[done:], offset + done)
            except OSError as error:
                raise files.translated(error, self._path) from None
            if got == 0:
                raise ContainerTruncated("the file ends early", path=str(self._path))
            done += got

    def check_unchanged(self) -> None:
        """Returns when file and path are what they were; ``SourceChanged`` otherwise."""
        try:
            now = _fingerprint(os.fstat(self._descriptor))
            there = self._path.stat()
        except OSError:
            raise SourceChanged("the file was taken away", path=str(self._path)) from None
        if now != self._seen or (there.st_dev, there.st_ino) != self._seen[:2]:
            raise SourceChanged("the file changed meanwhile", path=str(self._path))

    def close(self) -> None:
        """The file is closed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _read_at(self, target: memoryview, offset: int) -> int:
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        data = os.read(self._descriptor, target.nbytes)
        target[: len(data)] = data
        return len(data)

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _check_regular(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SourceNotSealable("only regular files are read", path=str(path))


def _fingerprint(found: os.stat_result) -> tuple[int, int, int, int, int]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
