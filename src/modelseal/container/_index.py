"""Section 0, the encrypted index: original names, where their bytes lie, digests, the secret.

Every licensee of the file can read it, so it holds nothing about the inside of a model.
``encode`` and ``decode`` undo each other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelseal import cbor
from modelseal.container import _limits as limits
from modelseal.container._fields import Fields
from modelseal.container._names import is_kind, label_problem, name_problem, names_problem
from modelseal.container._sections import SectionInfo
from modelseal.container._source import Buffer
from modelseal.errors import ContainerDamaged, Misuse, NotFound

TYP = "modelseal-index"
VERSION = 1
FILE_ROLE = "file"
_PREFIX = struct.Struct("<Q")
_KNOWN = frozenset(["typ", "version", "entries", "names", "secret"])
_KNOWN_ENTRY = frozenset(["name", "role", "extents"])
_EXTENT_ITEMS = 5


@dataclass(frozen=True, slots=True)
class Extent:
    """``size_bytes`` bytes of an entry, from ``file_offset`` of the original on, at ``offset`` of
    ``section``'s plaintext; ``digest`` is their BLAKE3."""

    section: int
    offset: int
    size_bytes: int
    file_offset: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One original file; its extents cover it without gap or overlap, in file order.

    ``role`` is ``file`` for what was handed in, another word for what sealing added.
    """

    name: str
    extents: tuple[Extent, ...]
    role: str = FILE_ROLE
    crit: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """The length of the original."""
        return self.extents[-1].file_offset + self.extents[-1].size_bytes

    @property
    def sections(self) -> tuple[int, ...]:
        """The sections needed to read all of it, ascending."""
        return tuple(sorted({extent.section for extent in self.extents}))

    @property
    def section(self) -> int:
        """The one section of an entry that lies in one piece; ``Misuse`` otherwise."""
        return self._only.section

    @property
    def offset(self) -> int:
        """The offset in that section; ``Misuse`` when the entry lies in several pieces."""
        return self._only.offset

    @property
    def digest(self) -> bytes:
        """BLAKE3 of the original; ``Misuse`` when the entry lies in several pieces."""
        return self._only.digest

    @property
    def _only(self) -> Extent:
        if len(self.extents) != 1:
            raise Misuse("the entry lies in several pieces, ask its extents", entry=self.name)
        return self.extents[0]


@dataclass(frozen=True, slots=True)
class Index:
    """All entries of a sealed model; ``secret`` is what *together with* needs, where there is one.

    ``section_names`` maps section ids to the publisher's own names for them.
    """

    entries: tuple[Entry, ...]
    section_names: Mapping[int, str] = field(default_factory=dict)
    secret: bytes | None = field(default=None, repr=False)
    crit: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _by_name: Mapping[str, Entry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {entry.name: entry for entry in self.entries})

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all entries."""
        return tuple(entry.name for entry in self.entries)

    @property
    def originals(self) -> tuple[Entry, ...]:
        """What was handed in, without what sealing added."""
        return tuple(entry for entry in self.entries if entry.role == FILE_ROLE)

    def entry(self, name: str) -> Entry:
        """The entry called ``name``; ``NotFound`` when there is none."""
        found = self._by_name.get(name)
        if found is None:
            raise NotFound("no such entry in the sealed model", entry=name)
        return found

    def gaps(self) -> dict[int, list[tuple[int, int]]]:
        """Start and end of every run of padding, by section."""
        found: dict[int, list[tuple[int, int]]] = {}
        for section, extents in by_section(self.entries).items():
            end = 0
            for extent in extents:
                if extent.offset > end:
                    found.setdefault(section, []).append((end, extent.offset))
                end = extent.offset + extent.size_bytes
        return found


def encode(index: Index) -> bytes:
    """The plaintext of section 0: length, deterministic CBOR, zeros up to a multiple of 4096."""
    members: dict[str, Any] = {
        **index.extra,
        "typ": TYP,
        "version": VERSION,
        "entries": [_entry_map(entry) for entry in index.entries],
    }
    if index.section_names:
        members["names"] = dict(index.section_names)
    if index.secret is not None:
        members["secret"] = bytes(index.secret)
    if index.crit:
        members["crit"] = list(index.crit)
    return frame(cbor.encode(members))


def frame(body: bytes) -> bytes:
    """``body`` behind its length, with zeros up to a multiple of 4096."""
    size = _PREFIX.size + len(body)
    return _PREFIX.pack(len(body)) + body + bytes(-size % limits.INDEX_PADDING_BYTES)


def decode(plain: Buffer, sections: Sequence[SectionInfo], chunk_bytes: int) -> Index:
    """The index in ``plain``; ``ContainerDamaged`` unless it is whole, canonical and fits."""
    body = _body(plain)
    try:
        value = cbor.decode(body, max_bytes=limits.MAX_INDEX_BYTES)
    except cbor.CborInvalid as error:
        raise ContainerDamaged(f"index: {error.detail}") from None
    fields = Fields(value, "index", ContainerDamaged)
    if fields.text("typ") != TYP or fields.whole("version", 0, 2**32) != VERSION:
        raise fields.error("of another type or version")
    crit = fields.require_known(_KNOWN)
    most = limits.MAX_INDEX_BYTES
    index = Index(
        entries=tuple(_entry(item) for item in fields.items("entries", 1, most)),
        section_names=_section_names(fields, len(sections)) if fields.has("names") else {},
        secret=fields.octets("secret", limits.KEY_BYTES) if fields.has("secret") else None,
        crit=crit,
        extra=fields.rest(),
    )
    problem = names_problem(index.names) or layout_problem(index.entries, sections, chunk_bytes)
    if problem is not None:
        raise fields.error(problem)
    return index


