"""Sealed models by digest in a local folder: written once, never changed, read in ranges."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from modelseal.container import is_sealed
from modelseal.container import parse as parse_sealed
from modelseal.errors import (
    ContainerTruncated,
    DiskFull,
    DownloadDamaged,
    InputMissing,
    Misuse,
    NotFound,
    NotSealed,
    StorageFailed,
    Unavailable,
)

_DIGEST = re.compile(r"[0-9a-f]{64}")
_STEP = 1 << 20
_REMEMBERED = 256
MAX_BLOB_BYTES = 1 << 43
RandomBytes = Callable[[int], bytes]


def is_digest(text: str) -> bool:
    """True for 64 hexadecimal digits in lower case."""
    return _DIGEST.fullmatch(text) is not None


class Blobs:
    """The folder of blobs. A blob is there whole under its SHA-256, or not at all."""

    def __init__(self, folder: Path, random: RandomBytes) -> None:
        self._folder = folder
        self._random = random
        self._hashed: OrderedDict[str, tuple[int, ...]] = OrderedDict()

    def was_hashed(self, digest: str) -> bool:
        """True when this process saw every byte of the blob as it stored it, and nothing since."""
        try:
            return self._hashed.get(digest) == _identity(self.path(digest))
        except (NotFound, OSError):
            return False

    def path(self, digest: str) -> Path:
        """Where the blob lies; ``NotFound`` when there is none of that digest."""
        if not _DIGEST.fullmatch(digest):
            raise NotFound("a blob is named by its SHA-256 in hexadecimal")
        path = self._folder / digest[:2] / digest
        if not path.is_file():
            raise NotFound("no such blob", digest=digest)
        return path

    def has(self, digest: str) -> bool:
        """True when the blob is there."""
        return bool(_DIGEST.fullmatch(digest)) and (self._folder / digest[:2] / digest).is_file()

    def size(self, digest: str) -> int:
        """Its length in bytes."""
        return self.path(digest).stat().st_size

    def source(self, digest: str) -> FileSource:
        """The blob as a source for the container; the caller closes it."""
        return FileSource(self.path(digest))

    def receive(self) -> BlobWriter:
        """A new blob to be written; nothing is there until ``commit``."""
        return BlobWriter(self._folder, self._random(8).hex(), self._remember)

    def _remember(self, digest: str) -> None:
        self._hashed[digest] = _identity(self.path(digest))
        while len(self._hashed) > _REMEMBERED:
            self._hashed.popitem(last=False)

    def read(self, digest: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``stop`` in pieces of at most 1 MiB."""
        with self.path(digest).open("rb") as file:
            file.seek(start)
            left = stop - start
            while left > 0:
                piece = file.read(min(left, _STEP))
                if not piece:
                    raise StorageFailed("a blob became shorter")
                left -= len(piece)
                yield piece

    def sweep(self, older_than: datetime) -> None:
        """Uploads that nobody wrote to since ``older_than`` (a crash left them) are gone."""
        sweep(self._folder, older_than)

    def url(self, _digest: str) -> str | None:
        """A folder gives nothing by itself."""
        return None


class BlobWriter:
    """An upload on its way: hashed while it is written, renamed into place once it is durable."""

    def __init__(
        self, folder: Path, name: str, stored: Callable[[str], None] = lambda _digest: None
    ) -> None:
        self._folder = folder
        self._stored = stored
        self._digest = hashlib.sha256()
        self.size_bytes = 0
        incoming = folder / "incoming"
        try:
            incoming.mkdir(parents=True, exist_ok=True)
            self._path = incoming / f"{name}.part"
            self._file: BinaryIO | None = self._path.open("xb")
        except OSError as error:
            raise translated(error) from None

    def write(self, data: bytes) -> None:
        """Appends ``data``; ``DiskFull`` or ``Misuse`` (too large) leave nothing behind."""
        if self._file is None:
            raise Misuse("this upload is over")
        self.size_bytes += len(data)
        if self.size_bytes > MAX_BLOB_BYTES:
            self.abort()
            raise Misuse("larger than any blob", limit=MAX_BLOB_BYTES)
        try:
            self._file.write(data)
        except OSError as error:
            self.abort()
            raise translated(error) from None
        self._digest.update(data)

    def commit(self, expected: str | None = None) -> str:
        """The digest under which the blob is now durable; ``DownloadDamaged`` for another one."""
        if self._file is None:
            raise Misuse("this upload is over")
        digest = self._digest.hexdigest()
        if expected is not None and digest != expected:
            self.abort()
            raise DownloadDamaged("the bytes are not those of the digest", digest=expected)
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
            self._place(digest)
            self._stored(digest)
        except OSError as error:
            self.abort()
            raise translated(error) from None
        return digest

    def _place(self, digest: str) -> None:
        """The file, whole and durable, lies under its digest."""
        place = self._folder / digest[:2] / digest
        place.parent.mkdir(exist_ok=True)
        self._path.replace(place)
        for folder in (place.parent, self._folder):
            _fsync(folder)

    def abort(self) -> None:
        """Nothing of the upload is left."""
        if self._file is not None:
            # a full disk may refuse the last buffer; the file goes anyway
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        self._path.unlink(missing_ok=True)


class FileSource:
    """A file as the container reads it. See ``container.Source``."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.size_bytes = os.fstat(self._fd).st_size
        except OSError as error:
            raise translated(error) from None

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fills ``target`` from ``offset`` on; ``ContainerTruncated`` past the end."""
        view = target
        while view.nbytes:
            try:
                count = os.preadv(self._fd, [view], offset)
            except OSError as error:
                raise translated(error) from None
            if count == 0:
                raise ContainerTruncated("the file ends earlier")
            view, offset = view[count:], offset + count

    def close(self) -> None:
        """The file is closed."""
        os.close(self._fd)

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def sweep(folder: Path, older_than: datetime) -> None:
    """Uploads into ``folder`` that nobody wrote to since ``older_than`` are gone."""
    for leftover in (folder / "incoming").glob("*.part"):
        if leftover.stat().st_mtime < older_than.timestamp():
            leftover.unlink(missing_ok=True)


def sealed_size(path: Path) -> int:
    """The exact size of the sealed model at ``path``, without its CRC trailer.

    Raises ``NotSealed`` and the container's other errors when it is none.
    """
    if not path.is_file():
        raise InputMissing("there is no such file", path=str(path))
    with FileSource(path) as source:
        start = memoryview(bytearray(min(8, source.size_bytes)))
        source.read_into(0, start)
        if not is_sealed(bytes(start)):
            raise NotSealed("only sealed models are published", path=str(path))
        return parse_sealed(source).file_bytes


def _identity(path: Path) -> tuple[int, ...]:
    """What changes when somebody writes to the file, or puts another in its place."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def translated(error: OSError) -> Unavailable:
    """Our error for what the file system said."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull("the server's disk is full")
    return StorageFailed(f"the file system failed: {errno.errorcode.get(error.errno or 0, '?')}")


__all__ = ["BlobWriter", "Blobs", "FileSource", "sealed_size", "sweep", "translated"]
