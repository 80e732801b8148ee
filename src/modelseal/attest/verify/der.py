"""A strict reader of DER (X.690): every length definite, minimal and inside what encloses it.

Values are read one level at a time, so nothing here recurses and nothing is read twice. Whatever is
not DER raises ``EvidenceInvalid``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from modelseal.errors import EvidenceInvalid

MAX_ELEMENTS = 4096
UNIVERSAL, APPLICATION, CONTEXT, PRIVATE = 0, 1, 2, 3
BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID, ENUMERATED = 1, 2, 3, 4, 5, 6, 10
UTF8, SEQUENCE, SET, UTC_TIME, GENERALIZED_TIME = 12, 16, 17, 23, 24
_CONSTRUCTED = (SEQUENCE, SET)


@dataclass(frozen=True, slots=True)
class Element:
    """One tagged value: its class and number, whether it holds others, its content, its bytes."""

    tag_class: int
    constructed: bool
    number: int
    content: bytes
    raw: bytes

    def is_(self, number: int, tag_class: int = UNIVERSAL) -> bool:
        """True when this is the tag ``number`` of ``tag_class``."""
        return self.number == number and self.tag_class == tag_class

    def members(self) -> tuple[Element, ...]:
        """The elements inside a constructed element."""
        if not self.constructed:
            _refuse("a value without members")
        return elements(self.content)

    def sequence(self) -> tuple[Element, ...]:
        """The members of a SEQUENCE."""
        self._expect(SEQUENCE)
        return self.members()

    def set_(self) -> tuple[Element, ...]:
        """The members of a SET. Their order is not judged: real devices write it as it comes."""
        self._expect(SET)
        return self.members()

    def explicit(self, number: int) -> Element:
        """The one element inside the explicit context tag ``number``."""
        self._expect(number, CONTEXT)
        return self.inner()

    def inner(self) -> Element:
        """The one element inside a constructed element."""
        found = self.members()
        if len(found) != 1:
            _refuse("an explicit tag holds one value")
        return found[0]

    def integer(self) -> int:
        """The value of an INTEGER."""
        self._expect(INTEGER)
        return _integer(self.content)

    def enumerated(self) -> int:
        """The value of an ENUMERATED."""
        self._expect(ENUMERATED)
        return _integer(self.content)

    def boolean(self) -> bool:
        """The value of a BOOLEAN."""
        self._expect(BOOLEAN)
        if self.content not in (b"\x00", b"\xff"):
            _refuse("a BOOLEAN is 00 or FF")
        return self.content == b"\xff"

    def octets(self) -> bytes:
        """The value of an OCTET STRING."""
        self._expect(OCTET_STRING)
        return self.content

    def bits(self) -> bytes:
        """The value of a BIT STRING that is a whole number of bytes."""
        self._expect(BIT_STRING)
        if not self.content or self.content[0] != 0:
            _refuse("a BIT STRING of whole bytes is needed")
        return self.content[1:]

    def oid(self) -> str:
        """The value of an OBJECT IDENTIFIER, dotted."""
        self._expect(OID)
        return _oid(self.content)

    def null(self) -> None:
        """Returns when this is NULL."""
        self._expect(NULL)
        if self.content:
            _refuse("NULL has no content")

    def instant(self) -> datetime:
        """The value of a UTCTime or GeneralizedTime as RFC 5280 allows them."""
        if self.is_(UTC_TIME) and not self.constructed:
            return _instant(self.content, 13, lambda year: year + (2000 if year < 50 else 1900))
        self._expect(GENERALIZED_TIME)
        return _instant(self.content, 15, lambda year: year)

    def _expect(self, number: int, tag_class: int = UNIVERSAL) -> None:
        if not self.is_(number, tag_class):
            _refuse(f"tag {self.number} where {number} is needed")
        if self.constructed != (tag_class == CONTEXT or number in _CONSTRUCTED):
            _refuse("a tag of the wrong form")


def read(data: bytes, *, max_bytes: int = 65536) -> Element:
    """The one element that ``data`` is."""
    if len(data) > max_bytes:
        _refuse(f"longer than {max_bytes} bytes")
    found = elements(bytes(data))
    if len(found) != 1:
        _refuse("not one value")
    return found[0]


def elements(data: bytes) -> tuple[Element, ...]:
    """The elements of ``data``, one after the other and nothing else."""
    return tuple(_walk(data))


def _walk(data: bytes) -> Iterator[Element]:
    at = count = 0
    while at < len(data):
        start = at
        first = data[at]
        number, at = _number(data, at)
        length, at = _length(data, at)
        if length > len(data) - at:
            _refuse("a length beyond the end")
        count += 1
        if count > MAX_ELEMENTS:
            _refuse(f"more than {MAX_ELEMENTS} values")
        end = at + length
        yield Element(first >> 6, bool(first & 0x20), number, data[at:end], data[start:end])
        at = end


def _number(data: bytes, at: int) -> tuple[int, int]:
    number = data[at] & 0x1F
    at += 1
    if number < 0x1F:
        return number, at
    number = 0
    for index in range(4):
        byte = _byte(data, at + index)
        if index == 0 and byte == 0x80:
            _refuse("a tag number with leading zeros")
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            if number < 0x1F:
                _refuse("a short tag number in the long form")
            return number, at + index + 1
    return _refuse("a tag number beyond 28 bits")


def _length(data: bytes, at: int) -> tuple[int, int]:
    first = _byte(data, at)
    at += 1
    if first < 0x80:
        return first, at
    size = first & 0x7F
    if not 1 <= size <= 4:
        _refuse("a length that is indefinite or beyond 32 bits")
    if size > len(data) - at:
        _refuse("cut off inside a length")
    length = int.from_bytes(data[at : at + size], "big")
    if length < 0x80 or length < 1 << 8 * (size - 1):
        _refuse("a length that is not minimal")
    return length, at + size


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        _refuse("cut off inside a tag")
    return data[at]


def _integer(content: bytes) -> int:
    if not content:
        _refuse("an empty INTEGER")
    if len(content) > 1 and content[0] in (0, 0xFF) and content[0] >> 7 == content[1] >> 7:
        _refuse("an INTEGER that is not minimal")
    return int.from_bytes(content, "big", signed=True)


def _oid(content: bytes) -> str:
    if not 1 <= len(content) <= 64 or content[-1] & 0x80:
        _refuse("an OBJECT IDENTIFIER of no or too many bytes")
    arcs: list[int] = []
    value, fresh = 0, True
    for byte in content:
        if fresh and byte == 0x80:
            _refuse("an arc with leading zeros")
        value = value << 7 | byte & 0x7F
        fresh = not byte & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _instant(content: bytes, size: int, century: Callable[[int], int]) -> datetime:
    text = content.decode("ascii", "replace")
    if len(text) != size or text[-1] != "Z" or not (text[:-1].isascii() and text[:-1].isdigit()):
        _refuse("a time that is not UTC to the second")
    digits, rest = text[: size - 11], text[size - 11 : -1]
    year = century(int(digits))
    month, day, hour, minute, second = (int(rest[i : i + 2]) for i in range(0, 10, 2))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return _refuse("a time that does not exist")


def _refuse(why: str) -> NoReturn:
    raise EvidenceInvalid(f"DER: {why}")
