"""Opening: commitments, chunks, the index, the files (sealed-model.md, sections 2 and 3)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from . import front, names
from .encoding import expect, refuse, uncbor
from .front import MAGIC, Section
from .sealed import ReadAt, Record, Sealed

_BAD = "container_damaged"
_PAGE = 4096
Secrets = dict[str, bytes]


@dataclass(frozen=True)
class Extent:
    """A piece of a file in a section."""

    section: int
    offset: int
    length: int
    digest: bytes


@dataclass(frozen=True)
class Index:
    """What section 0 says."""

    entries: dict[str, list[Extent]]
    secret: bytes | None


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


class Opener:
    """One sealed model with the keys that are there, in depth `full`."""

    def __init__(self, sealed: Sealed, read_at: ReadAt, keys: dict[int, bytes]) -> None:
        self.sealed, self.read_at, self.keys = sealed, read_at, keys
        self.salt = hashlib.sha256(sealed.prologue.data).digest()
        self.places = sealed.places()

    def _hkdf(self, ikm: bytes, info: bytes) -> bytes:
        return HKDF(SHA256(), 32, self.salt, info).derive(ikm)

    def _secrets(self, section: Section, secrets: Secrets) -> bytes:
        joined, bad = b"", "together_missing"
        for model, wanted in section.together:
            secret = secrets.get(model) or refuse(bad, model)
            found = hashlib.sha256(b"modelseal v1 together secret\x00" + secret).digest()
            expect(front.same(found, wanted), bad, f"another secret than {model}'s")
            joined += secret
        return joined

    def _chunk(self, key: bytes, section: Section, index: int, number: int, aad: bytes) -> bytes:
        stored = self.read_at(*self.places[number])
        expect(self.sealed.leaf_holds(number, stored), _BAD, "a leaf does not hold")
        last = b"\x01" if index == section.count - 1 else b"\x00"
        nonce = last + bytes(3) + index.to_bytes(8, "little")
        about = MAGIC + _u32(section.id) + _u32(number) + aad
        try:
            return AESGCM(key).decrypt(nonce, stored, about)
        except InvalidTag:
            refuse(_BAD, "a chunk's tag does not hold")

    def plain(
        self,
        number: int,
        secrets: Secrets | None = None,
        variants: list[tuple[bytes, bytes]] | None = None,
    ) -> bytes:
        """The plaintext of a section; of a variant one with a bundle's pairs or with the seed."""
        section = self.sealed.sections[number]
        if section.kind == "variant":
            return self._variant(section, secrets or {}, variants)
        key = self.keys.get(number) or refuse("key_not_in_lease", f"section {number}")
        expect(len(key) == 32, _BAD, "a key's length")
        found = self._hkdf(key, b"modelseal v1 commitment")
        expect(front.same(found, section.commitment), _BAD, "another section's key")
        together = self._secrets(section, secrets or {})
        self.sealed.verify_table()
        chunk_key = self._hkdf(key + together, b"modelseal v1 chunk key" + _u32(number))
        return b"".join(
            self._chunk(chunk_key, section, i, section.first + i, b"") for i in range(section.count)
        )

    def _variant(
        self, section: Section, secrets: Secrets, pairs: list[tuple[bytes, bytes]] | None
    ) -> bytes:
        self.sealed.verify_table()
        records = self.sealed.records(section)
        seed = self.keys.get(section.id)
        together = self._secrets(section, secrets)
        parts = []
        for index in range(section.count):
            rows = [(n, r) for n, r in enumerate(records) if r.chunk == index]
            at, record, key = self._chosen(section, rows, pairs[index] if pairs else None, seed)
            place = _u32(section.id) + _u32(index) + record.label
            found = self._hkdf(key, b"modelseal v1 variant commitment" + place)
            expect(front.same(found, record.commitment), _BAD, "another variant's key")
            chunk_key = self._hkdf(key + together, b"modelseal v1 variant chunk key" + place)
            number = section.first + at
            parts.append(self._chunk(chunk_key, section, index, number, record.label))
        return b"".join(parts)

    def _chosen(
        self,
        section: Section,
        rows: list[tuple[int, Record]],
        pair: tuple[bytes, bytes] | None,
        seed: bytes | None,
    ) -> tuple[int, Record, bytes]:
        if pair:
            for at, record in rows:
                if record.label == pair[0]:
                    return at, record, pair[1]
            refuse(_BAD, "no variant of this label")
        at, record = rows[0]
        place = _u32(section.id) + _u32(record.chunk) + record.label
        key = seed or refuse("key_not_in_lease", f"section {section.id}")
        return at, record, self._hkdf(key, b"modelseal v1 variant key" + place)

    def index(self) -> Index:
        """Section 0, opened and checked."""
        data = self.plain(0)
        size = int.from_bytes(data[:8], "little")
        expect(len(data) >= 8 and len(data) % _PAGE == 0 and size <= len(data) - 8, _BAD, "index")
        expect(len(data) - 8 - size < _PAGE and not any(data[8 + size :]), _BAD, "its padding")
        value = front.critical(uncbor(data[8 : 8 + size], _BAD), "index", _BAD)
        good = (value.get("typ"), value.get("version")) == ("modelseal-index", 1)
        expect(good and type(value.get("version")) is int, _BAD, "no index")
        secret = value.get("secret")
        expect("secret" not in value or front.bytes32(secret, _BAD), _BAD, "secret")
        if "names" in value:
            names.labels(value["names"], len(self.sealed.sections))
        rows = value.get("entries")
        expect(isinstance(rows, list) and rows, _BAD, "entries")
        entries = {}
        for row in rows or ():
            name, extents = self._entry(front.critical(row, "entry", _BAD))
            expect(name not in entries, _BAD, "a name twice")
            entries[name] = extents
        names.together(list(entries))
        self._layout([e for extents in entries.values() for e in extents])
        return Index(entries, secret)

    def _entry(self, row: dict[str, Any]) -> tuple[str, list[Extent]]:
        names.role(row)
        rows, at, found = row.get("extents"), 0, []
        expect(isinstance(rows, list) and rows, _BAD, "extents")
        for extent in rows or ():
            shape = [type(v) for v in extent] if isinstance(extent, list) else []
            expect(shape == [int] * 4 + [bytes], _BAD, "an extent")
            section, offset, length, file_offset, digest = extent
            good = 0 < section < len(self.sealed.sections) and len(digest) == 32
            good = good and offset >= 0 and file_offset == at
            expect(good and length >= (1 if len(rows or ()) > 1 else 0), _BAD, "an extent")
            at += length
            found.append(Extent(section, offset, length, digest))
        return names.name(row.get("name")), found

    def _layout(self, extents: list[Extent]) -> None:
        chunk = self.sealed.prologue.chunk_size
        for section in self.sealed.sections[1:]:
            mine = sorted((e.offset, e.length) for e in extents if e.section == section.id)
            expect(mine, _BAD, "a section without an extent")
            end = 0
            for offset, length in mine:
                step = chunk if length >= chunk else 64
                expect(offset % step == 0, _BAD, "alignment")
                expect(0 <= offset - end < chunk, _BAD, "a gap or an overlap")
                end = offset + length
            expect(end == section.length, _BAD, "the end of a section")

    def padding(self, index: Index, number: int, plain: bytes) -> None:
        """Step 22: what lies between the extents of a section is zero."""
        mine = [e for extents in index.entries.values() for e in extents if e.section == number]
        end = 0
        for extent in sorted(mine, key=lambda e: (e.offset, e.length)):
            expect(not any(plain[end : extent.offset]), _BAD, "padding")
            end = extent.offset + extent.length


def assemble(extents: list[Extent], plain: dict[int, bytes]) -> bytes:
    """A file out of opened sections; every extent's digest holds."""
    parts = []
    for extent in extents:
        part = plain[extent.section][extent.offset : extent.offset + extent.length]
        expect(blake3(part).digest() == extent.digest, _BAD, "an extent's digest")
        parts.append(part)
    return b"".join(parts)
