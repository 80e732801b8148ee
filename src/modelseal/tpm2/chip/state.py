"""What a TPM says of itself without signing it: clock, registers, properties."""

from __future__ import annotations

from collections.abc import Sequence

from modelseal.errors import KeyStoreUnavailable
from modelseal.tpm2.chip.session import PASSWORD, Authorization
from modelseal.tpm2.chip.tpm import Ref, Tpm
from modelseal.tpm2.wire.attest import Clock
from modelseal.tpm2.wire.codec import u16, u32
from modelseal.tpm2.wire.codes import DIGEST_BYTES, Alg, Command, Hierarchy
from modelseal.tpm2.wire.policy import PcrSelection, read_selections, write_selections

_CAP_PROPERTIES = 6
PROPERTY_MANUFACTURER = 0x105
PROPERTY_LOCKOUT_COUNTER = 0x20E
PROPERTY_TRANSIENT_AVAILABLE = 0x207
_CLEAR = 0x0000


def startup(tpm: Tpm) -> None:
    """The TPM works; an emulator started without ``startup-clear`` waits for this."""
    tpm.execute(Command.STARTUP, parameters=u16(_CLEAR))


def shutdown(tpm: Tpm) -> None:
    """An orderly end: the clock is stored, and no dictionary attack is suspected."""
    tpm.execute(Command.SHUTDOWN, parameters=u16(_CLEAR))


def read_clock(tpm: Tpm) -> tuple[int, Clock]:
    """Milliseconds since power came, and the clock with its counters; not signed."""
    reader = tpm.execute(Command.READ_CLOCK).parameters
    return reader.u64(), Clock.read(reader)


def clock_set(tpm: Tpm, milliseconds: int, auth: Authorization = PASSWORD) -> None:
    """The clock says ``milliseconds``; a TPM refuses to set it back."""
    owner = Ref.fixed(Hierarchy.OWNER)
    tpm.execute(Command.CLOCK_SET, (owner,), milliseconds.to_bytes(8, "big"), (auth,))


def clock_rate_adjust(tpm: Tpm, step: int, auth: Authorization = PASSWORD) -> None:
    """The clock runs a little slower (-3 to -1) or faster (1 to 3), as its owner wants it."""
    body = step.to_bytes(1, "big", signed=True)
    tpm.execute(Command.CLOCK_RATE_ADJUST, (Ref.fixed(Hierarchy.OWNER),), body, (auth,))


def read_pcrs(tpm: Tpm, selections: Sequence[PcrSelection]) -> dict[tuple[int, int], bytes]:
    """The values by (bank, register); ``KeyStoreUnavailable`` when the TPM lacks one.

    A TPM answers eight registers at a time: the rest is asked again.
    """
    wanted = {(each.bank, number) for each in selections for number in each.registers}
    found: dict[tuple[int, int], bytes] = {}
    while wanted - set(found):
        left = _selections(wanted - set(found))
        reader = tpm.execute(Command.PCR_READ, parameters=write_selections(left)).parameters
        reader.u32()
        told = [
            (each.bank, number) for each in read_selections(reader) for number in each.registers
        ]
        values = [reader.sized(64) for _ in range(min(reader.u32(), 16))]
        if not told or len(told) != len(values):
            raise KeyStoreUnavailable("the TPM has no such PCR bank")
        found.update(zip(told, values, strict=True))
    return found


def extend_pcr(tpm: Tpm, register: int, value: bytes, bank: int = Alg.SHA256) -> None:
    """The register's new value is the hash over its old one and ``value``."""
    if len(value) != DIGEST_BYTES[bank]:
        raise KeyStoreUnavailable("a PCR is extended by a digest of its bank")
    body = u32(1) + u16(bank) + value
    tpm.execute(Command.PCR_EXTEND, (Ref.fixed(register),), body, (PASSWORD,))


def get_random(tpm: Tpm, length: int) -> bytes:
    """At most 32 random bytes of the TPM's own."""
    return tpm.execute(Command.GET_RANDOM, parameters=u16(length)).parameters.sized(64)


def get_property(tpm: Tpm, number: int) -> int | None:
    """One TPM_PT, None when the TPM does not tell it."""
    body = u32(_CAP_PROPERTIES) + u32(number) + u32(1)
    reader = tpm.execute(Command.GET_CAPABILITY, parameters=body).parameters
    reader.u8(), reader.u32()
    if not reader.u32():
        return None
    told, value = reader.u32(), reader.u32()
    return value if told == number else None


def clear(tpm: Tpm, auth: Authorization = PASSWORD) -> None:
    """Every key of the owner's hierarchy is gone for ever."""
    tpm.execute(Command.CLEAR, (Ref.fixed(Hierarchy.LOCKOUT),), b"", (auth,))


def _selections(wanted: set[tuple[int, int]]) -> list[PcrSelection]:
    banks = sorted({bank for bank, _number in wanted})
    return [
        PcrSelection(bank, tuple(sorted(number for at, number in wanted if at == bank)))
        for bank in banks
    ]
