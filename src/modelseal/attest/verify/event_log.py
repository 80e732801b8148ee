"""Measured-boot event logs: the crypto-agile TCG log of a TPM, and the CCEL of a TDX guest.

A log proves nothing by itself. Replayed, it has to give the registers that the hardware signed;
then its digests are what was measured, in that order. The text beside a digest is believed only
where the digest is the hash of it (``facts``): the rest is a remark that anybody could have edited.

Registers are PCRs in a TPM's log. In a CCEL they are the indices of UEFI: 0 is MRTD, n is RTMR n-1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from modelseal.errors import EvidenceInvalid

MAX_LOG_BYTES = 4 << 20
MAX_EVENTS = 16384
MAX_REGISTER = 31
_ALGORITHMS = {0x04: "sha1", 0x0B: "sha256", 0x0C: "sha384", 0x0D: "sha512", 0x12: "sm3"}
_SIZES = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64, "sm3": 32}
_SPEC_ID = b"Spec ID Event03\0"
_LOCALITY = b"StartupLocality\0"
NO_ACTION, SEPARATOR, VARIABLE = 0x3, 0x4, 0x80000001
_SEPARATION = bytes(4)
_GLOBAL_VARIABLE = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
_GRUB_KERNEL = b"kernel_cmdline: "
_MAX_TEXT = 4096
_MAX_LINES = 16


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log: what was extended into which register, and a remark beside it."""

    register: int
    type: int
    digests: Mapping[str, bytes]
    data: bytes

    def is_hash_of(self, algorithm: str, data: bytes) -> bool:
        """True when the digest that was extended is the hash of ``data``."""
        return self.digests.get(algorithm) == hashlib.new(algorithm, data).digest()


@dataclass(frozen=True, slots=True)
class EventLog:
    """A parsed log. ``algorithms`` are those of which every event has a digest."""

    events: tuple[Event, ...]
    algorithms: tuple[str, ...]
    locality: int

    def replay(self, algorithm: str) -> dict[int, bytes]:
        """The registers after all events, by index; untouched registers are left out.

        ``EvidenceInvalid`` when the log has no digests of ``algorithm``.
        """
        if algorithm not in self.algorithms or algorithm == "sm3":
            _refuse(f"it has no {algorithm} digests")
        registers: dict[int, bytes] = {}
        if self.locality:
            registers[0] = bytes(_SIZES[algorithm] - 1) + bytes([self.locality])
        for event in self.events:
            if event.type == NO_ACTION:
                continue
            before = registers.get(event.register, bytes(_SIZES[algorithm]))
            extended = hashlib.new(algorithm, before + event.digests[algorithm])
            registers[event.register] = extended.digest()
        return registers

    def facts(self, algorithm: str, *, firmware_register: int = 7) -> dict[str, Any]:
        """What the log proves once its replay has matched, as JSON values.

        ``secure_boot`` is what firmware measured into ``firmware_register`` (7 of a TPM, 1 of a
        CCEL) before its separator, thus before it ran anything else; None where that is not
        proved. ``kernel_command_lines`` were measured at some time, by whomever: whoever controls
        the system can measure another line later and spoil the text of the first. To demand one,
        compare the register.
        """
        extended = [event for event in self.events if event.type != NO_ACTION]
        lines = [line for event in extended for line in _kernel_lines(event, algorithm)]
        return {
            "events": len(extended),
            "secure_boot": _secure_boot(extended, algorithm, firmware_register),
            "kernel_command_lines": lines[:_MAX_LINES],
        }


def read(data: bytes) -> EventLog:
    """The log in ``data``. Padding of FF or 00 may fill up the buffer behind it.

    ``EvidenceInvalid`` for a log that is cut off, not crypto-agile or longer than the limits.
    """
    if len(data) > MAX_LOG_BYTES:
        _refuse(f"longer than {MAX_LOG_BYTES} bytes")
    at, sizes = _header(data)
    events: list[Event] = []
    locality = 0
    end = _end(data)
    while at < end and not _is_filler(data, at):
        event, at = _event(data, at, sizes)
        events.append(event)
        if len(events) > MAX_EVENTS:
            _refuse(f"more than {MAX_EVENTS} events")
        if event.type == NO_ACTION and event.data.startswith(_LOCALITY):
            locality = _locality(event)
    return EventLog(tuple(events), tuple(sizes), locality)


