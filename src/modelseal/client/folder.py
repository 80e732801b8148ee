"""A folder whose files are replaced as a whole or not at all.

Every write goes to a temporary file, is flushed to the disk and renamed over the old one; the
folder itself is flushed afterwards. A full disk, a crash or a power cut leaves the old file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from pathlib import Path

from modelseal.errors import (
    ConfigInvalid,
    DiskFull,
    ModelsealError,
    StateDamaged,
    StateNotReadable,
    StateNotWritable,
    StorageFailed,
)

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_TEMPORARY = ".new-"
_DAMAGED = ".damaged-"
_NO_FILE = frozenset({errno.ELOOP, errno.ENXIO})
_PLAIN_OPEN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""A pipe where a file belongs must not keep anybody waiting."""
_SETTLED_NS = 3_000_000_000
"""A change right after another may bear the same time (on FAT within 2 s): younger files are read
each time."""
_REMEMBERED_BYTES = 256 * 1024


def translate(error: OSError, path: Path, *, writing: bool) -> ModelsealError:
    """Our error for what the operating system said about ``path``."""
    said = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in _FULL:
        return DiskFull(said, path=str(path))
    if error.errno in _REFUSED or error.errno == errno.ENOTDIR:
        kind = StateNotWritable if writing else StateNotReadable
        return kind(said, path=str(path), owner=_owner(path))
    return StorageFailed(f"{said} ({path.name})", path=str(path))


def open_file(path: Path) -> int:
    """A descriptor for reading the file at ``path``; ``IsADirectoryError`` or ``OSError`` (ENXIO)
    for what is no file, at once also for a pipe."""
    handle = os.open(path, os.O_RDONLY | _PLAIN_OPEN | _NO_WAIT)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.ENXIO
    raise OSError(number, os.strerror(number), str(path))


def _stamp(seen: os.stat_result) -> tuple[int, ...]:
    """What differs once a file was written, replaced or given other rights."""
    times = seen.st_mtime_ns, seen.st_ctime_ns
    return (seen.st_dev, seen.st_ino, seen.st_size, *times, seen.st_mode, seen.st_uid)


def _is_settled(seen: os.stat_result) -> bool:
    return time.time_ns() - max(seen.st_mtime_ns, seen.st_ctime_ns) > _SETTLED_NS


class Folder:
    """Files of one folder, mode 0600 in a folder of mode 0700.

    Whatever ``write`` returned from is on the disk; whatever it raised from left the old file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, tuple[str, tuple[int, ...], bytes]] = {}

    def create(self) -> None:
        """The folder exists; a new one is readable by its owner only."""
        try:
            self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            if isinstance(error, FileExistsError):
                raise StateNotWritable("not a folder", path=str(self.path)) from None
            raise translate(error, self.path, writing=True) from None

    def exists(self) -> bool:
        """Whether there is such a folder at all.

        ``StateNotReadable`` where one may not look, ``ConfigInvalid`` for what is no folder.
        """
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise translate(error, self.path, writing=False) from None
        if not stat.S_ISDIR(found.st_mode):
            raise ConfigInvalid(f"{self.path.name} is a file, not a state folder")
        return True

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """The bytes of ``name``, None when there is no such file; read again only when it changed.

        Raises ``StateNotReadable`` and, for a file larger than ``max_bytes``, ``StateDamaged``.
        """
        known = self._known.get(name)
        if known is not None:
            place, seen_then, data = known
            with contextlib.suppress(OSError):
                if seen_then == _stamp(os.stat(place)):  # noqa: PTH116 - at every load
                    return data
        path = self.path / name
        try:
            with os.fdopen(open_file(path), "rb") as file:
                seen = os.fstat(file.fileno())
                data = file.read(max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise StateDamaged("a folder where a file belongs", path=str(path)) from None
        except OSError as error:
            if error.errno in _NO_FILE:
                raise StateDamaged("not a file", path=str(path)) from None
            raise translate(error, path, writing=False) from None
        if len(data) > max_bytes:
            raise StateDamaged(f"longer than {max_bytes} bytes", path=str(path))
        if len(data) <= _REMEMBERED_BYTES and _is_settled(seen):
            self._known[name] = (str(path), _stamp(seen), data)
        return data

    def write(self, name: str, data: bytes) -> None:
        """``name`` holds ``data`` durably; on any error the old file is untouched.

        Raises ``DiskFull``, ``StateNotWritable`` or ``StorageFailed``.
        """
        temporary = self.path / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            self._write_through(temporary, data)
            self._make_way(name)
            temporary.replace(self.path / name)
            self._sync()
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise translate(error, self.path / name, writing=True) from None

    def remove(self, name: str) -> None:
        """There is no ``name`` any more; absent before is fine."""
        try:
            self._make_way(name)
            (self.path / name).unlink(missing_ok=True)
            self._sync()
        except FileNotFoundError:
            return
        except OSError as error:
            raise translate(error, self.path / name, writing=True) from None

    def move(self, name: str, to: Folder) -> bool:
        """``name`` lies in ``to`` instead, replacing what had its name; False when it is absent."""
        try:
            (self.path / name).replace(to.path / name)
            to._sync()
            self._sync()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise translate(error, self.path / name, writing=True) from None
        return True

    def append(self, name: str, line: bytes, *, durable: bool = False) -> None:
        """``line`` stands at the end of ``name``; on the disk already when ``durable``.

        Raises ``StateDamaged`` for a pipe, a folder or a link in its place, and as ``write`` does.
        """
        path = self.path / name
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _PLAIN_OPEN | _NO_WAIT
            handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), FILE_MODE)
            try:
                if os.write(handle, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if durable:
                    os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            if error.errno in _NO_FILE or error.errno == errno.EISDIR:
                raise StateDamaged("not a file", path=str(path)) from None
            raise translate(error, path, writing=True) from None

    def has(self, name: str) -> bool:
        """Whether anything has the name ``name``, a file or not."""
        return os.path.lexists(self.path / name)

    def size(self, name: str) -> int:
        """Size of ``name`` in bytes, 0 when it is not there or may not be seen."""
        try:
            return (self.path / name).stat().st_size
        except OSError:
            return 0

    def sweep(self) -> None:
        """Temporary files of writers that died are gone. Only under the lock."""
        with contextlib.suppress(OSError):
            for path in self.path.glob(f"{_TEMPORARY}*"):
                path.unlink(missing_ok=True)

    def _make_way(self, name: str) -> None:
        """A folder that has the name of a file is kept under another one."""
        path = self.path / name
        if path.is_dir() and not path.is_symlink():
            path.replace(self.path / f"{name}{_DAMAGED}{secrets.token_hex(4)}")

    def _write_through(self, path: Path, data: bytes) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN_OPEN, FILE_MODE)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _sync(self) -> None:
        if os.name != "posix":  # Windows cannot open a folder to flush it
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(handle)


def _owner(path: Path) -> str | None:
    """The name of the user who owns the nearest existing part of ``path``, where one can tell."""
    if os.name != "posix":
        return None
    for place in (path, *path.parents):
        try:
            return place.owner()
        except KeyError:
            return str(place.stat().st_uid)
        except (OSError, NotImplementedError):
            continue
    return None
