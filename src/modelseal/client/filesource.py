"""An open file as the container's ``Source``."""

from __future__ import annotations

import os
from typing import BinaryIO

from modelseal.errors import ContainerTruncated, StorageFailed


class FileSource:
    """Reads from one open file, whose position it may move."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @property
    def size_bytes(self) -> int:
        """The file's size now."""
        return os.fstat(self._file.fileno()).st_size

    def read_into(self, offset: int, target: memoryview) -> None:
        """``target`` holds the bytes from ``offset`` on; ``ContainerTruncated`` when it ends."""
        try:
            self._file.seek(offset)
            done = 0
            while done < target.nbytes:
                got = self._file.readinto(target[done:])  # type: ignore[attr-defined]
                if not got:
                    raise ContainerTruncated("the file ends early")
                done += got
        except OSError as error:
            raise StorageFailed(f"cannot be read: {error.strerror}") from None
