"""The front of a sealed model: steps 1 to 16 and 19 of sealed-model.md, section 4."""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from .encoding import expect, refuse

MAGIC = bytes.fromhex("894d534c310d0a1a")
_BAD = "container_malformed"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*")
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,31}")
READER = 1
Hash = Callable[[bytes], bytes]


def _blake3(data: bytes) -> bytes:
    return blake3(data).digest()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


HASHES: dict[int, Hash] = {1: _blake3, 2: _sha256}


def u(data: bytes, offset: int, size: int) -> int:
    """An unsigned little-endian integer of a fixed layout."""
    return int.from_bytes(data[offset : offset + size], "little")


def whole(value: object, least: int, most: int) -> int:
    """An integer in a range."""
    good = type(value) is int and least <= value <= most
    return value if good else refuse(_BAD, "an integer")  # type: ignore[return-value]


@dataclass(frozen=True)
class Prologue:
    """The fixed first 128 bytes."""

    data: bytes

    @classmethod
    def read(cls, data: bytes, have: int | None) -> Prologue:
        """Steps 1 to 6; `have` is the size of the file, None in the middle of a download."""
        expect(data[:8] == MAGIC, "not_sealed", "another magic")
        expect(len(data) >= 128, "container_truncated", "no prologue")
        expect(u(data, 8, 2) == 1 and u(data, 10, 2) in HASHES, "container_version", "version")
        p = cls(data[:128])
        header, signatures = u(data, 72, 4), u(data, 76, 4)
        chunks, table = u(data, 108, 4), p.data_offset - p.leaf_offset
        expect(not any(data[112:128]), _BAD, "reserved bytes")
        size = p.chunk_size
        expect(65536 <= size <= 8388608 and size & (size - 1) == 0, _BAD, "chunk size")
        expect(u(data, 64, 8) == 128 and 1 <= header <= 1 << 20, _BAD, "header")
        expect(1 <= signatures <= 65536 and u(data, 80, 8) == 128 + header, _BAD, "signatures")
        expect(p.leaf_offset == 128 + header + signatures, _BAD, "leaf table")
        expect(1 <= u(data, 104, 4) <= 1024, _BAD, "section count")
        expect(u(data, 104, 4) <= chunks <= 4194304, _BAD, "stored chunk count")
        expect(32 * chunks <= table <= 84 * chunks, _BAD, "leaf table size")
        stored = p.file_size - p.data_offset
        expect(16 * chunks <= stored <= (16 + size) * chunks, _BAD, "stored bytes")
        expect(p.file_size < 1 << 63 and u(data, 48, 8) <= p.file_size, _BAD, "sizes")
        if have is not None:
            expect(have >= p.file_size, "container_truncated", "cut")
            expect(have in (p.file_size, p.file_size + 4), _BAD, "more than a trailer")
        return p

    @property
    def chunk_size(self) -> int:
        """Plaintext bytes of a chunk."""
        return u(self.data, 12, 4)

    @property
    def file_id(self) -> bytes:
        """Which sealing this is."""
        return self.data[16:48]

    @property
    def file_size(self) -> int:
        """Without CRC trailer."""
        return u(self.data, 56, 8)

    @property
    def leaf_offset(self) -> int:
        """Where the leaf table begins."""
        return u(self.data, 88, 8)

    @property
    def data_offset(self) -> int:
        """The size of the front."""
        return u(self.data, 96, 8)

    @property
    def hash(self) -> Hash:
        """The suite's hash."""
        return HASHES[u(self.data, 10, 2)]


def label(value: Any) -> str:
    """Product, model, version or section name."""
    good = isinstance(value, str) and 1 <= len(value) <= 128 and value == value.strip()
    good = good and unicodedata.normalize("NFC", value) == value
    good = good and not any(
        c in "/\\" or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in value
    )
    return str(value) if good else refuse(_BAD, "a label")


def closed(value: Any, *members: str, code: str = _BAD) -> dict[str, Any]:
    """A map with exactly these members."""
    expect(isinstance(value, dict) and set(value) == set(members), code, "a closed map")
    return dict(value)


KNOWN = {
    "header": "product model model_version release created_at min_reader leaf_hash signers"
    " recovery sections crit",
    "section": "id kind first count stored stored_last bytes commitment source level memory"
    " entitlement together crit",
    "index": "typ version entries names secret crit",
    "entry": "name role extents crit",
}


