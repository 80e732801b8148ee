"""Telling sealed from plain without importing the container: under the hook most are plain."""

from __future__ import annotations

import os
import stat

MAGIC = bytes.fromhex("894d534c310d0a1a")
"""``container.MAGIC``; a test holds the two together."""


def is_sealed_bytes(data: object) -> bool:
    """True when ``data`` is a bytes-like object that begins with the magic."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        return False
    return bytes(memoryview(data)[: len(MAGIC)].tobytes()) == MAGIC


def is_sealed_file(path: str) -> bool | None:
    """Whether the regular file at ``path`` begins with the magic; None when there is none.

    A FIFO or a device is not touched, and what may not be read is nobody's sealed file.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - paths may be bytes of no Path
            return None
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - before pathlib is imported
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return None


def find(path: str) -> tuple[str, str | None]:
    """The sealed file that ``path`` means and the name inside it, if it goes on inside.

    ``bundle.sealed/config.json`` means the entry ``config.json`` of ``bundle.sealed``.
    """
    inner: list[str] = []
    place = path
    while not os.path.lexists(place):
        place, name = os.path.split(place)
        if not name or not place:
            return path, None
        inner.insert(0, name)
    if inner and is_sealed_file(place):
        return place, "/".join(inner)
    return path, None
