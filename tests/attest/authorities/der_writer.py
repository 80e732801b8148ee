"""A writer of DER for tests: whatever it is told, right or wrong."""

from __future__ import annotations

from datetime import UTC, datetime


def tlv(tag: bytes | int, content: bytes) -> bytes:
    """One value with a minimal length."""
    head = bytes([tag]) if isinstance(tag, int) else tag
    size = len(content)
    if size < 0x80:
        return head + bytes([size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return head + bytes([0x80 | len(length)]) + length + content


def integer(value: int, tag: int = 0x02) -> bytes:
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def enumerated(value: int) -> bytes:
    return integer(value, 0x0A)


def boolean(value: bool) -> bytes:
    return tlv(0x01, b"\xff" if value else b"\x00")


def octets(value: bytes) -> bytes:
    return tlv(0x04, value)


def bits(value: bytes) -> bytes:
    return tlv(0x03, b"\0" + value)


def null() -> bytes:
    return b"\x05\x00"


def sequence(*members: bytes) -> bytes:
    return tlv(0x30, b"".join(members))


def set_(*members: bytes) -> bytes:
    return tlv(0x31, b"".join(members))


def explicit(number: int, content: bytes) -> bytes:
    """A context tag, in the long form from 31 on, as key descriptions use it."""
    if number < 31:
        return tlv(0xA0 | number, content)
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.insert(0, number & 0x7F | 0x80)
    return tlv(bytes([0xBF, *digits]), content)


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = b""
    for arc in (first * 40 + second, *rest):
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.insert(0, arc & 0x7F | 0x80)
        out += bytes(digits)
    return tlv(0x06, out)


def text(value: str) -> bytes:
    return tlv(0x0C, value.encode())


def instant(at: datetime) -> bytes:
    utc = at.astimezone(UTC)
    if utc.year < 2050:
        return tlv(0x17, utc.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(0x18, utc.strftime("%Y%m%d%H%M%SZ").encode())
