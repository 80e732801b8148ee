"""Decrypting chunks straight into the caller's memory.

Each stored chunk is copied once into a small private buffer; its hash and its decryption read that
same copy, so bytes that change underneath cannot pass one and feed the other. No plaintext is
handed out before its chunk verified; on any failure the whole target is zeroed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Event
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelseal.container import _keys as keys
from modelseal.container import _limits as limits
from modelseal.container._layout import SectionLayout
from modelseal.container._leaves import LeafTable, VariantRecord
from modelseal.container._runs import Aside, Part, Places, Prepare, in_place, ordinary
from modelseal.container._source import Buffer, Source, fill, wipe
from modelseal.container._threads import spread
from modelseal.errors import ContainerDamaged, ContainerTruncated, Misuse, TogetherMissing


class Depth(StrEnum):
    """``full``: the leaf of every chunk is compared; ``tag``: only its authentication tag."""

    FULL = "full"
    TAG = "tag"


class VariantKey(NamedTuple):
    """The key of the one variant of a chunk that this licensee has."""

    label: bytes
    key: Buffer

    def __repr__(self) -> str:
        return f"VariantKey(label={self.label.hex()})"


class Chunk(NamedTuple):
    """What opening one chunk needs."""

    stored: int
    cipher: AESGCM
    label: bytes


class Ciphers(Protocol):
    """Finds the stored chunk and the cipher for a chunk of a section."""

    def chunk(self, index: int) -> Chunk:
        """For the chunk ``index`` of the section."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class SectionCiphers:
    """One key for all chunks."""

    cipher: AESGCM

    def chunk(self, index: int) -> Chunk:
        """For the chunk ``index`` of the section."""
        return Chunk(index, self.cipher, b"")


@dataclass(frozen=True, slots=True, repr=False)
class VariantCiphers:
    """One key per chunk and variant, each compared with its commitment before use."""

    salt: bytes
    section: int
    records: Sequence[VariantRecord]
    variant_keys: Sequence[VariantKey]
    secrets: Sequence[Buffer]
    _stored: Mapping[tuple[int, bytes], int] = field(init=False)

    def __post_init__(self) -> None:
        places = {(r.index, r.label): stored for stored, r in enumerate(self.records)}
        object.__setattr__(self, "_stored", places)

    def chunk(self, index: int) -> Chunk:
        """For the chunk ``index`` of the section."""
        label, key = self.variant_keys[index]
        stored = self._stored.get((index, bytes(label)))
        if stored is None:
            raise ContainerDamaged("no such variant in the sealed model", chunk=index)
        place = keys.variant_place(self.section, index, bytes(label))
        keys.check_variant(self.salt, key, place, self.records[stored].commitment)
        cipher = keys.variant_cipher(self.salt, key, self.secrets, place)
        return Chunk(stored, cipher, bytes(label))


@dataclass(frozen=True, slots=True, repr=False)
class ChunkOpener:
    """Opens chunks of one section; dropped with its ciphers when the reading is done.

    A chunk whose leaf held is marked in ``proved``, one byte per stored chunk of the file.
    """

    source: Source
    layout: SectionLayout
    ciphers: Ciphers
    leaves: LeafTable | None
    proved: bytearray
    prepare: Prepare = in_place
    aside: Aside = ordinary
    _spare: list[memoryview] = field(default_factory=list)

    @property
    def longest_bytes(self) -> int:
        """The plaintext length of the longest chunk."""
        return min(self.layout.chunk_bytes, self.layout.info.plain_bytes)

    def take_buffer(self) -> memoryview:
        """A private buffer for one stored chunk, small enough to stay in the cache."""
        if self._spare:
            return self._spare.pop()
        return memoryview(bytearray(self.longest_bytes + limits.TAG_BYTES))

    def give_back(self, buffer: memoryview) -> None:
        """The next call takes this one: its pages are not made anew."""
        self._spare.append(buffer)

    def open_into(self, index: int, buffer: memoryview, target: memoryview) -> None:
        """The plaintext of chunk ``index`` is in ``target``, which has exactly its length."""
        info = self.layout.info
        stored, cipher, label = self.ciphers.chunk(index)
        offset, size = self.layout.place(stored)
        copy = buffer if size == buffer.nbytes else buffer[:size]
        fill(self.source, offset, copy)
        position = info.first_chunk + stored
        if self.leaves is not None:
            self.leaves.check(position, copy)
            self.proved[position] = 1
        nonce = keys.nonce(index, index == info.chunk_count - 1)
        aad = keys.aad(info.id, position, label)
        try:
            cipher.decrypt_into(nonce, copy, aad, target)
        except InvalidTag:
            raise ContainerDamaged("a chunk does not open", section=info.id, chunk=index) from None


