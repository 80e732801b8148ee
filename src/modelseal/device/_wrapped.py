"""The bytes of a wrapped device key (``docs/spec/device.md``): written and read, nothing opened.

``magic (8) | version (1) | deterministic CBOR map | SHA-256 of all before (32)``. The digest only
tells damage from a changed computer; what is authentic is decided by AES-GCM.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from modelseal import cbor
from modelseal.device.trait_sets import KINDS
from modelseal.errors import StateDamaged

MAGIC = b"\x89MSD\r\n\x1a\n"
VERSION = 1
PROFILE_NONE = 0
PROFILE_RFC_9106_LOW_MEMORY = 1
SALT_BYTES = 32
SLOT_BYTES = 48
MAX_SLOTS = 128
MAX_SECRET_BYTES = 65536
MAX_FILE_BYTES = 131072
_DIGEST_BYTES = 32
_PREFIX = MAGIC + bytes([VERSION])


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The parsed file. ``slots``: mask of a trait set and the content key wrapped under it."""

    profile: int
    salt: bytes
    enrolled: int
    slots: tuple[tuple[int, bytes], ...]
    payload: bytes

    @property
    def copyable(self) -> bool:
        """True when the key file opens on any computer."""
        return self.slots[0][0] == 0


def head(wrapped: Wrapped) -> bytes:
    """What the payload is bound to: everything but the payload."""
    return _PREFIX + cbor.encode(_fields(wrapped, b""))


def dump(wrapped: Wrapped) -> bytes:
    """The file; ``load`` undoes it."""
    body = _PREFIX + cbor.encode(_fields(wrapped, wrapped.payload))
    return body + hashlib.sha256(body).digest()


def load(data: bytes) -> Wrapped:
    """The file's parts; raises ``StateDamaged`` for anything ``dump`` did not write."""
    if len(data) > MAX_FILE_BYTES or not data.startswith(MAGIC):
        raise StateDamaged("not a wrapped device key")
    if data[len(MAGIC) : len(_PREFIX)] != bytes([VERSION]):
        raise StateDamaged("a wrapped device key of an unknown version")
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if len(body) < len(_PREFIX) or hashlib.sha256(body).digest() != digest:
        raise StateDamaged("the wrapped device key is damaged")
    try:
        fields = cbor.decode(body[len(_PREFIX) :], max_bytes=MAX_FILE_BYTES)
    except cbor.CborInvalid as error:
        raise StateDamaged(f"the wrapped device key is malformed: {error.detail}") from None
    return _check(fields)


def _fields(wrapped: Wrapped, payload: bytes) -> dict[int, object]:
    return {
        1: wrapped.profile,
        2: wrapped.salt,
        3: wrapped.enrolled,
        4: [[mask, slot] for mask, slot in wrapped.slots],
        5: payload,
    }


def _check(fields: object) -> Wrapped:
    if not isinstance(fields, dict) or set(fields) != {1, 2, 3, 4, 5}:
        raise StateDamaged("the wrapped device key has other fields")
    profile, salt, enrolled, slots, payload = (fields[number] for number in range(1, 6))
    shapes = (
        profile in (PROFILE_NONE, PROFILE_RFC_9106_LOW_MEMORY) and not isinstance(profile, bool),
        isinstance(salt, bytes) and len(salt) == SALT_BYTES,
        _is_mask(enrolled),
        isinstance(slots, list) and 1 <= len(slots) <= MAX_SLOTS,
        isinstance(payload, bytes) and len(payload) <= MAX_FILE_BYTES,
    )
    if not all(shapes):
        raise StateDamaged("a field of the wrapped device key has another type or size")
    return Wrapped(profile, salt, enrolled, tuple(_check_slots(slots, enrolled)), payload)


def _check_slots(slots: list[object], enrolled: int) -> list[tuple[int, bytes]]:
    checked: list[tuple[int, bytes]] = []
    for entry in slots:
        if not isinstance(entry, list) or len(entry) != 2:
            raise StateDamaged("a slot of the wrapped device key is no pair")
        mask, slot = entry
        if not _is_mask(mask) or mask & ~enrolled or (mask == 0 and len(slots) > 1):
            raise StateDamaged("a slot of the wrapped device key names no set of enrolled traits")
        if not isinstance(slot, bytes) or len(slot) != SLOT_BYTES:
            raise StateDamaged("a slot of the wrapped device key has another size")
        checked.append((mask, slot))
    if len({mask for mask, _slot in checked}) != len(checked):
        raise StateDamaged("a set of traits stands twice")
    return checked


def _is_mask(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << len(KINDS)
