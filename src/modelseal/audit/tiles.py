"""The tree as static files: C2SP tlog-tiles, https://c2sp.org/tlog-tiles.

``grow`` says which tiles a longer tree adds; ``TileTree`` reads hashes and proofs out of tiles.
Reading a tile is a function from its path to its bytes, given by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from modelseal.audit import merkle
from modelseal.audit.merkle import HASH_BYTES, node_hash
from modelseal.errors import AuditBroken, Misuse

WIDTH = 256
HEIGHT = 8
MAX_LEVEL = 7
MAX_ENTRY_BYTES = 65535
_MAX_INDEX = 2**63 - 1  # no tree has as many leaves, and no store holds a greater number

ReadTile = Callable[[str], bytes | None]

_PATH = re.compile(r"tile/(entries|\d{1,2})/((?:x\d{3}/)*\d{3})(?:\.p/([1-9]\d{0,2}))?")


@dataclass(frozen=True, slots=True)
class TilePath:
    """One tile: ``level`` None for entry bundles; ``width`` 256 for a full one."""

    level: int | None
    index: int
    width: int = WIDTH

    def __str__(self) -> str:
        groups = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(groups)}{partial}"


def parse_path(text: str) -> TilePath:
    """The tile with this path; ``str`` undoes it. Raises ``AuditBroken`` for any other text."""
    found = _PATH.fullmatch(text) if len(text) <= 80 else None
    if found is None:
        raise AuditBroken("not the path of a tile", fault="malformed")
    level, groups, width = found.groups()
    path = TilePath(
        None if level == "entries" else int(level),
        int(groups.replace("x", "").replace("/", "")),
        WIDTH if width is None else int(width),
    )
    if str(path) != text or (path.level or 0) > MAX_LEVEL or path.index > _MAX_INDEX:
        raise AuditBroken("not the canonical path of a tile", fault="malformed")
    return path


def paths_of(size: int) -> list[TilePath]:
    """Every hash tile and entry bundle of a tree of ``size`` leaves."""
    paths = _paths_at(None, size)
    for level in range(MAX_LEVEL + 1):
        paths += _paths_at(level, size >> HEIGHT * level)
    return paths


def _paths_at(level: int | None, hashes: int) -> list[TilePath]:
    paths = [TilePath(level, index) for index in range(hashes // WIDTH)]
    if hashes % WIDTH:
        paths.append(TilePath(level, hashes // WIDTH, hashes % WIDTH))
    return paths


@dataclass(frozen=True, slots=True)
class Growth:
    """A longer tree: its size and root, and the hash tiles it adds or widens, by path."""

    size: int
    root: bytes
    tiles: dict[str, bytes] = field(repr=False)


def grow(size: int, leaves: Sequence[bytes], read: ReadTile) -> Growth:
    """The tree of ``size`` leaves with the hashes ``leaves`` after them.

    ``read`` gives the tiles of the old tree. The same leaves give the same tiles, so a sequencer
    that was stopped half-way writes them again.
    """
    if any(len(leaf) != HASH_BYTES for leaf in leaves):
        raise Misuse("a leaf hash has 32 bytes")
    added: dict[str, bytes] = {}
    fresh, old = list(leaves), size
    level = 0
    while fresh:
        index, width = divmod(old, WIDTH)
        kept = _load(read, TilePath(level, index, width)) if width else b""
        fresh = _add_level(level, index, kept + b"".join(fresh), added)
        old //= WIDTH
        level += 1

    def read_both(path: str) -> bytes | None:
        return added.get(path) or read(path)

    tree = TileTree(size + len(leaves), read_both)
    return Growth(tree.size, tree.root(), added)


def _add_level(level: int, index: int, hashes: bytes, added: dict[str, bytes]) -> list[bytes]:
    """Cuts ``hashes`` into tiles from ``index`` on; the hashes of the full ones, for above."""
    above: list[bytes] = []
    for start in range(0, len(hashes), WIDTH * HASH_BYTES):
        tile = hashes[start : start + WIDTH * HASH_BYTES]
        width = len(tile) // HASH_BYTES
        added[str(TilePath(level, index, width))] = tile
        if width == WIDTH:
            above.append(tile_hash(tile))
        index += 1
    return above


class TileTree:
    """A tree of ``size`` leaves out of its tiles, with root and proofs.

    Tiles are kept once read. A missing tile or one of another length raises ``AuditBroken``.
    """

    def __init__(self, size: int, read: ReadTile) -> None:
        self.size = size
        self._read = read
        self._tiles: dict[TilePath, bytes] = {}

    def node(self, level: int, index: int) -> bytes:
        """See ``merkle.Nodes``."""
        tile_level, height = divmod(level, HEIGHT)
        first = index << height
        tile_index, place = divmod(first, WIDTH)
        hashes = self.size >> HEIGHT * tile_level
        width = min(WIDTH, hashes - tile_index * WIDTH)
        if width <= 0 or place + (1 << height) > width:
            raise Misuse("a subtree that is not complete in this tree")
        path = TilePath(tile_level, tile_index, width)
        if path not in self._tiles:
            self._tiles[path] = _load(self._read, path)
        tile = self._tiles[path]
        return tile_hash(tile[place * HASH_BYTES : (place + (1 << height)) * HASH_BYTES])

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves."""
        return merkle.subtree_root(self, 0, self.size)

    def leaf(self, index: int) -> bytes:
        """The hash of one leaf."""
        return self.node(0, index)

    def inclusion_proof(self, index: int) -> list[bytes]:
        """The audit path of leaf ``index``."""
        return merkle.inclusion_proof(self, index, self.size)

    def consistency_proof(self, old: int) -> list[bytes]:
        """The proof that the tree of ``old`` leaves begins this one."""
        return merkle.consistency_proof(self, old, self.size)


def tile_hash(tile: bytes) -> bytes:
    """The hash over a power of two of consecutive hashes."""
    row = [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def bundle(entries: Iterable[bytes]) -> bytes:
    """An entry bundle: each entry after its length in two bytes; ``parse_bundle`` undoes it."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise Misuse("an entry has at most 65535 bytes")
        parts += [len(entry).to_bytes(2, "big"), entry]
    return b"".join(parts)


def parse_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle (at most 256); raises ``AuditBroken`` for other bytes."""
    entries: list[bytes] = []
    position = 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 2], "big")
        end = position + 2 + length
        if position + 2 > len(data) or end > len(data) or len(entries) == WIDTH:
            raise AuditBroken("not an entry bundle", fault="malformed")
        entries.append(data[position + 2 : end])
        position = end
    return entries


def _load(read: ReadTile, path: TilePath) -> bytes:
    """The tile, or the beginning of a wider one in its place."""
    tile = read(str(path))
    if tile is None and path.width < WIDTH:
        tile = read(str(TilePath(path.level, path.index)))
        tile = None if tile is None else tile[: path.width * HASH_BYTES]
    if tile is None or len(tile) != path.width * HASH_BYTES:
        raise AuditBroken("a tile of the log is missing or has another size", path=str(path))
    return tile
