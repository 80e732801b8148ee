"""Reading plaintext once, in order, and writing it as stored chunks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelseal.container import _keys as keys
from modelseal.container import _limits as limits
from modelseal.container._layout import SectionLayout
from modelseal.container._leaves import leaf_hash
from modelseal.container._plan import Piece
from modelseal.container._source import Buffer, Sink, fill, size_of, wipe
from modelseal.container._threads import Ahead
from modelseal.errors import ContainerTruncated, InternalError, SourceChanged, StorageFailed

_Stored = tuple[memoryview, bytes]
"""A stored chunk and its leaf."""


class PlainReader:
    """The plaintext of one section: its pieces in order with zeros between.

    Every byte of a source is read exactly once, so that digest and ciphertext are of the same
    bytes; ``SourceChanged`` when a source changed while it was read.
    """

    def __init__(
        self, pieces: Sequence[Piece], done: int, report: Callable[[int], None] | None
    ) -> None:
        self._pieces = pieces
        self._next = 0
        self._hash = blake3()
        self._done = done
        self._report = report
        self.digests: list[bytes] = []

    def read(self, start: int, view: memoryview, *, last: bool) -> None:
        """``view`` holds the plaintext from ``start`` on; to be called in order."""
        end = start + view.nbytes
        filled = start
        while self._next < len(self._pieces):
            piece = self._pieces[self._next]
            low, high = max(start, piece.offset), min(end, piece.offset + piece.size_bytes)
            if low >= end and not (last and piece.size_bytes == 0):
                break
            if low > filled:
                wipe(view[filled - start : low - start])
            if low < high:
                self._take(piece, low, view[low - start : high - start])
                filled = high
            if piece.offset + piece.size_bytes > end:
                break
            self._finish(piece)
        if filled < end:
            wipe(view[filled - start :])
        if self._report is not None:
            self._report(self._done + end)

    def _take(self, piece: Piece, low: int, part: memoryview) -> None:
        try:
            fill(piece.plan.source, low - piece.offset, part)
        except ContainerTruncated:
            raise SourceChanged("a file became shorter", entry=piece.plan.name) from None
        self._hash.update(part)

    def _finish(self, piece: Piece) -> None:
        source = piece.plan.source
        if size_of(source) != piece.size_bytes:
            raise SourceChanged("a file changed while it was sealed", entry=piece.plan.name)
        check = getattr(source, "check_unchanged", None)  # WatchedSource; isinstance is slow
        if check is not None:
            check()
        self.digests.append(self._hash.digest())
        self._hash = blake3()
        self._next += 1


class SectionWriter:
    """Encrypts one section; used once, for its cipher repeats no nonce only then."""

    def __init__(self, place: SectionLayout, cipher: AESGCM, suite: int) -> None:
        self._place = place
        self._cipher: AESGCM | None = cipher
        self._suite = suite
        self.leaves = bytearray()

    def chunks(self, reader: PlainReader, threads: int = 1) -> Iterator[memoryview]:
        """The stored chunks in order; each is valid until the next one is asked for.

        With more than one thread the caller's reads and hashes the plaintext while others encrypt
        and hash; memory is that of a few chunks either way.
        """
        cipher, self._cipher = self._cipher, None
        if cipher is None:
            raise InternalError("a section is written once")
        place, count = self._place, self._place.info.chunk_count
        longest = min(place.chunk_bytes, place.info.plain_bytes)
        others = max(0, min(threads - 1, count - 1))
        slots = [_Slot(longest) for _ in range(2 * others + 1)]
        try:
            with contextlib.closing(Ahead[_Stored](others)) as ahead:
                for index in range(count):
                    slot = slots[index % len(slots)]
                    if index >= len(slots):
                        yield self._finished(ahead)
                    size = place.plain_bytes_of(index)
                    last = index == count - 1
                    reader.read(index * place.chunk_bytes, slot.plain[:size], last=last)
                    ahead.start(functools.partial(self._encrypt, cipher, slot, index))
                for _ in range(min(count, len(slots))):
                    yield self._finished(ahead)
        finally:
            for slot in slots:
                wipe(slot.plain)

    def _encrypt(self, cipher: AESGCM, slot: _Slot, index: int) -> _Stored:
        place, info = self._place, self._place.info
        size = place.plain_bytes_of(index)
        out = slot.stored[: size + limits.TAG_BYTES]
        aad = keys.aad(info.id, info.first_chunk + index)
        nonce = keys.nonce(index, index == info.chunk_count - 1)
        cipher.encrypt_into(nonce, slot.plain[:size], aad, out)
        return out, leaf_hash(self._suite, out)

    def _finished(self, ahead: Ahead[_Stored]) -> memoryview:
        out, leaf = ahead.result()
        self.leaves += leaf
        return out


class _Slot:
    """Room for one chunk, plain and stored."""

    def __init__(self, longest: int) -> None:
        self.plain = memoryview(bytearray(longest))
        self.stored = memoryview(bytearray(longest + limits.TAG_BYTES))


def append(sink: Sink, data: Buffer) -> None:
    """``sink.write``, its operating-system errors translated to ``StorageFailed``."""
    try:
        sink.write(data)
    except OSError as error:
        raise StorageFailed(f"the output cannot be written: {type(error).__name__}") from error


def overwrite(sink: Sink, offset: int, data: Buffer) -> None:
    """``sink.write_at``, its operating-system errors translated to ``StorageFailed``."""
    try:
        sink.write_at(offset, data)
    except OSError as error:
        raise StorageFailed(f"the output cannot be written: {type(error).__name__}") from error
