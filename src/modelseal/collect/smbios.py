"""SMBIOS tables (DSP0134): system UUID and board serial out of the raw bytes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

_SYSTEM, _BOARD, _END = 1, 2, 127
_MAX_STRUCTURES = 4096


@dataclass(frozen=True, slots=True)
class Smbios:
    """What identifies a computer in its tables; None for what they do not say."""

    system_uuid: str | None = None
    board_serial: str | None = None


def parse(tables: bytes) -> Smbios:
    """The values of ``tables`` (the structures, without entry point); odd bytes end the reading."""
    system_uuid: str | None = None
    board_serial: str | None = None
    position = 0
    for _structure in range(_MAX_STRUCTURES):
        if position + 4 > len(tables):
            break
        kind, length = tables[position], tables[position + 1]
        body = tables[position : position + length]
        end = tables.find(b"\x00\x00", position + length)
        if kind == _END or length < 4 or len(body) < length or end < 0:
            break
        texts = tables[position + length : end].split(b"\x00")
        if kind == _SYSTEM and length >= 0x18 and system_uuid is None:
            system_uuid = str(UUID(bytes_le=bytes(body[8:24])))  # section 7.2.1
        elif kind == _BOARD and length >= 8 and board_serial is None:
            board_serial = _text(texts, body[7])
        position = end + 2
    return Smbios(system_uuid, board_serial)


def _text(texts: list[bytes], number: int) -> str | None:
    if not 1 <= number <= len(texts):
        return None
    return texts[number - 1].decode("latin-1")
