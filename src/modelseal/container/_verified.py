"""Opening a sealed model whose signatures hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Event, Lock
from types import MappingProxyType
from typing import Any

from modelseal.container import _chunks as chunks
from modelseal.container import _index as index_format
from modelseal.container import _keys as keys
from modelseal.container import _limits as limits
from modelseal.container import _recovery as recovery
from modelseal.container import _variants as variants
from modelseal.container._chunks import ChunkOpener, Depth, SectionCiphers, VariantCiphers
from modelseal.container._index import Entry, Index
from modelseal.container._layout import SectionLayout
from modelseal.container._leaves import LeafRange, LeafRanges, LeafTable, VariantRecord
from modelseal.container._model import SealedModel
from modelseal.container._reader import EntryReader
from modelseal.container._runs import Aside, Part, Prepare, in_place, ordinary
from modelseal.container._source import Buffer, Progress, fill, is_zero, wipe, writable
from modelseal.container._threads import spread
from modelseal.crypto.hpke import KemOpener
from modelseal.errors import ContainerDamaged, Misuse

NOBODY: Mapping[str, Buffer] = MappingProxyType({})
NO_BUNDLE: Mapping[int, Sequence[chunks.VariantKey]] = MappingProxyType({})


class VerifiedModel(SealedModel):
    """A sealed model that is the publisher's; made by ``SealedModel.verify_signatures``.

    Wherever a data key is asked for, bytes of 32 are meant; memory that the caller wipes will do.
    ``together`` maps the ids of other models to the secrets in their indexes. ``bundle_keys`` are
    a variant section's keys, one per chunk. What fails once a key is used is ``ContainerDamaged``
    (``TogetherMissing`` when a secret is not given), and the target is zeroed.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._leaves: LeafTable | None = None
        self._gaps: dict[int, list[tuple[int, int]]] = {}
        self._proved = bytearray(self.prologue.stored_count)

    @property
    def wholly_proved(self) -> bool:
        """True once the leaf of every stored chunk held, in whichever calls it was read."""
        return 0 not in self._proved

    def check_key(self, section: int, data_key: Buffer) -> None:
        """Returns when ``data_key`` is the section's; else ``ContainerDamaged``.

        For a variant section the data key is the seed all its variant keys are made of.
        """
        info = self._place(section).info
        if info.is_variant:
            records = self.variant_records(section)
            variants.check_seed(self.prologue_hash, section, data_key, records)
        else:
            keys.check_commitment(self.prologue_hash, data_key, info.commitment)

    def open_index(self, data_key: Buffer, *, depth: str = Depth.FULL) -> Index:
        """The encrypted index, read with the data key of section 0."""
        plain = bytearray(self.sections[0].plain_bytes)
        try:
            self.open_section(0, data_key, memoryview(plain), depth=depth)
            index = index_format.decode(plain, self.sections, self.prologue.chunk_bytes)
        finally:
            wipe(plain)
        self._gaps = index.gaps()
        return index

    def open_section(
        self,
        section: int,
        data_key: Buffer | None,
        target: memoryview,
        *,
        together: Mapping[str, Buffer] = NOBODY,
        depth: str = Depth.FULL,
        threads: int = 1,
        bundle_keys: Sequence[chunks.VariantKey] | None = None,
    ) -> None:
        """The plaintext of the section is in ``target``, which has exactly its length.

        Padding between entries is checked once the index was opened.
        """
        place = self._place(section)
        view = writable(target)
        if view.nbytes != place.info.plain_bytes:
            raise Misuse("the target has the section's plaintext length", section=section)

        def work() -> None:
            opener = self._opener(place, data_key, together, depth, bundle_keys)
            chunks.open_whole(opener, view, threads)
            if not all(is_zero(view[start:end]) for start, end in self._gaps.get(section, ())):
                raise ContainerDamaged("the padding between entries is not zero", section=section)

        chunks.zeroed_on_failure([view], work)

    def read_range(
        self,
        section: int,
        data_key: Buffer | None,
        offset: int,
        target: memoryview,
        *,
        together: Mapping[str, Buffer] = NOBODY,
        depth: str = Depth.FULL,
        threads: int = 1,
        bundle_keys: Sequence[chunks.VariantKey] | None = None,
        prepare: Prepare = in_place,
        aside: Aside = ordinary,
    ) -> None:
        """``target`` holds the section's plaintext from ``offset`` on.

        Only the chunks it lies in are read and decrypted. ``prepare`` says how each thread
        writes its part of ``target``; a chunk that is wanted in part is opened in the memory that
        ``aside`` gives. ``Misuse`` for a range outside.
        """
        place = self._place(section)
        view = writable(target)
        if offset < 0 or offset + view.nbytes > place.info.plain_bytes:
            raise Misuse("the range lies outside the section", section=section)

        def work() -> None:
            opener = self._opener(place, data_key, together, depth, bundle_keys)
            parts = [Part(offset, view)] if view.nbytes else []
            chunks.open_parts(replace(opener, prepare=prepare, aside=aside), parts, threads)

        chunks.zeroed_on_failure([view], work)

    def read_entry(
        self,
        entry: Entry,
        data_keys: Mapping[int, Buffer],
        target: memoryview,
        *,
        file_offset: int = 0,
        together: Mapping[str, Buffer] = NOBODY,
        depth: str = Depth.FULL,
        threads: int = 1,
        bundle_keys: Mapping[int, Sequence[chunks.VariantKey]] = NO_BUNDLE,
        prepare: Prepare = in_place,
        aside: Aside = ordinary,
    ) -> None:
        """``target`` holds the bytes of ``entry`` from ``file_offset`` on.

        ``data_keys`` and ``bundle_keys`` are by section; ``Misuse`` when one that is needed is not
        there or the range lies outside the entry.
        """
        reader = self.entry_reader(
            entry, data_keys, together=together, depth=depth, bundle_keys=bundle_keys,
            prepare=prepare, aside=aside,
        )  # fmt: skip
        reader.read([Part(file_offset, target)], threads=threads)

    def entry_reader(
        self,
        entry: Entry,
        data_keys: Mapping[int, Buffer],
        *,
        together: Mapping[str, Buffer] = NOBODY,
        depth: str = Depth.FULL,
        bundle_keys: Mapping[int, Sequence[chunks.VariantKey]] = NO_BUNDLE,
        prepare: Prepare = in_place,
        aside: Aside = ordinary,
    ) -> EntryReader:
        """Reads parts of ``entry`` again and again; see ``read_entry``.

        Keys and secrets are looked at when their section is read first.
        """

        def opener(section: int) -> ChunkOpener:
            key, picked = data_keys.get(section), bundle_keys.get(section)
            made = self._opener(self._place(section), key, together, depth, picked)
            return replace(made, prepare=prepare, aside=aside)

        return EntryReader(entry, opener)

    def leaf_ranges(self) -> LeafRanges:
        """Offset, size and hash of every stored chunk in file order; needs the front only."""
        return LeafRanges(self._leaf_table(), self._places)

    def variant_records(self, section: int) -> tuple[VariantRecord, ...]:
        """The commitment table of a variant section, in the order of its stored chunks."""
        if not self._place(section).info.is_variant:
            raise Misuse("the section has no variants", section=section)
        return self._leaf_table().records(section)

    def verify_leaves(
        self, progress: Progress | None = None, *, allow_holes: bool = False, threads: int = 1
    ) -> None:
        """Returns when every stored chunk is the signed one; needs no key.

        With ``allow_holes`` a stored chunk of a variant section may be absent, that is all zero.
        ``progress`` is called by one thread at a time. Raises ``ContainerDamaged``.
        """
        ranges = self.leaf_ranges()
        done, told = self.front_bytes, Lock()

        def run(part: range, stop: Event) -> None:
            nonlocal done
            buffer = memoryview(bytearray(self.prologue.chunk_bytes + limits.TAG_BYTES))
            for stored in part:
                if stop.is_set():
                    return
                size = self._check_leaf(ranges, stored, buffer, allow_holes)
                if progress is not None:
                    with told:
                        done += size
                        progress(done, self.file_bytes)

        spread(run, range(len(ranges)), threads)

    def _check_leaf(
        self, ranges: LeafRanges, stored: int, buffer: memoryview, allow_holes: bool
    ) -> int:
        """The size of the stored chunk, once it is known to be the signed one or a hole."""
        offset, size, expected = ranges[stored]
        copy = buffer[:size]
        with chunks.whole_source():
            fill(self.source, offset, copy)
        if ranges.holds(copy, expected):
            self._proved[stored] = 1
        elif not (allow_holes and ranges.layout_of(stored).info.is_variant and is_zero(copy)):
            raise ContainerDamaged("a stored chunk is not the signed one", chunk=stored)
        return size

    def recover_keys(self, opener: KemOpener) -> dict[int, bytes]:
        """The data keys of all sections, opened with the publisher's recovery key.

        Raises ``SealedKeyInvalid`` for another key, ``ContainerDamaged`` when a recovered key
        is not its section's.
        """
        found = recovery.open_entry(self.header, self.file_id, self.prologue_hash, opener)
        for section, data_key in found.items():
            self.check_key(section, data_key)
        return found

    def _opener(
        self,
        place: SectionLayout,
        data_key: Buffer | None,
        together: Mapping[str, Buffer],
        depth: str,
        bundle_keys: Sequence[chunks.VariantKey] | None,
    ) -> ChunkOpener:
        """Key, commitment, secrets, leaf table: in this order, then chunks may be opened."""
        if depth not in list(Depth):
            raise Misuse("the verification depth is full or tag")
        info = place.info
        ciphers: SectionCiphers | VariantCiphers
        if info.is_variant:
            records = self.variant_records(info.id)
            picked = bundle_keys
            if picked is None:
                seed = _required(data_key, info.id)
                self.check_key(info.id, seed)
                picked = variants.first_keys(self.prologue_hash, info.id, seed, records)
            chunks.check_count(place, picked)
            secrets = chunks.secrets_of(place, together)
            ciphers = VariantCiphers(self.prologue_hash, info.id, records, picked, secrets)
        else:
            key = _required(data_key, info.id)
            self.check_key(info.id, key)
            secrets = chunks.secrets_of(place, together)
            ciphers = SectionCiphers(keys.section_cipher(self.prologue_hash, key, secrets, info.id))
        leaves = self._leaf_table() if depth == Depth.FULL else None
        return ChunkOpener(self.source, place, ciphers, leaves, self._proved)

    def _leaf_table(self) -> LeafTable:
        if self._leaves is None:
            prologue = self.prologue
            place = prologue.leaf_table_offset, prologue.leaf_table_bytes
            with chunks.whole_source():
                self._leaves = LeafTable.load(
                    self.source, prologue.suite, *place, self.header.leaf_hash, self._places
                )
        return self._leaves


def _required(data_key: Buffer | None, section: int) -> Buffer:
    if data_key is None:
        raise Misuse("the section's data key is needed", section=section)
    return data_key


__all__ = ["LeafRange", "VerifiedModel"]
