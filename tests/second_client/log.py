"""The public audit log: the checkpoint, and the proof that an event stands in it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

from . import signing
from .encoding import expect, refuse, strict_json, unb64u
from .trust import Key
from .wire import Wire

_BAD = "audit_broken"


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _unb64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        refuse(_BAD, "no base64")


@dataclass(frozen=True)
class Checkpoint:
    """A signed head of the log."""

    origin: str
    size: int
    root: bytes


def checkpoint(note: bytes, keys: list[Key]) -> Checkpoint:
    """A C2SP checkpoint in a signed note, under a checkpoint key of the trust."""
    expect(len(note) <= 1 << 16, _BAD, "too long a note")
    try:
        text, _, signatures = note.decode("utf-8").rpartition("\n\n")
    except UnicodeDecodeError:
        refuse(_BAD, "no text")
    body = (text + "\n").encode()
    lines = text.split("\n")
    expect(len(lines) >= 3 and signatures.endswith("\n"), _BAD, "no signed note")
    origin, size = lines[0], lines[1]
    expect(origin and size.isascii() and size.isdigit() and str(int(size)) == size, _BAD, "size")
    root = _unb64(lines[2])
    expect(len(root) == 32, _BAD, "root hash")
    good = False
    for line in signatures.splitlines():
        parts = line.split(" ")
        expect(len(parts) == 3 and parts[0] == "—", _BAD, "a signature line")
        if parts[1] != origin:
            continue
        raw = _unb64(parts[2])
        for key in keys:
            public = unb64u(key.jwk.get("x"), _BAD) if key.alg == "Ed25519" else b""
            named = hashlib.sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
            if key.alg == "Ed25519" and raw[:4] == named:
                good = good or signing.verify("Ed25519", key.jwk, raw[4:], body)
    expect(good, _BAD, "signed by no checkpoint key of the trust")
    return Checkpoint(origin, int(size), root)


class Log:
    """Tiles of a server's log below one checkpoint."""

    def __init__(self, wire: Wire, head: Checkpoint) -> None:
        self.wire, self.head = wire, head
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    def _tile(self, level: int, number: int) -> list[bytes]:
        if (level, number) not in self._tiles:
            width = min(256, (self.head.size >> 8 * level) - 256 * number)
            expect(width > 0, _BAD, "beyond the tree")
            digits = f"{number:03d}"
            digits = digits.zfill(-(-len(digits) // 3) * 3)
            groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
            path = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
            part = "" if width == 256 else f".p/{width}"
            address = f"/v1/log/tile/{level}/{path}{part}"
            data = self.wire.get(address, "application/octet-stream", 8192)
            expect(len(data) == 32 * width, _BAD, "a tile's size")
            hashes = [data[i : i + 32] for i in range(0, len(data), 32)]
            self._tiles[level, number] = hashes
        return self._tiles[level, number]

    def _range(self, start: int, end: int) -> bytes:
        """The hash of leaves start to end, a subtree of the tree (RFC 6962, section 2.1)."""
        size = end - start
        if size & (size - 1) == 0:
            level, height = divmod(size.bit_length() - 1, 8)
            first = start >> 8 * level
            row = self._tile(level, first // 256)[first % 256 : first % 256 + (1 << height)]
            while len(row) > 1:
                row = [_node(row[i], row[i + 1]) for i in range(0, len(row), 2)]
            return row[0]
        half = 1 << (size - 1).bit_length() - 1
        return _node(self._range(start, start + half), self._range(start + half, end))

    def path(self, index: int) -> list[bytes]:
        """The inclusion path of a leaf."""
        start, end, found = 0, self.head.size, []
        while end - start > 1:
            half = start + (1 << (end - start - 1).bit_length() - 1)
            if index < half:
                found.append(self._range(half, end))
                end = half
            else:
                found.append(self._range(start, half))
                start = half
        return found[::-1]

    def proves(self, index: int, leaf: bytes) -> bool:
        """Whether this leaf stands at this place below the checkpoint."""
        expect(0 <= index < self.head.size, _BAD, "beyond the checkpoint")
        # RFC 9162, section 2.1.3.2
        place, last, found = index, self.head.size - 1, leaf
        for other in self.path(index):
            if place & 1 or place == last:
                found = _node(other, found)
                while place and not place & 1:
                    place, last = place >> 1, last >> 1
            else:
                found = _node(found, other)
            place, last = place >> 1, last >> 1
        return last == 0 and found == self.head.root


def event(wire: Wire, event_id: str) -> tuple[int | None, bytes]:
    """Where the server says that an event stands, and its leaf."""
    body = wire.get(f"/v1/log/events/{event_id}", "application/json")
    said: Any = strict_json(body, "answer_unsigned")
    expect(said.get("event_id") == event_id, _BAD, "another event")
    leaf = unb64u(said.get("leaf_hash"), _BAD)
    expect(len(leaf) == 32, _BAD, "a leaf hash")
    return said.get("index"), leaf
