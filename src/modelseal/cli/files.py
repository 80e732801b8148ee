"""Reading whole small files, and writing output files that appear only on success."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from modelseal.errors import (
    DiskFull,
    InputMissing,
    InvalidBytes,
    ModelsealError,
    OutputExists,
    StateNotWritable,
)

MAX_SMALL_BYTES = 64 << 20


def translate(error: OSError, path: Path) -> ModelsealError:
    """Our error for what the system said about writing ``path``."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull("no room", path=str(path))
    return StateNotWritable(error.strerror or "", path=str(path))


def read(path: Path, max_bytes: int = MAX_SMALL_BYTES) -> bytes:
    """The bytes of ``path``; ``InputMissing`` when it cannot be read or is absurdly large."""
    try:
        if not path.is_file():
            raise InputMissing(_absence(path), path=str(path))
        if path.stat().st_size > max_bytes:
            raise InputMissing(f"larger than {max_bytes} bytes", path=str(path))
        return path.read_bytes()
    except OSError as error:
        raise InputMissing(error.strerror or "", path=str(path)) from None


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """The file at ``path``, however large; ``InputMissing`` when it cannot be read."""
    if not path.is_file():
        raise InputMissing(_absence(path), path=str(path))
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputMissing(error.strerror or "", path=str(path)) from None
    with file:
        yield file


def _absence(path: Path) -> str:
    return "a folder, not a file" if path.is_dir() else "there is no such file"


@contextmanager
def about(path: Path) -> Iterator[None]:
    """What the block finds wrong with bytes is told of ``path``, where nothing closer is named."""
    try:
        yield
    except InvalidBytes as error:
        error.params.setdefault("path", str(path))
        raise


def refuse_existing(path: Path) -> None:
    """``OutputExists`` when there is something at ``path``."""
    if os.path.lexists(path):
        raise OutputExists("will not overwrite", path=str(path))


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file that appears as ``path`` when the block ends well, and not at all otherwise."""
    refuse_existing(path)
    if not path.parent.is_dir():
        raise InputMissing("there is no such folder", path=str(path.parent))
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise translate(error, path) from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except OSError as error:
        raise translate(error, path) from None
    finally:
        temporary.unlink(missing_ok=True)


def fill(folder: Path, written: Mapping[str, bytes], *, exist_ok: bool = False) -> None:
    """``folder`` is made, and each of ``written`` is a file of that name in it."""
    try:
        folder.mkdir(parents=True, exist_ok=exist_ok)
    except OSError as error:
        raise translate(error, folder) from None
    for name, data in written.items():
        with whole(folder / name) as out:
            out.write(data)