def _header(data: bytes) -> tuple[int, dict[str, int]]:
    """The first event, in the old form, which says how the others are written."""
    register, kind = _u32(data, 0), _u32(data, 4)
    size = _u32(data, 28)
    spec = _cut(data, 32, size)
    if register > MAX_REGISTER or kind != NO_ACTION or not spec.startswith(_SPEC_ID):
        _refuse("not a crypto-agile log")
    count = _u32(spec, 24)
    if not 1 <= count <= len(_ALGORITHMS):
        _refuse("another number of algorithms")
    sizes: dict[str, int] = {}
    for place in range(count):
        entry = _cut(spec, 28 + 4 * place, 4)
        name = _ALGORITHMS.get(int.from_bytes(entry[:2], "little"))
        if name is None or name in sizes or _SIZES[name] != int.from_bytes(entry[2:], "little"):
            _refuse("an algorithm that is not known")
        sizes[name] = _SIZES[name]
    vendor = 28 + 4 * count
    if len(spec) != vendor + 1 + _cut(spec, vendor, 1)[0]:
        _refuse("a header of another length")
    return 32 + size, sizes


def _event(data: bytes, at: int, sizes: Mapping[str, int]) -> tuple[Event, int]:
    register, kind, count = (_u32(data, at + 4 * place) for place in range(3))
    at += 12
    if register > MAX_REGISTER or count != len(sizes):
        _refuse("an event of another register or number of digests")
    digests: dict[str, bytes] = {}
    for _ in range(count):
        name = _ALGORITHMS.get(int.from_bytes(_cut(data, at, 2), "little"), "")
        if name not in sizes or name in digests:
            _refuse("a digest of another algorithm")
        digests[name] = _cut(data, at + 2, sizes[name])
        at += 2 + sizes[name]
    size = _u32(data, at)
    return Event(register, kind, digests, _cut(data, at + 4, size)), at + 4 + size


def _end(data: bytes) -> int:
    """Where padding begins. An event never begins with FFFFFFFF, and ends in its own length."""
    return len(data.rstrip(b"\xff")) if data.endswith(b"\xff" * 4) else len(data)


def _is_filler(data: bytes, at: int) -> bool:
    return not any(data[at : at + 12]) and not any(data[at:])


def _locality(event: Event) -> int:
    value = event.data[len(_LOCALITY) :]
    if len(value) != 1 or value[0] > 4 or event.register != 0:
        _refuse("a startup locality of another form")
    return value[0]


def _secure_boot(events: list[Event], algorithm: str, register: int) -> bool | None:
    """Types and texts are not measured, digests and their order within a register are."""
    for event in events:
        if event.register != register:
            continue
        if event.is_hash_of(algorithm, _SEPARATION):
            break
        variable = _variable(event.data)
        if variable is not None and variable[:2] == (_GLOBAL_VARIABLE, "SecureBoot"):
            return variable[2] == b"\x01" if event.is_hash_of(algorithm, event.data) else None
    return None


def _kernel_lines(event: Event, algorithm: str) -> list[str]:
    """The kernel's command line as GRUB (text) or systemd-stub (UTF-16) measured it."""
    if event.data.startswith(_GRUB_KERNEL):
        text = event.data[len(_GRUB_KERNEL) :].rstrip(b"\0")
        if event.is_hash_of(algorithm, text):
            return [text.decode("utf-8", "replace")[:_MAX_TEXT]]
    elif event.register == 12 and event.is_hash_of(algorithm, event.data):
        return [event.data.decode("utf-16-le", "replace").rstrip("\0")[:_MAX_TEXT]]
    return []


def _variable(data: bytes) -> tuple[bytes, str, bytes] | None:
    """Namespace, name and value of a UEFI_VARIABLE_DATA; None when it is none."""
    if len(data) < 32:
        return None
    name_length = int.from_bytes(data[16:24], "little")
    value_length = int.from_bytes(data[24:32], "little")
    if name_length > 1024 or len(data) != 32 + 2 * name_length + value_length:
        return None
    split = 32 + 2 * name_length
    return data[:16], data[32:split].decode("utf-16-le", "replace"), data[split:]


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(_cut(data, at, 4), "little")


def _cut(data: bytes, at: int, size: int) -> bytes:
    if size > len(data) - at or at < 0:
        _refuse("cut off")
    return data[at : at + size]


def _refuse(why: str) -> NoReturn:
    raise EvidenceInvalid(f"event log: {why}")
