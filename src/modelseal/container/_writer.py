"""Reading plaintext once, in order, and writing it as stored chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelseal.container import _keys as keys
from modelseal.container import _limits as limits
from modelseal.container._layout import SectionLayout
from modelseal.container._leaves import leaf_hash
from modelseal.container._plan import Piece
from modelseal.container._source import Buffer, Sink, fill, size_of, wipe
from modelseal.errors import ContainerTruncated, InternalError, SourceChanged, StorageFailed


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

    def chunks(self, reader: PlainReader) -> Iterator[memoryview]:
        """The stored chunks in order; each is valid until the next one is asked for."""
        cipher, self._cipher = self._cipher, None
        if cipher is None:
            raise InternalError("a section is written once")
        place, info = self._place, self._place.info
        longest = min(place.chunk_bytes, info.plain_bytes)
        plain = memoryview(bytearray(longest))
        stored = memoryview(bytearray(longest + limits.TAG_BYTES))
        try:
            for index in range(info.chunk_count):
                last = index == info.chunk_count - 1
                size = place.plain_bytes_of(index)
                reader.read(index * place.chunk_bytes, plain[:size], last=last)
                out = stored[: size + limits.TAG_BYTES]
                aad = keys.aad(info.id, info.first_chunk + index)
                cipher.encrypt_into(keys.nonce(index, last), plain[:size], aad, out)
                self.leaves += leaf_hash(self._suite, out)
                yield out
        finally:
            wipe(plain)


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
