"""Files that hold keys: read without following tricks, written whole or not at all.

Every ``OSError`` becomes one of ours here. Used by the providers and by whoever keeps wrapped keys.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from modelseal.errors import (
    DiskFull,
    InputMissing,
    KeyStoreUnavailable,
    ModelsealError,
    OutputExists,
    StateNotReadable,
    StateNotWritable,
    StorageFailed,
)

MAX_KEY_FILE_BYTES = 1024 * 1024
_POSIX = os.name == "posix"
_READ_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_WRITE_FLAGS = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)


def read_secret(path: Path, *, max_bytes: int = MAX_KEY_FILE_BYTES) -> bytes:
    """The bytes of a key file that only its owner can read.

    Raises ``KeyStoreUnavailable`` for a symbolic link, anything but a regular file, a file of
    another user, one that group or others may read or write, or one longer than ``max_bytes``;
    ``InputMissing`` when there is none.
    """
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise _refuse("a key file may not be a symbolic link", path) from None
        raise translated(error, path) from None
    # Unbuffered, so that no second copy of a key lies in memory that nobody wipes.
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        _check(os.fstat(file.fileno()), path, max_bytes)
        try:
            data = file.read(max_bytes + 1) or b""
            rest = file.read(max_bytes + 1) if len(data) <= max_bytes else b""
            while rest and len(data) <= max_bytes:
                data += rest
                rest = file.read(max_bytes + 1)
        except OSError as error:
            raise translated(error, path) from None
    if len(data) > max_bytes:
        raise _refuse("too long for a key file", path)
    return data


def _check(found: os.stat_result, path: Path, max_bytes: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _refuse("a key file is a regular file", path)
    if _POSIX and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _refuse("group or others may open the key file: chmod 600 it", path)
    if _POSIX and found.st_uid not in (os.geteuid(), 0):
        raise _refuse("the key file belongs to another user", path)
    if found.st_size > max_bytes:
        raise _refuse("too long for a key file", path)


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Afterwards ``path`` is a new file holding exactly ``data``; raises ``OutputExists``.

    On any failure nothing is left behind.
    """
    with _temporary(path, data, mode) as temporary:
        link_new(temporary, path)


def link_new(temporary: Path, path: Path) -> None:
    """Afterwards ``path`` names what ``temporary`` does; raises ``OutputExists``, never replaces.

    ``temporary`` may or may not remain; the caller removes it.
    """
    try:
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        raise OutputExists("the file exists already", path=str(path)) from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise not_written(error, path) from None
        _rename_new(temporary, path)  # a file system without hard links
    _sync_folder(path.parent)


def replace(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Afterwards ``path`` holds exactly ``data``; until then it holds what it held before."""
    with _temporary(path, data, mode) as temporary:
        move_over(temporary, path)


def move_over(temporary: Path, path: Path) -> None:
    """Afterwards ``path`` is what ``temporary`` was, durably, by one rename."""
    try:
        temporary.replace(path)
    except OSError as error:
        raise translated(error, path) from None
    _sync_folder(path.parent)


def erase(path: Path) -> None:
    """Afterwards ``path`` is gone, its bytes overwritten where the file system does that."""
    flags = os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise not_written(error, path) from None
    _sync_folder(path.parent)


def translated(error: OSError, path: Path | str) -> ModelsealError:
    """The error of ours that says what ``error`` means for somebody using ``path``."""
    where, why = str(path), os.strerror(error.errno or 0)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        return InputMissing(why, path=where)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(why, path=where)
    if error.errno == errno.EROFS:
        return StateNotWritable(why, path=where)
    if error.errno in (errno.EACCES, errno.EPERM):
        return StateNotReadable(why, path=where)
    return StorageFailed(why, path=where)


def not_written(error: OSError, path: Path) -> ModelsealError:
    """Like ``translated``, for a failure to write ``path``."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StateNotWritable(os.strerror(error.errno), path=str(path))
    return translated(error, path)


@contextlib.contextmanager
def _temporary(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """A synced temporary file beside ``path`` holding ``data``; gone when the block ends."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        try:
            descriptor = os.open(temporary, _WRITE_FLAGS, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise not_written(error, path) from None
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _rename_new(temporary: Path, path: Path) -> None:
    if os.path.lexists(path):
        raise OutputExists("the file exists already", path=str(path))
    try:
        temporary.rename(path)
    except OSError as error:
        raise not_written(error, path) from None


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; a file system that cannot do it keeps its own promises."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refuse(why: str, path: Path) -> KeyStoreUnavailable:
    return KeyStoreUnavailable(why, path=str(path))
