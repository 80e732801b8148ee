"""What identifies a computer: eight kinds of trait, each read or missing with a reason.

Values are hints beside the device key, never proof. A value is hidden from every print, log and
pickle; only ``TraitValue.reveal`` shows it, and only the rooms ``device`` and ``collect`` call it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from modelseal.errors import Misuse

MAX_VALUE_BYTES = 4096


class TraitKind(StrEnum):
    """The closed list of traits; the order is that of the bits in a wrapped device key."""

    TPM_EK = "tpm_ek"
    SMBIOS_UUID = "smbios_uuid"
    BOARD_SERIAL = "board_serial"
    CLOUD_INSTANCE = "cloud_instance"
    DISK_SERIAL = "disk_serial"
    MAC = "mac"
    MACHINE_ID = "machine_id"
    CPU_CLASS = "cpu_class"


WEIGHTS: dict[TraitKind, int] = {
    TraitKind.TPM_EK: 4,
    TraitKind.SMBIOS_UUID: 3,
    TraitKind.BOARD_SERIAL: 3,
    TraitKind.CLOUD_INSTANCE: 3,
    TraitKind.DISK_SERIAL: 2,
    TraitKind.MAC: 2,
    TraitKind.MACHINE_ID: 2,
    TraitKind.CPU_CLASS: 1,
}
"""How much each kind counts in matching (a plan may set its own)."""

ENTROPY_BITS: dict[TraitKind, int] = {
    TraitKind.TPM_EK: 100,
    TraitKind.SMBIOS_UUID: 100,
    TraitKind.BOARD_SERIAL: 20,
    TraitKind.CLOUD_INSTANCE: 40,
    TraitKind.DISK_SERIAL: 20,
    TraitKind.MAC: 16,
    TraitKind.MACHINE_ID: 100,
    TraitKind.CPU_CLASS: 4,
}
"""Pessimistic bits a thief must guess who has the folder and not the computer."""

MIN_LIVE_TRAITS = 3
"""A device with fewer live traits is *unbound*."""


class Confidence(StrEnum):
    """How sure the collector is that the value belongs to this computer."""

    HIGH = "high"
    LOW = "low"


class MissingWhy(StrEnum):
    """Why a trait has no value. The closed list stands in ``docs/spec/device.md``."""

    ABSENT = "absent"
    EMPTY = "empty"
    UNREADABLE = "unreadable"
    NEEDS_PRIVILEGE = "needs_privilege"
    PLACEHOLDER = "placeholder"
    MALFORMED = "malformed"
    RANDOM = "random"
    LOCALLY_ADMINISTERED = "locally_administered"
    SHARED_BY_IMAGE = "shared_by_image"
    VIRTUAL = "virtual"
    NOT_SUPPORTED = "not_supported"


class TraitValue:
    """The normalised bytes of one trait; printing, copying and pickling never show them."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes | bytearray) -> None:
        """Takes a copy of ``data`` (1 to 4096 bytes); raises ``Misuse`` for another length."""
        if not 1 <= len(data) <= MAX_VALUE_BYTES:
            raise Misuse("a trait value has between 1 and 4096 bytes")
        self._data = bytearray(data)

    def reveal(self) -> bytes:
        """The bytes; ``Misuse`` once ``wipe`` was called."""
        if not self._data:
            raise Misuse("this trait value was wiped")
        return bytes(self._data)

    def wipe(self) -> None:
        """The bytes held here are overwritten and gone; doing it again changes nothing."""
        self._data[:] = bytes(len(self._data))
        self._data.clear()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TraitValue):
            return NotImplemented
        return hmac.compare_digest(self._data, other._data)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "TraitValue(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a trait value cannot be pickled or copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("a trait value cannot be pickled or copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a trait value cannot be pickled or copied")


@dataclass(frozen=True, slots=True, eq=True)
class TraitReading:
    """One value of one kind. ``privileged``: only an administrator can read it here."""

    kind: TraitKind
    value: TraitValue
    confidence: Confidence = Confidence.HIGH
    privileged: bool = False

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class MissingTrait:
    """A kind that was looked for and gave no value, and why."""

    kind: TraitKind
    why: MissingWhy


@dataclass(frozen=True, slots=True)
class Traits:
    """What one reading of a computer found: several readings of a kind are possible.

    A kind stands in ``missing`` only when it has no reading.
    """

    readings: tuple[TraitReading, ...] = ()
    missing: tuple[MissingTrait, ...] = ()

    def wipe(self) -> None:
        """No value is left in these readings."""
        for reading in self.readings:
            reading.value.wipe()


def gather(found: Iterable[TraitReading | MissingTrait]) -> Traits:
    """``found`` in the order of ``TraitKind``: equal values once, one reason per missing kind.

    Of several reasons the first that is not ``absent`` counts; a kind nobody looked for is
    ``not_supported``.
    """
    items = list(found)
    readings: list[TraitReading] = []
    missing: list[MissingTrait] = []
    for kind in TraitKind:
        mine = [r for r in items if isinstance(r, TraitReading) and r.kind == kind]
        for reading in mine:
            if not any(r.kind == kind and r.value == reading.value for r in readings):
                readings.append(reading)
        if not mine:
            missing.append(MissingTrait(kind, _reason(items, kind)))
    return Traits(tuple(readings), tuple(missing))


def _reason(items: list[TraitReading | MissingTrait], kind: TraitKind) -> MissingWhy:
    whys = [m.why for m in items if isinstance(m, MissingTrait) and m.kind == kind]
    telling = [why for why in whys if why != MissingWhy.ABSENT]
    return next(iter(telling or whys), MissingWhy.NOT_SUPPORTED)


def live_kinds(readings: Iterable[TraitReading]) -> frozenset[TraitKind]:
    """The kinds that have a value."""
    return frozenset(reading.kind for reading in readings)