def open_whole(opener: ChunkOpener, target: memoryview, threads: int) -> None:
    """The plaintext of the whole section is in ``target``; see ``zeroed_on_failure``."""
    indexes = range(opener.layout.info.chunk_count)
    _open(opener, [Part(0, target)], indexes, threads)


def open_parts(opener: ChunkOpener, parts: Sequence[Part], threads: int) -> None:
    """Every target holds its part of the section; only their chunks are read, each of them once.

    ``parts`` are in the order of their offsets, apart and not empty.
    """
    step = opener.layout.chunk_bytes
    indexes: list[int] = []
    for offset, target in parts:
        first = max(offset // step, indexes[-1] + 1 if indexes else 0)
        indexes.extend(range(first, (offset + target.nbytes - 1) // step + 1))
    _open(opener, parts, indexes, threads)


def secrets_of(layout: SectionLayout, together: Mapping[str, Buffer]) -> tuple[Buffer, ...]:
    """The secrets of the other models in table order; ``TogetherMissing`` when one is not there."""
    found = []
    for other in layout.info.together_with:
        secret = together.get(other.model)
        if secret is None:
            raise TogetherMissing("another sealed model is needed", model=other.model)
        if not keys.same(keys.secret_hash(secret), other.secret_hash):
            raise TogetherMissing("the other sealed model is not the right one", model=other.model)
        found.append(secret)
    return tuple(found)


def check_count(layout: SectionLayout, variant_keys: Sequence[VariantKey]) -> None:
    """``Misuse`` unless there is one variant key per chunk of the section."""
    if not all(isinstance(item, tuple) and len(item) == 2 for item in variant_keys):
        raise Misuse("a variant key is a label and a key")
    if len(variant_keys) != layout.info.chunk_count:
        raise Misuse("one variant key per chunk of the section")


@contextlib.contextmanager
def whole_source() -> Iterator[None]:
    """A source that ends early by now is damage."""
    try:
        yield
    except ContainerTruncated:
        raise ContainerDamaged("the sealed model ends early") from None


def zeroed_on_failure(targets: Sequence[memoryview], work: Callable[[], None]) -> None:
    """``work`` is done, or every target is zero."""
    try:
        with whole_source():
            work()
    except BaseException:
        for target in targets:
            wipe(target)
        raise


def _open(opener: ChunkOpener, parts: Sequence[Part], indexes: Sequence[int], threads: int) -> None:
    """Each thread opens a contiguous run of ``indexes`` through a buffer of its own."""
    step = opener.layout.chunk_bytes

    def run(mine: range, stop: Event) -> None:
        if not mine:
            return
        span = indexes[mine.start] * step, (indexes[mine.stop - 1] + 1) * step
        buffer, aside = opener.take_buffer(), _Aside(opener)
        try:
            with Places(parts, span, opener.prepare, step) as places:
                for index in indexes[mine.start : mine.stop]:
                    if stop.is_set():
                        return
                    _open_one(opener, index, buffer, aside, places)
        finally:
            aside.wipe()
            opener.give_back(buffer)

    spread(run, range(len(indexes)), threads)


def _open_one(
    opener: ChunkOpener, index: int, buffer: memoryview, aside: _Aside, places: Places
) -> None:
    """What ``places`` want of chunk ``index`` is there."""
    start, size = index * opener.layout.chunk_bytes, opener.layout.plain_bytes_of(index)
    pieces = places.within(start, size)
    if pieces[0].nbytes == size:
        with places.writing(pieces[0]) as place:
            opener.open_into(index, buffer, place)
        return
    chunk = aside.opened(index, buffer)
    for piece in pieces:
        with places.writing(piece) as place:
            place[:] = chunk[piece.low - start : piece.high - start]


class _Aside:
    """Memory for chunks of which only parts are wanted, made when the first one comes."""

    def __init__(self, opener: ChunkOpener) -> None:
        self._opener = opener
        self._memory: memoryview | None = None

    def opened(self, index: int, buffer: memoryview) -> memoryview:
        """The plaintext of chunk ``index``, until the next one."""
        if self._memory is None:
            self._memory = self._opener.aside(self._opener.longest_bytes)
        chunk = self._memory[: self._opener.layout.plain_bytes_of(index)]
        self._opener.open_into(index, buffer, chunk)
        return chunk

    def wipe(self) -> None:
        """No plaintext is left in it."""
        if self._memory is not None:
            wipe(self._memory)
