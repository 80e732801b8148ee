"""Big-endian numbers and length-prefixed bytes, read strictly and written."""

from __future__ import annotations

import hashlib

from modelseal.errors import EvidenceInvalid, Misuse
from modelseal.tpm2.wire.codes import DIGEST_NAMES

MAX_SIZED_BYTES = 8192


class Reader:
    """Reads ``data`` from its start; ``EvidenceInvalid`` for whatever is short or too long."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)
        self._at = 0

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        found = self._data[self._at : self._at + length]
        if len(found) != length:
            raise EvidenceInvalid("a TPM structure ends too early")
        self._at += length
        return found

    def u8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Two bytes."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """Four bytes."""
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        """Eight bytes."""
        return int.from_bytes(self.take(8), "big")

    def sized(self, most: int = MAX_SIZED_BYTES) -> bytes:
        """TPM2B: a two-byte length and as many bytes, at most ``most``."""
        length = self.u16()
        if length > most:
            raise EvidenceInvalid("a TPM structure is longer than it may be")
        return self.take(length)

    def rest(self) -> bytes:
        """Whatever is left."""
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Returns when nothing is left."""
        if self._at != len(self._data):
            raise EvidenceInvalid("a TPM structure has bytes behind its end")


def u8(value: int) -> bytes:
    """One byte."""
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    """Two bytes."""
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    """Four bytes."""
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    """Eight bytes."""
    return value.to_bytes(8, "big")


def sized(data: bytes) -> bytes:
    """TPM2B: a two-byte length and ``data``."""
    if len(data) > 0xFFFF:
        raise Misuse("longer than a TPM structure can be")
    return u16(len(data)) + data


def digest(alg: int, *parts: bytes) -> bytes:
    """The hash ``alg`` over ``parts``; ``EvidenceInvalid`` for one that is not used here."""
    name = DIGEST_NAMES.get(alg)
    if name is None:
        raise EvidenceInvalid("a hash that is not used here")
    return hashlib.new(name, b"".join(parts)).digest()
