"""Memory that the worker processes of one address share: who serves, and what each has counted.

Every worker has a place that only it writes, numbers in two halves by turns: whoever reads while
it writes, or after it was killed in the middle, finds the half that was whole.
"""

from __future__ import annotations

import mmap
import struct
import zlib

import msgspec

from modelseal.server.services.counts import Numbers

_HALF_BYTES = 128 * 1024
"""Room for every route of the server with every status it knows, five times over."""
_PLACE_BYTES = 4096 + 2 * _HALF_BYTES
_HEAD = struct.Struct("<II")  # length and CRC-32 of what follows
_UP, _HALF, _BEATS = 0, 1, 8
_COUNT = struct.Struct("<I")
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Numbers)


class Board:
    """To be made before the workers are forked, which inherit it."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._memory = mmap.mmap(-1, mmap.PAGESIZE + workers * _PLACE_BYTES)

    @property
    def complete(self) -> bool:
        """True once all workers have served at the same time."""
        return self._memory[0] == 1

    def count_up(self) -> int:
        """How many serve now."""
        return sum(self._memory[self._start(n) + _UP] for n in range(self.workers))

    def set_up(self, number: int, up: bool) -> None:
        """Worker ``number`` serves, or no longer does."""
        self._memory[self._start(number) + _UP] = up
        if self.count_up() == self.workers:
            self._memory[0] = 1

    def beat(self, number: int) -> None:
        """Worker ``number`` is alive: told by itself, again and again."""
        at = self._start(number) + _BEATS
        _COUNT.pack_into(self._memory, at, (self.beats(number) + 1) & 0xFFFFFFFF)

    def beats(self, number: int) -> int:
        """A number that is another one after each beat of worker ``number``."""
        found: int = _COUNT.unpack_from(self._memory, self._start(number) + _BEATS)[0]
        return found

    def tell(self, number: int, numbers: Numbers) -> None:
        """The numbers of worker ``number``, from itself."""
        body = _ENCODER.encode(numbers)
        if len(body) > _HALF_BYTES - _HEAD.size:
            return
        start = self._start(number)
        half = 1 - self._memory[start + _HALF]
        at = start + 4096 + half * _HALF_BYTES
        self._memory[at : at + _HEAD.size + len(body)] = (
            _HEAD.pack(len(body), zlib.crc32(body)) + body
        )
        self._memory[start + _HALF] = half

    def told(self, number: int) -> Numbers | None:
        """What worker ``number`` told last, or one that was killed in its place; None before."""
        start = self._start(number)
        for _ in range(2):  # a half is written again only a second later
            at = start + 4096 + self._memory[start + _HALF] * _HALF_BYTES
            length, check = _HEAD.unpack_from(self._memory, at)
            body = self._memory[at + _HEAD.size : at + _HEAD.size + min(length, _HALF_BYTES)]
            if length and zlib.crc32(body) == check:
                return _DECODER.decode(body)
        return None

    def _start(self, number: int) -> int:
        return mmap.PAGESIZE + number * _PLACE_BYTES


class Place:
    """The place of one worker on the board: the ``Fellows`` of its numbers."""

    def __init__(self, board: Board, number: int) -> None:
        self._board = board
        self._number = number

    @property
    def number(self) -> int:
        """Which worker, from 0."""
        return self._number

    def beat(self) -> None:
        """This worker is alive."""
        self._board.beat(self._number)

    def before(self) -> Numbers | None:
        """What those that were killed in this place had counted."""
        return self._board.told(self._number)

    def tell(self, numbers: Numbers) -> None:
        """The others may read ``numbers``."""
        self._board.tell(self._number, numbers)

    def told(self) -> list[Numbers]:
        """What each worker told last."""
        found = map(self._board.told, range(self._board.workers))
        return [numbers for numbers in found if numbers is not None]

    def up(self) -> tuple[int, int]:
        """How many workers serve now, of how many."""
        return self._board.count_up(), self._board.workers

    def complete(self) -> bool:
        """True once all workers have served."""
        return self._board.complete
