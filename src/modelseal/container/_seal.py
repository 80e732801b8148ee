"""Sealing: one pass over the plaintext, flat memory whatever the size.

The prologue is the salt of every key, so all sizes are known before the first chunk is encrypted:
header, signatures and index have the same length with zeros in place of hashes. The front and
section 0 are written last, over the room left for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from modelseal.container import _index as index_format
from modelseal.container import _keys as keys
from modelseal.container import _limits as limits
from modelseal.container import _plan as plans
from modelseal.container import _recovery as recovery_entry
from modelseal.container import _signatures as signatures
from modelseal.container._front import blank_header, compose, prologue_for
from modelseal.container._header import Header
from modelseal.container._index import Index
from modelseal.container._layout import SectionLayout, layouts
from modelseal.container._leaves import leaf_hash
from modelseal.container._model import parse
from modelseal.container._plan import PlacedSection, SealPlan
from modelseal.container._prologue import Prologue
from modelseal.container._source import BytesSource, Progress, Sink
from modelseal.container._writer import PlainReader, SectionWriter, append, overwrite
from modelseal.crypto.hpke import KemPublicKey
from modelseal.crypto.signing import Signer
from modelseal.errors import InternalError, Misuse, SourceNotSealable

_BLANK = bytes(limits.DIGEST_BYTES)


@dataclass(frozen=True, slots=True)
class SealedResult:
    """What sealing made. ``data_keys`` by section id: the caller wraps them at once.

    ``together_secret`` is what other models need to demand this one.
    """

    file_id: bytes
    header: Header
    size_bytes: int
    data_keys: dict[int, bytes] = field(repr=False)
    together_secret: bytes | None = field(default=None, repr=False)


def seal(
    plan: SealPlan,
    sink: Sink,
    *,
    publisher: Sequence[Signer],
    recovery: KemPublicKey,
    random: Callable[[int], bytes],
    progress: Progress | None = None,
    threads: int = 1,
) -> SealedResult:
    """``sink``, empty before, holds the sealed model; opening it gives the entries back.

    ``random`` gives that many unpredictable bytes. ``publisher`` are one or two signing keys of
    different algorithms. ``progress`` counts plaintext read, in the caller's thread; up to
    ``threads`` threads encrypt and hash, one alone reads and writes. When anything is raised the
    sink's content is useless and its owner removes it; a sealing is never resumed. Raises
    ``Misuse``, ``SourceNotSealable``, ``SourceChanged``, ``Unavailable``.
    """
    plans.check(plan)
    signers = signatures.check_publisher(publisher)
    if sink.size_bytes != 0:
        raise Misuse("the sink is empty before")
    placed = [plans.place(section, plan.chunk_bytes) for section in plan.sections]
    plans.check_chunk_total(placed, plan.chunk_bytes)
    secrets = _draw(plan, random)
    blank_index = _index(plan, placed, [[_BLANK] * len(p.pieces) for p in placed], secrets)
    header = blank_header(plan, placed, signers, recovery, _index_bytes(blank_index))
    prologue = prologue_for(
        header, file_id=secrets.file_id, suite=plan.suite, chunk_bytes=plan.chunk_bytes
    )
    salt = keys.prologue_hash(prologue.to_bytes())
    places = layouts(prologue, header)
    body = _Body(plan, placed, sink, prologue, places, salt, secrets, progress, threads)
    digests = body.write()
    leaf_table = body.write_index(_index(plan, placed, digests, secrets))
    bound = recovery_entry.info(
        product=plan.product, model=plan.model, release=plan.release,
        file_id=secrets.file_id, prologue_hash=salt, kid=recovery.kid,
    )  # fmt: skip
    final = replace(
        header,
        leaf_hash=leaf_hash(plan.suite, leaf_table),
        recovery=recovery_entry.seal_entry(secrets.data_keys, recovery, bound),
        sections=tuple(
            replace(info, commitment=keys.commitment(salt, secrets.data_keys[info.id]))
            for info in header.sections
        ),
    )
    overwrite(sink, 0, compose(prologue, final, publisher, leaf_table))
    if parse(sink).header != final:
        raise InternalError("the sealed model does not read back as it was written")
    return SealedResult(
        file_id=secrets.file_id,
        header=final,
        size_bytes=prologue.file_bytes,
        data_keys=secrets.data_keys,
        together_secret=secrets.together,
    )


@dataclass(frozen=True, slots=True, repr=False)
class _Secrets:
    file_id: bytes
    data_keys: dict[int, bytes]
    together: bytes | None


@dataclass(slots=True, repr=False)
class _Body:
    """Writes the chunks of all sections; leaves end up in file order."""

    plan: SealPlan
    placed: Sequence[PlacedSection]
    sink: Sink
    prologue: Prologue
    places: Sequence[SectionLayout]
    salt: bytes
    secrets: _Secrets
    progress: Progress | None
    threads: int
    leaves: bytearray = field(default_factory=bytearray)

    def write(self) -> list[list[bytes]]:
        """Every section but the index is written; the digests of all pieces."""
        room = self.prologue.data_offset + self.places[0].size_bytes
        for start in range(0, room, 1 << 20):
            append(self.sink, bytes(min(1 << 20, room - start)))
        done, digests = 0, []
        for place, section in zip(self.places[1:], self.placed, strict=True):
            reader = PlainReader(section.pieces, done, self._report)
            writer = self._writer(place, section.plan.together_with)
            for stored in writer.chunks(reader, self.threads):
                append(self.sink, stored)
            self.leaves += writer.leaves
            digests.append(reader.digests)
            done += section.plain_bytes
        return digests

    def write_index(self, index: Index) -> bytes:
        """Section 0 is in its place; the whole leaf table."""
        plain = index_format.encode(index)
        place = self.places[0]
        if len(plain) != place.info.plain_bytes:
            raise InternalError("the index has not the length that was planned")
        whole = plans.Piece(plans.EntryPlan("", BytesSource(plain)), 0, len(plain))
        writer = self._writer(place, ())
        at = place.offset
        for stored in writer.chunks(PlainReader((whole,), 0, None)):
            overwrite(self.sink, at, stored)
            at += stored.nbytes
        return bytes(writer.leaves + self.leaves)

    def _report(self, done: int) -> None:
        if self.progress is not None:
            self.progress(done, sum(section.plain_bytes for section in self.placed))

    def _writer(self, place: SectionLayout, together: Sequence[plans.TogetherRef]) -> SectionWriter:
        data_key = self.secrets.data_keys[place.info.id]
        others = [other.secret for other in together]
        cipher = keys.section_cipher(self.salt, data_key, others, place.info.id)
        return SectionWriter(place, cipher, self.prologue.suite)


def _draw(plan: SealPlan, random: Callable[[int], bytes]) -> _Secrets:
    def fresh(size: int) -> bytes:
        drawn = random(size)
        if not isinstance(drawn, bytes) or len(drawn) != size or drawn in seen:
            raise Misuse("the random source does not give fresh bytes of the length asked for")
        seen.add(drawn)
        return drawn

    seen: set[bytes] = set()
    file_id = fresh(limits.FILE_ID_BYTES)
    data_keys = {section: fresh(limits.KEY_BYTES) for section in range(len(plan.sections) + 1)}
    together = plan.together_secret
    if together is None and plan.secret_for_together:
        together = fresh(limits.KEY_BYTES)
    return _Secrets(file_id, data_keys, None if together is None else bytes(together))


def _index(
    plan: SealPlan,
    placed: Sequence[PlacedSection],
    digests: Sequence[Sequence[bytes]],
    secrets: _Secrets,
) -> Index:
    names = {
        section: planned.name
        for section, planned in enumerate(plan.sections, start=1)
        if planned.name is not None
    }
    return Index(tuple(plans.entries(placed, digests)), names, secrets.together)


def _index_bytes(index: Index) -> int:
    size = len(index_format.encode(index))
    if size > limits.MAX_INDEX_BYTES:
        raise SourceNotSealable("too many files for one sealed model", index_bytes=size)
    return size
