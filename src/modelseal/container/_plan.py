"""What to seal: sections, their entries, and where each entry will lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from modelseal.container import _index as index_format
from modelseal.container import _limits as limits
from modelseal.container._header import MAX_RELEASE
from modelseal.container._index import FILE_ROLE, Entry, Extent
from modelseal.container._keys import is_key
from modelseal.container._layout import chunk_count
from modelseal.container._names import is_kind, label_problem, name_problem, names_problem
from modelseal.container._prologue import SUITES
from modelseal.container._sections import INDEX_KIND, VARIANT_KIND, KeySource
from modelseal.container._source import Source, size_of
from modelseal.errors import Misuse, SourceNotSealable
from modelseal.types import EntitlementExpression, Level, MemoryProtection, check_aware


@dataclass(frozen=True, slots=True)
class EntryPlan:
    """One file, or one range of a file, and where its bytes come from.

    ``source`` holds the range; it starts at ``file_offset`` of the original. A file cut into
    several sections stands in each with its own range; together they cover it.
    """

    name: str
    source: Source
    file_offset: int = 0
    role: str = FILE_ROLE


@dataclass(frozen=True, slots=True)
class TogetherRef:
    """Another sealed model of the product without which the section does not open."""

    model: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SectionPlan:
    """One section: what is granted together. ``name`` stands in the encrypted index only."""

    entitlement: EntitlementExpression
    entries: Sequence[EntryPlan]
    kind: str = "opaque"
    name: str | None = None
    min_level: Level = Level.L0
    memory: MemoryProtection = MemoryProtection.LOCKED
    key_source: KeySource = KeySource.LEASE
    together_with: tuple[TogetherRef, ...] = ()


@dataclass(frozen=True, slots=True)
class SealPlan:
    """One sealing. Sizes in bytes; ``created_at`` aware; ``release`` grows with every release.

    ``secret_for_together`` puts a fresh secret into the index, by which sections of other models
    may demand this one; ``together_secret`` carries the secret of an earlier release on.
    """

    product: str
    model: str
    model_version: str
    release: int
    created_at: datetime
    sections: Sequence[SectionPlan]
    chunk_bytes: int = limits.DEFAULT_CHUNK_BYTES
    suite: int = 1
    secret_for_together: bool = False
    together_secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry's bytes at ``offset`` in the plaintext of its section."""

    plan: EntryPlan
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PlacedSection:
    """A section whose pieces have their places."""

    plan: SectionPlan
    pieces: tuple[Piece, ...]
    plain_bytes: int


def check(plan: SealPlan) -> None:
    """Returns when the plan can be sealed; raises ``Misuse`` or ``SourceNotSealable``."""
    for what in ("product", "model", "model_version"):
        problem = label_problem(getattr(plan, what))
        if problem is not None:
            raise Misuse(f"{what}: {problem}")
    if type(plan.release) is not int or not 0 <= plan.release <= MAX_RELEASE:
        raise Misuse("release is a whole number from 0 on")
    check_aware(plan.created_at)
    if plan.suite not in SUITES:
        raise Misuse("the suite is 1 (BLAKE3) or 2 (SHA-256)")
    size = plan.chunk_bytes
    if type(size) is not int or not limits.MIN_CHUNK_BYTES <= size <= limits.MAX_CHUNK_BYTES:
        raise Misuse("a chunk has 64 KiB to 8 MiB")
    if size & (size - 1):
        raise Misuse("the chunk size is a power of two")
    if not 1 <= len(plan.sections) < limits.MAX_SECTIONS:
        raise Misuse(f"a sealed model has 1 to {limits.MAX_SECTIONS - 1} sections")
    if plan.together_secret is not None and not is_key(plan.together_secret):
        raise Misuse("a secret has 32 bytes")
    for section in plan.sections:
        _check_section(section)
    _check_names(plan.sections)


