"""Where bytes come from and go to: given by the caller, so that this room opens no file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from modelseal.errors import ContainerTruncated, Misuse, StorageFailed

Buffer: TypeAlias = bytes | bytearray | memoryview
Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""


class Source(Protocol):
    """Random access to a byte string that does not change while it is read.

    Several threads may call ``read_into`` at once.
    """

    @property
    def size_bytes(self) -> int:
        """The length of the whole byte string."""
        ...

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fills ``target`` wholly from ``offset`` on.

        Raises ``ContainerTruncated`` when the bytes end earlier, ``Unavailable`` when they
        cannot be read now, ``SourceChanged`` when they are found to have changed.
        """
        ...


class WatchedSource(Source, Protocol):
    """A source that can tell whether its bytes changed since it was made."""

    def check_unchanged(self) -> None:
        """Returns when nothing changed; raises ``SourceChanged`` otherwise."""
        ...


class Sink(Source, Protocol):
    """An output that is appended to, whose front is rewritten at the end, and read back."""

    def write(self, data: Buffer) -> None:
        """Appends all of ``data``; raises ``Unavailable`` (``DiskFull``) when it cannot."""
        ...

    def write_at(self, offset: int, data: Buffer) -> None:
        """Overwrites bytes that were appended before; the size stays."""
        ...


class BytesSource:
    """A source over bytes in memory."""

    __slots__ = ("_view",)

    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data).cast("B").toreadonly()

    @property
    def size_bytes(self) -> int:
        """The length of the bytes."""
        return self._view.nbytes

    def read_into(self, offset: int, target: memoryview) -> None:
        """Copies ``len(target)`` bytes from ``offset`` on; ``ContainerTruncated`` past the end."""
        end = offset + target.nbytes
        if offset < 0 or end > self._view.nbytes:
            raise ContainerTruncated("the bytes end earlier", needed_bytes=end)
        target[:] = self._view[offset:end]


class BytesSink:
    """A sink in memory; ``getvalue`` is what was written."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def size_bytes(self) -> int:
        """What was written so far."""
        return len(self._data)

    def write(self, data: Buffer) -> None:
        """Appends ``data``."""
        self._data += data

    def write_at(self, offset: int, data: Buffer) -> None:
        """Overwrites bytes that were appended before."""
        view = memoryview(data).cast("B")
        if offset < 0 or offset + view.nbytes > len(self._data):
            raise Misuse("write_at only overwrites what was written")
        self._data[offset : offset + view.nbytes] = view

    def read_into(self, offset: int, target: memoryview) -> None:
        """See ``Source.read_into``."""
        BytesSource(self._data).read_into(offset, target)

    def getvalue(self) -> bytes:
        """A copy of all that was written."""
        return bytes(self._data)


def size_of(source: Source) -> int:
    """``source.size_bytes``, its operating-system errors translated to ``StorageFailed``."""
    try:
        size = source.size_bytes
    except OSError as error:
        raise StorageFailed(f"the size cannot be told: {type(error).__name__}") from error
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise Misuse("size_bytes of a source is a whole number from 0 on")
    return size


def fill(source: Source, offset: int, target: memoryview) -> None:
    """``source.read_into``, its operating-system errors translated to ``StorageFailed``."""
    try:
        source.read_into(offset, target)
    except OSError as error:
        raise StorageFailed(f"the bytes cannot be read: {type(error).__name__}") from error


def read(source: Source, offset: int, size_bytes: int) -> bytes:
    """A private copy of ``size_bytes`` bytes; the caller capped the size before."""
    data = bytearray(size_bytes)
    fill(source, offset, memoryview(data))
    return bytes(data)


def writable(target: memoryview | bytearray) -> memoryview:
    """``target`` as writable bytes; ``Misuse`` when it is read-only or not contiguous."""
    try:
        view = memoryview(target)
        flat = view.cast("B")
    except (TypeError, ValueError):
        raise Misuse("the target is a contiguous buffer") from None
    if flat.readonly:
        raise Misuse("the target is writable memory")
    return flat


def is_zero(view: memoryview) -> bool:
    """True when every byte is zero."""
    return bytes(view) == bytes(view.nbytes)


def wipe(view: memoryview | bytearray) -> None:
    """Every byte of ``view`` is zero afterwards, without a second buffer of that size."""
    flat = memoryview(view).cast("B")
    zeros = bytes(min(flat.nbytes, 1 << 20))
    for start in range(0, flat.nbytes, 1 << 20):
        part = flat[start : start + (1 << 20)]
        part[:] = zeros[: part.nbytes]
