"""The CRC trailer: four bytes that give the sealed file the CRC-32 of the plain one.

Some applications delete files whose CRC-32 differs. The trailer lies outside every digest.
"""

from __future__ import annotations

import zlib

_POLYNOMIAL = 0xEDB88320
_MASK = 0xFFFFFFFF


def crc_trailer(sealed_crc: int, wanted_crc: int) -> bytes:
    """The four bytes after which the CRC-32 is ``wanted_crc`` when it was ``sealed_crc`` before."""
    state = wanted_crc ^ _MASK
    for _ in range(32):
        state = (state << 1) ^ (_POLYNOMIAL << 1 | 1) if state & 0x80000000 else state << 1
        state &= _MASK
    return (state ^ sealed_crc ^ _MASK).to_bytes(4, "little")


def crc_update(crc: int, data: bytes | bytearray | memoryview) -> int:
    """CRC-32 (as in zip and zlib) continued over ``data``; start with 0."""
    return zlib.crc32(data, crc)