def place(section: SectionPlan, chunk_bytes: int) -> PlacedSection:
    """The section's entries one after the other, each aligned, zeros between."""
    pieces, end = [], 0
    for entry in section.entries:
        size = size_of(entry.source)
        step = index_format.alignment(size, chunk_bytes)
        offset = -(-end // step) * step
        pieces.append(Piece(entry, offset, size))
        end = offset + size
    if end > limits.MAX_SECTION_BYTES:
        raise SourceNotSealable(
            "a section has at most 64 GiB", size_bytes=end, max_bytes=limits.MAX_SECTION_BYTES
        )
    return PlacedSection(section, tuple(pieces), end)


def entries(placed: Sequence[PlacedSection], digests: Sequence[Sequence[bytes]]) -> list[Entry]:
    """The index entries; ``digests`` are those of the pieces, section by section."""
    extents: dict[str, list[Extent]] = {}
    roles: dict[str, str] = {}
    for section, (where, found) in enumerate(zip(placed, digests, strict=True), start=1):
        for piece, digest in zip(where.pieces, found, strict=True):
            name = piece.plan.name
            if roles.setdefault(name, piece.plan.role) != piece.plan.role:
                raise SourceNotSealable("the ranges of a file have one role", entry=name)
            extents.setdefault(name, []).append(
                Extent(section, piece.offset, piece.size_bytes, piece.plan.file_offset, digest)
            )
    made = []
    for name, pieces in extents.items():
        pieces.sort(key=lambda extent: (extent.file_offset, extent.size_bytes))
        problem = index_format.pieces_problem(pieces)
        if problem is not None:
            raise SourceNotSealable(problem, entry=name)
        made.append(Entry(name, tuple(pieces), roles[name]))
    return made


def check_chunk_total(placed: Sequence[PlacedSection], chunk_bytes: int) -> None:
    """``SourceNotSealable`` when the file would have more chunks than the format allows."""
    total = sum(chunk_count(section.plain_bytes, chunk_bytes) for section in placed)
    if total > limits.MAX_STORED_CHUNKS - limits.MAX_INDEX_BYTES // chunk_bytes:
        raise SourceNotSealable("too many chunks, take larger ones", chunks=total)


def _check_section(section: SectionPlan) -> None:
    if not is_kind(section.kind) or section.kind in (INDEX_KIND, VARIANT_KIND):
        raise Misuse("a section kind is a lower-case word, not index and not variant")
    if not isinstance(section.entitlement, EntitlementExpression):
        raise Misuse("a section has an entitlement expression")
    alternatives = section.entitlement.alternatives
    if len(set(alternatives)) > limits.MAX_ALTERNATIVES:
        raise Misuse(f"at most {limits.MAX_ALTERNATIVES} alternatives")
    if max(map(len, alternatives)) > limits.MAX_NAMES_PER_ALTERNATIVE:
        raise Misuse(f"at most {limits.MAX_NAMES_PER_ALTERNATIVE} names in one alternative")
    if section.name is not None and label_problem(section.name) is not None:
        raise Misuse("a section's name is a short text")
    if not section.entries:
        raise SourceNotSealable("a section holds at least one file")
    models = [other.model for other in section.together_with]
    if len(models) > limits.MAX_TOGETHER or len(set(models)) != len(models):
        raise Misuse(f"at most {limits.MAX_TOGETHER} other models, each once")
    for other in section.together_with:
        if label_problem(other.model) is not None:
            raise Misuse("another model is named by its id")
        if not is_key(other.secret):
            raise Misuse("a secret has 32 bytes")


def _check_names(sections: Sequence[SectionPlan]) -> None:
    names: dict[str, None] = {}
    for section in sections:
        for entry in section.entries:
            problem = name_problem(entry.name)
            if problem is None and not is_kind(entry.role):
                problem = "a role is a lower-case word"
            if problem is not None:
                raise SourceNotSealable(problem, entry=str(entry.name)[:200])
            names[entry.name] = None
    problem = names_problem(names)
    if problem is not None:
        raise SourceNotSealable(problem)
