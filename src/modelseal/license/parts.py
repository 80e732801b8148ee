"""A file as numbered lines of text, for QR codes and the telephone of last resort. Pure.

``join(split(data)) == data`` in any order, with repetitions. Each line stands alone: set, number,
count and a checksum of its own, in the alphabet that QR codes hold most densely. Normative:
``docs/spec/air-gap.md``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterable

from modelseal.errors import Misuse, PartDamaged, PartForeign, PartsMissing

PREFIX = "MSQ1"
MAX_PARTS = 999
MAX_TEXT_BYTES = 4 * 1024 * 1024
# Version 13 at level M: what a phone reads from a screen or a sheet without a second try.
PART_SYMBOLS = 420
_SET_SYMBOLS = 8
_SUM_SYMBOLS = 7
_LINE = re.compile(
    rf"{PREFIX}:([A-Z2-7]{{8}}):([0-9]{{1,3}})/([0-9]{{1,3}}):([A-Z2-7]{{7}}):([A-Z2-7]{{1,4096}})"
)


def split(data: bytes, *, symbols: int = PART_SYMBOLS) -> list[str]:
    """``data`` as lines of at most ``symbols`` symbols of content each."""
    body = _b32(zlib.compress(data, 9))
    pieces = [body[at : at + symbols] for at in range(0, len(body), symbols)]
    if not data or len(pieces) > MAX_PARTS:
        raise Misuse("too much for QR codes; carry the file instead", limit=MAX_PARTS)
    name = _set_of(data)
    return [
        f"{PREFIX}:{name}:{number}/{len(pieces)}:{_sum(name, number, len(pieces), piece)}:{piece}"
        for number, piece in enumerate(pieces, start=1)
    ]


def are_parts(data: bytes) -> bool:
    """True when the first line that is not empty begins as a part."""
    return data.lstrip()[: len(PREFIX) + 1].upper() == f"{PREFIX}:".encode()


def join(data: bytes, *, max_bytes: int) -> bytes:
    """What the lines in ``data`` were made of, at most ``max_bytes``.

    Raises ``PartDamaged`` naming the line, ``PartForeign`` when two sets are mixed,
    ``PartsMissing`` naming the numbers that are not there.
    """
    if len(data) > MAX_TEXT_BYTES:
        raise PartDamaged(f"longer than {MAX_TEXT_BYTES} bytes")
    name, count, pieces = "", 0, dict[int, str]()
    for line, text in _lines(data):
        found = _LINE.fullmatch(text)
        if found is None:
            raise PartDamaged("not a code of modelseal, or cut off", line=line)
        number, total = int(found[2]), int(found[3])
        if found[4] != _sum(found[1], number, total, found[5]) or not 1 <= number <= total:
            raise PartDamaged("its checksum does not hold", line=line, number=number)
        if name and (found[1], total) != (name, count):
            raise PartForeign("it belongs to another set", line=line, set=found[1], wanted=name)
        name, count = found[1], total
        pieces[number] = found[5]
    missing = [number for number in range(1, count + 1) if number not in pieces]
    if missing or not pieces:
        shown = ", ".join(str(number) for number in missing[:20]) or "1"
        raise PartsMissing("not all are here", missing=shown, count=count)
    whole = _inflate("".join(pieces[number] for number in sorted(pieces)), max_bytes)
    if _set_of(whole) != name:
        raise PartDamaged("the set as a whole does not hold")
    return whole


def label(part: str) -> str:
    """What a person reads beside the code: ``ABCDEFGH 2 of 5``."""
    _prefix, name, numbers, *_rest = part.split(":")
    number, _, count = numbers.partition("/")
    return f"{name} {number} of {count}"


def _lines(data: bytes) -> Iterable[tuple[int, str]]:
    """Number and text of every line that is not empty, without white space, in upper case."""
    for number, raw in enumerate(data.splitlines(), start=1):
        text = "".join(raw.decode("ascii", "replace").split()).upper()
        if text:
            yield number, text


def _set_of(data: bytes) -> str:
    return _b32(hashlib.sha256(b"modelseal parts\x00" + data).digest()[:5])


def _sum(name: str, number: int, count: int, piece: str) -> str:
    digest = hashlib.sha256(f"{PREFIX}:{name}:{number}/{count}:{piece}".encode()).digest()
    return _b32(digest[:5])[:_SUM_SYMBOLS]


def _inflate(body: str, max_bytes: int) -> bytes:
    machine = zlib.decompressobj()
    try:
        packed = base64.b32decode(body + "=" * (-len(body) % 8))
        whole = machine.decompress(packed, max_bytes + 1)
    except (binascii.Error, zlib.error):
        raise PartDamaged("the set as a whole does not hold") from None
    if len(whole) > max_bytes or not machine.eof or machine.unused_data:
        raise PartDamaged("the set as a whole is too long, cut or has something behind it")
    return whole


def _b32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=")
