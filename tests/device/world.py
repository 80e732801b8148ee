"""Readings and digests for device tests; a cheap stretch in place of 64 MiB of Argon2id."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from modelseal.device import TraitKind, TraitReading, TraitValue
from modelseal.license.claims import TraitDigest

SALT = bytes(range(32))


def reading(kind: str, value: str = "", **fields: object) -> TraitReading:
    return TraitReading(TraitKind(kind), TraitValue((value or kind).encode()), **fields)  # type: ignore[arg-type]


def digest(kind: str, number: int = 1, privileged: bool = False) -> TraitDigest:
    return TraitDigest(kind=kind, digest=number, privileged=privileged)


def cheap(password: bytes, salt: bytes) -> bytes:
    """Stands for Argon2id where a test is about sets, not about cost."""
    return hashlib.blake2b(password, key=salt, digest_size=32).digest()


def counted(calls: list[bytes]) -> Callable[[bytes, bytes], bytes]:
    """A cheap stretch that notes what it was asked."""

    def stretch(password: bytes, salt: bytes) -> bytes:
        calls.append(password)
        return cheap(password, salt)

    return stretch


def noise(seed: int = 0) -> Callable[[int], bytes]:
    """Repeatable bytes in the place of randomness."""
    count = seed * 1000

    def random(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(count.to_bytes(8, "big")).digest(size)

    return random


LAPTOP = [
    reading("disk_serial"),
    reading("mac"),
    reading("machine_id"),
    reading("cpu_class"),
]
SERVER = [
    reading("smbios_uuid", privileged=True),
    reading("board_serial", privileged=True),
    *LAPTOP,
]
