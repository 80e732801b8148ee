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
from modelseal.container._runs import Aside, Prepare, in_place, ordinary
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
    """Opens chunks of one section; made for one call and dropped with its ciphers.

    A chunk whose leaf held is marked in ``proved``, one byte per stored chunk of the file.
    """

    source: Source
    layout: SectionLayout
    ciphers: Ciphers
    leaves: LeafTable | None
    proved: bytearray
    prepare: Prepare = in_place
    aside: Aside = ordinary

    def buffer(self) -> memoryview:
        """A private buffer for one stored chunk, small enough to stay in the cache."""
        longest = min(self.layout.chunk_bytes, self.layout.info.plain_bytes)
        return memoryview(bytearray(longest + limits.TAG_BYTES))

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
    _open(opener, 0, target, range(opener.layout.info.chunk_count), threads)


def open_range(opener: ChunkOpener, offset: int, target: memoryview, threads: int) -> None:
    """``target`` holds the section's plaintext from ``offset`` on; only its chunks are read."""
    if target.nbytes:
        step = opener.layout.chunk_bytes
        indexes = range(offset // step, (offset + target.nbytes - 1) // step + 1)
        _open(opener, offset, target, indexes, threads)


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


def zeroed_on_failure(target: memoryview, work: Callable[[], None]) -> None:
    """``work`` is done, or ``target`` is zero."""
    try:
        with whole_source():
            work()
    except BaseException:
        wipe(target)
        raise


def _open(
    opener: ChunkOpener, offset: int, target: memoryview, indexes: range, threads: int
) -> None:
    """Each thread opens a contiguous run of ``indexes`` through a buffer of its own."""
    end = offset + target.nbytes
    step = opener.layout.chunk_bytes

    def run(part: range, stop: Event) -> None:
        buffer = opener.buffer()
        whole = target[max(0, part.start * step - offset) : part.stop * step - offset]
        with opener.prepare(whole, step) as memory:
            for index in part:
                if stop.is_set():
                    return
                start = index * step
                size = opener.layout.plain_bytes_of(index)
                low, high = max(offset, start), min(end, start + size)
                belongs = target[low - offset : high - offset]
                place = memory.place(belongs)
                if high - low == size:
                    opener.open_into(index, buffer, place)
                else:
                    _open_partly(opener, index, buffer, (low - start, high - start), place)
                memory.placed(belongs)

    spread(run, indexes, threads)


def _open_partly(
    opener: ChunkOpener,
    index: int,
    buffer: memoryview,
    bounds: tuple[int, int],
    target: memoryview,
) -> None:
    """Chunk ``index`` is opened aside and the bytes within ``bounds`` of it copied."""
    scratch = opener.aside(opener.layout.plain_bytes_of(index))
    try:
        opener.open_into(index, buffer, scratch)
        target[:] = scratch[bounds[0] : bounds[1]]
    finally:
        wipe(scratch)
