"""A sealed model whose front holds: where every stored chunk lies, and its leaf."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import front, signing
from .encoding import expect, uncbor
from .front import Prologue, Section
from .trust import Key

ReadAt = Callable[[int, int], bytes]
_BAD = "container_malformed"
_DAMAGED = "container_damaged"
_SIGNED = b"modelseal v1 sealed model signature\x00"


@dataclass(frozen=True)
class Record:
    """A stored variant of a chunk."""

    chunk: int
    label: bytes
    commitment: bytes


def signers(value: Any, header: bytes, prologue: bytes, listed: Any, pinned: list[Key]) -> None:
    """Steps 12 to 14."""
    expect(isinstance(value, list) and len(value) == len(listed), _BAD, "one per signer")
    for entry, named in zip(value, listed, strict=True):
        row = front.closed(entry, "alg", "kid", "sig")
        expect((row["alg"], row["kid"]) == (named["alg"], named["kid"]), _BAD, "another signer")
        expect(isinstance(row["sig"], bytes) and len(row["sig"]) <= 16384, _BAD, "sig")
    trusted = {(key.alg, key.kid): key for key in pinned}
    mine = [row for row in value if (row["alg"], row["kid"]) in trusted]
    expect(mine, "wrong_publisher", "no signer is pinned")
    bad = "container_signature"
    expect({r["alg"] for r in mine} == {k.alg for k in pinned}, bad, "a pinned algorithm lacks")
    message = _SIGNED + hashlib.sha512(prologue + header).digest()
    for row in mine:
        key = trusted[row["alg"], row["kid"]]
        expect(signing.verify(key.alg, key.jwk, row["sig"], message), bad, "does not hold")


class Sealed:
    """Made from the bytes of a front; `read_at` gives stored chunks later."""

    def __init__(self, prologue: Prologue, data: bytes) -> None:
        self.prologue, self.front = prologue, data
        end = front.u(prologue.data, 80, 8)
        self.header_bytes = data[128:end]
        self.header = self._header()
        self.product = front.label(self.header.get("product"))
        self.model = front.label(self.header.get("model"))
        self.version = front.label(self.header.get("model_version"))
        self.release = front.whole(self.header.get("release"), 0, 2**53 - 1)
        front.whole(self.header.get("created_at"), 0, 253402300799)
        self.leaf_hash = front.bytes32(self.header.get("leaf_hash"))
        self._signers()
        recovery = front.closed(self.header.get("recovery"), "kid", "ct")
        expect(isinstance(recovery["kid"], str), _BAD, "recovery")
        expect(isinstance(recovery["ct"], bytes), _BAD, "recovery")
        table = self.header.get("sections")
        expect(isinstance(table, list) and table, _BAD, "sections")
        self.sections = [front.section(row, i) for i, row in enumerate(table or ())]
        self._agree()
        self._signatures = uncbor(data[end : prologue.leaf_offset], _BAD)
        self.table = data[prologue.leaf_offset : prologue.data_offset]

    def _header(self) -> dict[str, Any]:
        header = uncbor(self.header_bytes, _BAD)
        texts = isinstance(header, dict) and all(isinstance(name, str) for name in header)
        expect(texts, _BAD, "header")
        least = front.whole(header.get("min_reader"), 1, 2**32)
        expect(least <= front.READER, "container_version", "for a newer reader")
        return front.critical(header, "header")

    def _signers(self) -> None:
        listed = self.header.get("signers")
        expect(isinstance(listed, list) and 1 <= len(listed) <= 8, _BAD, "signers")
        pairs = []
        for entry in listed or ():
            row = front.closed(entry, "alg", "kid")
            for name, most in (("alg", 32), ("kid", 128)):
                text = isinstance(row[name], str) and 1 <= len(row[name]) <= most
                expect(text, _BAD, f"{name} of a signer")
            pairs.append((row["alg"], row["kid"]))
        expect(len(set(pairs)) == len(pairs), _BAD, "a signer twice")

    def _agree(self) -> None:
        p, chunk = self.prologue, self.prologue.chunk_size
        expect(len(self.sections) == front.u(p.data, 104, 4), _BAD, "section count")
        stored = records = 0
        size = p.data_offset
        for s in self.sections:
            expect(s.first == stored, _BAD, "first")
            expect(s.count == max(1, -(-s.length // chunk)), _BAD, "count")
            variant = s.kind == "variant"
            stored += s.stored
            records += s.stored if variant else 0
            last = s.size_of(s.count - 1, chunk)
            full = s.stored - s.stored_last
            within = 2 * (s.count - 1) <= full <= 16 * (s.count - 1)
            expect(not variant or within, _BAD, "stored")
            size += full * (chunk + 16) + s.stored_last * (last + 16)
        expect(stored == front.u(p.data, 108, 4), _BAD, "stored chunk count")
        expect(sum(s.length for s in self.sections) == front.u(p.data, 48, 8), _BAD, "plain size")
        expect(size == p.file_size, _BAD, "file size")
        expect(p.data_offset - p.leaf_offset == 32 * stored + 52 * records, _BAD, "leaf table")

    def verify(self, pinned: list[Key], product: str, min_release: int = 0) -> None:
        """Steps 12 to 16."""
        signers(
            self._signatures,
            self.header_bytes,
            self.prologue.data,
            self.header["signers"],
            pinned,
        )
        expect(self.product == product, "wrong_product", self.product)
        expect(self.release >= min_release, "release_too_old", str(self.release))

    def verify_table(self) -> None:
        """Step 19."""
        good = front.same(self.prologue.hash(self.table), self.leaf_hash)
        expect(good, _DAMAGED, "the leaf table is not the signed one")

    def records(self, section: Section) -> list[Record]:
        """The records of a variant section, compared with its commitment."""
        at = 32 * front.u(self.prologue.data, 108, 4)
        for s in self.sections[: section.id]:
            at += 52 * s.stored if s.kind == "variant" else 0
        data = self.table[at : at + 52 * section.stored]
        good = front.same(self.prologue.hash(data), section.commitment)
        expect(good, _DAMAGED, "records of another section")
        rows = [data[i : i + 52] for i in range(0, len(data), 52)]
        found = [Record(front.u(r, 0, 4), r[4:20], r[20:]) for r in rows]
        keys = [(r.chunk, r.label) for r in found]
        expect(keys == sorted(set(keys)), _DAMAGED, "records out of order")
        counts = [sum(r.chunk == i for r in found) for i in range(section.count)]
        good = all(2 <= n <= 16 for n in counts) and sum(counts) == len(found)
        expect(good and counts[-1] == section.stored_last, _DAMAGED, "records of a chunk")
        return found

    def places(self) -> list[tuple[int, int]]:
        """Offset and size of every stored chunk of the file, in order."""
        at, chunk = self.prologue.data_offset, self.prologue.chunk_size
        found = []
        for s in self.sections:
            last = s.size_of(s.count - 1, chunk) + 16
            for number in range(s.stored):
                size = chunk + 16 if number < s.stored - s.stored_last else last
                found.append((at, size))
                at += size
        return found

    def leaf_holds(self, number: int, stored: bytes) -> bool:
        """Whether a stored chunk is the signed one."""
        leaf = self.table[32 * number : 32 * number + 32]
        return front.same(self.prologue.hash(stored), leaf)


def whole_file(read_at: ReadAt, size: int) -> Sealed:
    """The front of a whole file, in its form (steps 1 to 11)."""
    prologue = Prologue.read(read_at(0, 128), size)
    return Sealed(prologue, read_at(0, prologue.data_offset))
