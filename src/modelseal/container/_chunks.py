"""Decrypting chunks straight into the caller's memory.

Each stored chunk is copied once into a small private buffer; its hash and its decryption read that
same copy, so bytes that change underneath cannot pass one and feed the other. No plaintext is
handed out before its chunk verified; on any failure the whole target is zeroed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from threading import Event
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelseal.container import _keys as keys
from modelseal.container import _limits as limits
from modelseal.container._layout import SectionLayout
from modelseal.container._leaves import LeafTable, VariantRecord
from modelseal.container._source import Buffer, Source, fill, wipe
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
    """Opens chunks of one section; made for one call and dropped with its ciphers."""

    source: Source
    layout: SectionLayout
    ciphers: Ciphers
    leaves: LeafTable | None

    def buffer(self) -> memoryview:
        """A private buffer for one stored chunk, small enough to stay in the cache."""
        longest = min(self.layout.chunk_bytes, self.layout.info.plain_bytes)
        return memoryview(bytearray(longest + limits.TAG_BYTES))

    def open_into(self, index: int, buffer: memoryview, target: memoryview) -> None:
        """The plaintext of chunk ``index`` is in ``target``, which has exactly its length."""
        info = self.layout.info
        chunk = self.ciphers.chunk(index)
        offset, size = self.layout.place(chunk.stored)
        copy = buffer[:size]
        fill(self.source, offset, copy)
        position = info.first_chunk + chunk.stored
        if self.leaves is not None:
            self.leaves.check(position, copy)
        nonce = keys.nonce(index, index == info.chunk_count - 1)
        aad = keys.aad(info.id, position, chunk.label)
        try:
            chunk.cipher.decrypt_into(nonce, copy, aad, target)
        except InvalidTag:
            raise ContainerDamaged("a chunk does not open", section=info.id, chunk=index) from None


def open_whole(opener: ChunkOpener, target: memoryview, threads: int) -> None:
    """The plaintext of the whole section is in ``target``; see ``zeroed_on_failure``."""
    count = opener.layout.info.chunk_count
    workers = max(1, min(threads, count))
    stop = Event()

    def run(first: int, end: int) -> None:
        buffer = opener.buffer()
        step = opener.layout.chunk_bytes
        try:
            for index in range(first, end):
                if stop.is_set():
                    return
                opener.open_into(index, buffer, target[index * step : (index + 1) * step])
        except BaseException:
            stop.set()
            raise

    _spread(run, count, workers, stop)


def open_range(opener: ChunkOpener, offset: int, target: memoryview) -> None:
    """``target`` holds the section's plaintext from ``offset`` on; only its chunks are read."""
    if target.nbytes:
        _open_range(opener, offset, target)


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


def zeroed_on_failure(target: memoryview, work: Callable[[], None]) -> None:
    """``work`` is done, or ``target`` is zero; a source that ends early by now is damage."""
    try:
        work()
    except ContainerTruncated:
        wipe(target)
        raise ContainerDamaged("the sealed model ends early") from None
    except BaseException:
        wipe(target)
        raise


def _spread(run: Callable[[int, int], None], count: int, workers: int, stop: Event) -> None:
    if workers == 1:
        run(0, count)
        return
    bounds = [count * worker // workers for worker in range(workers + 1)]
    with ThreadPoolExecutor(workers, thread_name_prefix="modelseal-open") as pool:
        try:
            futures = [_start(pool, run, low, high) for low, high in pairwise(bounds)]
            for future in futures:
                future.result()
        except BaseException:
            stop.set()
            raise


def _start(
    pool: ThreadPoolExecutor, run: Callable[[int, int], None], low: int, high: int
) -> Future[None]:
    """The run in a thread, or done here and now when the system gives no more threads."""
    try:
        return pool.submit(run, low, high)
    except RuntimeError:
        run(low, high)
        done: Future[None] = Future()
        done.set_result(None)
        return done


def _open_range(opener: ChunkOpener, offset: int, target: memoryview) -> None:
    step = opener.layout.chunk_bytes
    buffer = opener.buffer()
    end = offset + target.nbytes
    scratch: bytearray | None = None
    try:
        for index in range(offset // step, (end - 1) // step + 1):
            start = index * step
            size = opener.layout.plain_bytes_of(index)
            low, high = max(offset, start), min(end, start + size)
            part = target[low - offset : high - offset]
            if high - low == size:
                opener.open_into(index, buffer, part)
                continue
            scratch = scratch if scratch is not None else bytearray(step)
            plain = memoryview(scratch)[:size]
            opener.open_into(index, buffer, plain)
            part[:] = plain[low - start : high - start]
    finally:
        if scratch is not None:
            wipe(scratch)
