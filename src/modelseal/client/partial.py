"""The verified beginning of a sealed model on its way in.

What stands in the temporary file has been checked: first the front (signatures with the pinned
publisher keys), then chunk by chunk against the leaf table. Bytes that do not hold are never
written, so a download resumes from whatever is there, from any mirror.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from modelseal import container
from modelseal.client.filesource import FileSource
from modelseal.container import BytesSource, LeafRanges, VerifiedModel
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import DownloadDamaged, ModelsealError

_HASH_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Expected:
    """What the signed catalog says about the file that is being fetched."""

    name: str
    digest: str
    size_bytes: int
    file_id: bytes
    product: str
    min_release: int
    publisher_keys: Sequence[VerifyKey]
    crc32: int | None = None
    """That of the file in its place, by a CRC trailer; None without one."""


class Partial:
    """The temporary file of one download. ``done`` bytes of it are verified and written."""

    def __init__(self, file: BinaryIO, expected: Expected) -> None:
        self._file = file
        self._expected = expected
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self._crc = 0
        self._leaves: LeafRanges | None = None
        self._next = 0
        self.model: VerifiedModel | None = None
        self.done = 0

    @property
    def complete(self) -> bool:
        """Whether the last chunk is there."""
        return self._leaves is not None and self._next == len(self._leaves)

    def resume(self) -> None:
        """``done`` covers what an earlier run left and still holds; the rest is cut off."""
        source = FileSource(self._file)
        try:
            size = min(source.size_bytes, self._expected.size_bytes)
            while self.done < size and not self.complete:
                step = min(_HASH_STEP, size - self.done - len(self._buffer))
                if step <= 0:
                    break
                piece = bytearray(step)
                source.read_into(self.done + len(self._buffer), memoryview(piece))
                self._take(bytes(piece), write=False)
        except ModelsealError:
            if self.model is None:
                self._restart()
        self.drop_unverified()
        self._file.truncate(self.done)

    def feed(self, data: bytes) -> None:
        """Whole verified units of ``data`` are written; the rest waits for more.

        Raises ``DownloadDamaged`` for bytes that do not hold, the container's own errors for a
        front that is another publisher's, product's or format's, ``OSError`` for the disk.
        """
        self._take(data, write=True)

    def drop_unverified(self) -> None:
        """What waits for more bytes is forgotten; the next bytes come from ``done``."""
        self._buffer.clear()

    def check_digest(self) -> None:
        """Returns when the complete file is the one the catalog names; ``DownloadDamaged``."""
        if not self.complete or self._hash.hexdigest() != self._expected.digest:
            raise DownloadDamaged("the digest differs from the catalog's", name=self._expected.name)

    def add_trailer(self) -> None:
        """The complete file has the CRC-32 that the catalog names, where it names one."""
        if self._expected.crc32 is not None:
            self._file.seek(self.done)
            self._file.write(container.crc_trailer(self._crc, self._expected.crc32))

    def flush(self) -> None:
        """Everything written is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def _take(self, data: bytes, *, write: bool) -> None:
        self._buffer += data
        if self._leaves is None and not self._front(write=write):
            return
        leaves = self._leaves
        assert leaves is not None  # noqa: S101 - _front has just said so
        start = 0
        while self._next < len(leaves):
            leaf = leaves[self._next]
            if leaf.offset != self.done:
                raise DownloadDamaged("the chunks have gaps", name=self._expected.name)
            if len(self._buffer) - start < leaf.size:
                break
            with memoryview(self._buffer) as view, view[start : start + leaf.size] as chunk:
                if not leaves.holds(chunk, leaf.hash):
                    raise DownloadDamaged(f"chunk {self._next}", name=self._expected.name)
                self._accept(chunk, write=write)
            start += leaf.size
            self._next += 1
        del self._buffer[:start]

    def _front(self, *, write: bool) -> bool:
        """The front was read and verified; False while bytes are lacking."""
        if len(self._buffer) < container.PROLOGUE_BYTES:
            return False
        prologue = container.Prologue.from_bytes(bytes(self._buffer[: container.PROLOGUE_BYTES]))
        if prologue.file_bytes != self._expected.size_bytes:
            raise DownloadDamaged("another size than the catalog's", name=self._expected.name)
        if len(self._buffer) < prologue.front_bytes:
            return False
        front = bytes(self._buffer[: prologue.front_bytes])
        model = container.parse(BytesSource(front), front_only=True).verify_signatures(
            self._expected.publisher_keys,
            product=self._expected.product,
            min_release=self._expected.min_release,
        )
        if model.file_id != self._expected.file_id:
            raise DownloadDamaged("another file than the catalog's", name=self._expected.name)
        leaves = model.leaf_ranges()
        self._accept(memoryview(front), write=write)
        del self._buffer[: len(front)]
        self.model, self._leaves = model, leaves
        return True

    def _accept(self, data: memoryview, *, write: bool) -> None:
        if write:
            self._file.seek(self.done)
            written = 0
            while written < data.nbytes:  # the file is unbuffered: a full disk shows here
                written += self._file.write(data[written:])
        self._hash.update(data)
        if self._expected.crc32 is not None:
            self._crc = container.crc_update(self._crc, data)
        self.done += data.nbytes

    def _restart(self) -> None:
        self.done, self._next, self._leaves = 0, 0, None
        self._hash, self._crc = hashlib.sha256(), 0
        self._buffer.clear()