def by_section(entries: Sequence[Entry]) -> dict[int, list[Extent]]:
    """The extents by section, in the order of their place there."""
    found: dict[int, list[Extent]] = {}
    for extent in (x for entry in entries for x in entry.extents):
        found.setdefault(extent.section, []).append(extent)
    for extents in found.values():
        extents.sort(key=lambda extent: (extent.offset, extent.size_bytes))
    return found


def layout_problem(
    entries: Sequence[Entry], sections: Sequence[SectionInfo], chunk_bytes: int
) -> str | None:
    """Why the extents do not tile the sections; None when they do.

    Each starts on 64 bytes, those of a chunk or more on a chunk; no overlap, gaps shorter than
    a chunk, and the last one ends where the section ends.
    """
    found = by_section(entries)
    if found.keys() != {section.id for section in sections[1:]}:
        return "an extent lies in no section, or a section has none"
    for section in sections[1:]:
        end = 0
        for extent in found[section.id]:
            if extent.offset % alignment(extent.size_bytes, chunk_bytes):
                return "an extent is not aligned"
            if not 0 <= extent.offset - end < chunk_bytes:
                return "extents overlap or leave a hole"
            end = extent.offset + extent.size_bytes
        if end != section.plain_bytes:
            return "the extents do not end where the section ends"
    return None


def alignment(size_bytes: int, chunk_bytes: int) -> int:
    """What the offset of an extent of ``size_bytes`` is a multiple of."""
    return chunk_bytes if size_bytes >= chunk_bytes else limits.ALIGN_BYTES


def pieces_problem(extents: Sequence[Extent]) -> str | None:
    """Why the pieces are no whole file in order; None when they are."""
    end = 0
    for extent in extents:
        if extent.file_offset != end or (extent.size_bytes == 0 and len(extents) > 1):
            return "the pieces of an entry leave a gap or overlap"
        end += extent.size_bytes
    return None


def _entry_map(entry: Entry) -> dict[str, Any]:
    members: dict[str, Any] = {
        **entry.extra,
        "name": entry.name,
        "extents": [
            [x.section, x.offset, x.size_bytes, x.file_offset, x.digest] for x in entry.extents
        ],
    }
    if entry.role != FILE_ROLE:
        members["role"] = entry.role
    if entry.crit:
        members["crit"] = list(entry.crit)
    return members


def _entry(value: Any) -> Entry:
    fields = Fields(value, "index entry", ContainerDamaged)
    crit = fields.require_known(_KNOWN_ENTRY)
    name = fields.text("name", limits.MAX_INDEX_BYTES)
    problem = name_problem(name)
    if problem is not None:
        raise fields.error(problem)
    role = fields.text("role", 32) if fields.has("role") else FILE_ROLE
    extents = tuple(_extent(x, fields) for x in fields.items("extents", 1, limits.MAX_INDEX_BYTES))
    problem = pieces_problem(extents)
    if problem is not None:
        raise fields.error(problem)
    if not is_kind(role) or (role == FILE_ROLE and "role" in value):
        raise fields.error("an odd role, or the usual one written out")
    return Entry(name, extents, role, crit, fields.rest())


def _extent(value: Any, fields: Fields) -> Extent:
    if not isinstance(value, list) or len(value) != _EXTENT_ITEMS:
        raise fields.error("an extent has five items")
    section, offset, size, file_offset, digest = value
    numbers = (section, offset, size, file_offset)
    if any(type(n) is not int or not 0 <= n <= limits.MAX_FILE_BYTES for n in numbers):
        raise fields.error("an extent has whole numbers from 0 on")
    if not isinstance(digest, bytes) or len(digest) != limits.DIGEST_BYTES:
        raise fields.error("an extent has a digest of 32 bytes")
    return Extent(section, offset, size, file_offset, digest)


def _section_names(fields: Fields, count: int) -> dict[int, str]:
    names = fields.member("names")
    if not isinstance(names, dict) or not names:
        raise fields.error("names is a map")
    for section, name in names.items():
        known = type(section) is int and 0 < section < count
        if not known or label_problem(name) is not None:
            raise fields.error("names maps section ids to labels")
    return names


def _body(plain: Buffer) -> bytes:
    view = memoryview(plain).cast("B")
    if view.nbytes < _PREFIX.size or view.nbytes % limits.INDEX_PADDING_BYTES:
        raise ContainerDamaged("index: of a length it cannot have")
    size = _PREFIX.unpack_from(view)[0]
    padding = view.nbytes - _PREFIX.size - size
    if not 0 <= padding < limits.INDEX_PADDING_BYTES or any(view[_PREFIX.size + size :]):
        raise ContainerDamaged("index: the padding is not zero")
    return bytes(view[_PREFIX.size : _PREFIX.size + size])