def critical(value: Any, what: str, code: str = _BAD) -> dict[str, Any]:
    """A map with text keys whose `crit`, if any, names only members that this reader knows."""
    texts = isinstance(value, dict) and all(isinstance(name, str) for name in value)
    expect(texts, code, "a map with text keys")
    if "crit" in value:
        names = value["crit"]
        good = isinstance(names, list) and names and all(isinstance(n, str) for n in names)
        expect(good and names == sorted(set(names)), code, "crit")
        expect(set(names) <= set(value) - {"crit"}, code, "crit names what is not there")
        known = set(names) <= set(KNOWN[what].split())
        newer = "container_version" if code == _BAD else code  # from step 17 on there is one code
        expect(known, newer, "a critical member that this reader does not know")
    return dict(value)


def _entitlement(value: Any) -> list[str]:
    expect(isinstance(value, list) and 1 <= len(value) <= 64, _BAD, "entitlement")
    for text in value:
        names = text.split("+") if isinstance(text, str) else []
        good = 1 <= len(names) <= 16 and names == sorted(set(names))
        good = good and all(len(n) <= 64 and _NAME.fullmatch(n) for n in names)
        expect(good, _BAD, "an entitlement text")
    expect(value == sorted(set(value)), _BAD, "entitlement texts")
    return list(value)


@dataclass(frozen=True)
class Section:
    """One row of the section table."""

    id: int
    kind: str
    first: int
    count: int
    length: int
    commitment: bytes
    source: str
    level: int
    memory: str
    entitlement: list[str]
    together: list[tuple[str, bytes]]
    stored: int
    stored_last: int

    def size_of(self, index: int, chunk: int) -> int:
        """Plaintext bytes of a chunk of this section."""
        return min(chunk, self.length - index * chunk)


def bytes32(value: Any, code: str = _BAD) -> bytes:
    """Thirty-two bytes."""
    expect(isinstance(value, bytes) and len(value) == 32, code, "32 bytes")
    return bytes(value)


def section(value: Any, number: int) -> Section:
    """A row of the table, in its form."""
    row = critical(value, "section")
    variant, index = row.get("kind") == "variant", number == 0
    known = isinstance(row.get("kind"), str) and _WORD.fullmatch(row["kind"])
    expect(known and (row["kind"] == "index") == index, _BAD, "kind")
    expect(whole(row.get("id"), 0, 1023) == number, _BAD, "id")
    kept = {"stored", "stored_last"} & set(row)
    expect(kept == ({"stored", "stored_last"} if variant else set()), _BAD, "variant counts")
    source = "bundle" if variant else row.get("source")
    expect(row.get("source") == source and source in ("lease", "bundle"), _BAD, "source")
    expect(not index or source == "lease", _BAD, "source of the index")
    expect(row.get("memory") in ("none", "locked", "secret"), _BAD, "memory")
    expect(not index or not {"entitlement", "together"} & set(row), _BAD, "of the index")
    together = row.get("together")
    if together is not None or "together" in row:
        expect(isinstance(together, list) and 1 <= len(together) <= 8, _BAD, "together")
    pairs = [closed(entry, "model", "secret_hash") for entry in together or []]
    named = [(label(p["model"]), bytes32(p["secret_hash"])) for p in pairs]
    expect(len({model for model, _ in named}) == len(named), _BAD, "one model twice")
    return Section(
        id=number,
        kind=row["kind"],
        first=whole(row.get("first"), 0, 4194304),
        count=whole(row.get("count"), 1, 4194304),
        length=whole(row.get("bytes"), 0, 67108864 if index else 1 << 36),
        commitment=bytes32(row.get("commitment")),
        source=row["source"],
        level=whole(row.get("level"), 0, 5),
        memory=row["memory"],
        entitlement=[] if index else _entitlement(row.get("entitlement")),
        together=named,
        stored=whole(row["stored"], 2, 4194304) if variant else row["count"],
        stored_last=whole(row["stored_last"], 2, 16) if variant else 1,
    )


def same(one: bytes, other: bytes) -> bool:
    """Equal, in constant time."""
    return hmac.compare_digest(one, other)
