"""The file of a backup: a line that says what it is, then compressed lines, the last one a seal.

    modelseal-store-backup 1 LF, zlib(head LF, rows LF ..., {"lines": n, "sha256": hex} LF)

Normative: ``docs/spec/store-backup.md``.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import BinaryIO

import msgspec

from modelseal.errors import BackupInvalid

MAGIC = b"modelseal-store-backup 1\n"
MAX_LINE_BYTES = 64 << 20
_PIECE = 1 << 18


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose store it was, of which schema, when, and how far its log was signed."""

    product: str
    server_id: str
    schema: str
    snapshot_at: datetime
    log_size: int


class _Seal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lines: int
    sha256: str


def write(out: BinaryIO, head: Head, lines: Iterable[bytes]) -> int:
    """How many lines of rows were written to ``out``, with head and seal round them."""
    packer, digest, count = zlib.compressobj(6), hashlib.sha256(), 0

    def put(line: bytes) -> None:
        digest.update(line + b"\n")
        out.write(packer.compress(line + b"\n"))

    out.write(MAGIC)
    put(msgspec.json.encode(head))
    for line in lines:
        put(line)
        count += 1
    put(msgspec.json.encode(_Seal(count, digest.hexdigest())))
    out.write(packer.flush())
    return count


def check(file: BinaryIO) -> Head:
    """The head of a file that is whole: nothing missing, nothing changed, nothing after the end.

    Raises ``BackupInvalid``. What is whole may still be forged: no key signs a backup.
    """
    lines, digest, count = _lines(file), hashlib.sha256(), 0
    first = next(lines, b"")
    try:
        head = msgspec.json.decode(first, type=Head, strict=True)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise BackupInvalid("the file has no head") from None
    if head.snapshot_at.tzinfo is None or not 0 <= head.log_size < 1 << 53:
        raise BackupInvalid("the head makes no sense")
    digest.update(first + b"\n")
    before = b""
    for line in lines:
        if before:
            digest.update(before + b"\n")
            count += 1
        before = line
    try:
        seal = msgspec.json.decode(before, type=_Seal, strict=True)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise BackupInvalid("the end of the file is missing") from None
    if seal != _Seal(count, digest.hexdigest()):
        raise BackupInvalid("the file was changed")
    return head


def rows(file: BinaryIO) -> Iterator[bytes]:
    """The lines between head and seal of a file that ``check`` found whole."""
    lines = _lines(file)
    next(lines, None)
    before = next(lines, None)
    for line in lines:
        if before is not None:
            yield before
        before = line


def _lines(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        raise BackupInvalid("not a backup of a store, or of a later release")
    packer, rest = zlib.decompressobj(), b""
    try:
        while piece := file.read(_PIECE):
            rest += packer.decompress(piece, MAX_LINE_BYTES)
            while packer.unconsumed_tail:
                *whole, rest = _split(rest)
                yield from whole
                rest += packer.decompress(packer.unconsumed_tail, MAX_LINE_BYTES)
            *whole, rest = _split(rest)
            yield from whole
    except zlib.error:
        raise BackupInvalid("the file is damaged") from None
    if not packer.eof or packer.unused_data or rest:
        raise BackupInvalid("the file is cut off or goes on after its end")


def _split(data: bytes) -> list[bytes]:
    found = data.split(b"\n")
    if len(found[-1]) > MAX_LINE_BYTES:
        raise BackupInvalid("a line is too long")
    return found
