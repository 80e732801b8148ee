"""``lease.key``: the nonce and KEM private key of the current lease and of the pending request.

Encrypted under the device's storage key (AES-256-GCM, fresh nonce per write), which itself lies
trait-wrapped in ``device.key``; never in clear on a disk. ``seal`` and ``open_`` undo each other.
Normative: ``docs/spec/state-folder.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modelseal.client.boxed import Kind
from modelseal.client.tpm import SEED_BYTES, HardwareKey
from modelseal.errors import StateDamaged
from modelseal.wiping import wipe_bytes

FILE_NAME = "lease.key"
MAX_BYTES = 64 * 1024
MAGIC = b"\x89MSK\r\n\x1a\n"
VERSION = 1
_KEM_BYTES = 96
_HASH_BYTES = 32
_KIND = Kind(FILE_NAME, MAGIC, VERSION, MAX_BYTES)


@dataclass(frozen=True, slots=True)
class LeaseSecret:
    """What opens one lease: the nonce it echoes and the KEM private key (96 bytes).

    ``hardware``: and the TPM's key, without which the other opens nothing.
    """

    nonce: str
    kem: bytes = field(repr=False)
    hardware: HardwareKey | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A question that was, or may have been, put to the server and is not answered yet.

    ``ask`` is a keyed hash of what was asked: only the same question is repeated under the same
    nonce. ``seq`` and ``prev`` are what the device held when it asked.
    """

    op: str
    nonce: str
    kem: bytes = field(repr=False)
    seq: int
    prev: str | None
    ask: bytes = field(repr=False)
    hardware: HardwareKey | None = None

    def secret(self) -> LeaseSecret:
        """What opens the lease that answers this question."""
        return LeaseSecret(self.nonce, self.kem, self.hardware)


@dataclass(frozen=True, slots=True)
class LeaseKeys:
    """The contents of ``lease.key``.

    ``coming`` stands there while a lease under a code replaces the current one: whichever of the
    two is in ``lease.jwt`` opens.
    """

    current: LeaseSecret | None = None
    pending: Pending | None = None
    coming: LeaseSecret | None = None

    def wipe(self) -> None:
        """The KEM keys, which nobody else has, hold zeros."""
        for known in (self.current, self.pending, self.coming):
            if known is not None:
                wipe_bytes(known.kem)

    def for_nonce(self, nonce: str) -> LeaseSecret | None:
        """The secret of the lease that echoes ``nonce``: the current or just answered one."""
        for known in (self.current, self.coming):
            if known is not None and known.nonce == nonce:
                return known
        if self.pending is not None and self.pending.nonce == nonce:
            return self.pending.secret()
        return None


def seal(
    keys: LeaseKeys, storage_key: bytes, *, device: str, random: Callable[[int], bytes]
) -> bytes:
    """The file's bytes; ``device`` (the identity key's thumbprint) is bound to them."""
    current, pending = keys.current, keys.pending
    value: dict[str, Any] = {
        "current": None if current is None else [current.nonce, current.kem],
        "pending": None
        if pending is None
        else [pending.op, pending.nonce, pending.kem, pending.seq, pending.prev, pending.ask],
    }
    if keys.coming is not None:
        value["coming"] = [keys.coming.nonce, keys.coming.kem]
    for name, known in (("current", current), ("pending", pending)):
        if known is not None and known.hardware is not None:
            value[f"{name}_hardware"] = _numbers(known.hardware)
    return _KIND.seal(value, storage_key, device=device, random=random)


def open_(data: bytes, storage_key: bytes, *, device: str, path: str = FILE_NAME) -> LeaseKeys:
    """The contents of ``data``; ``StateDamaged`` unless this device sealed exactly these bytes."""
    value = _KIND.open_(data, storage_key, device=device, path=path)
    try:
        return LeaseKeys(
            _current(value["current"], value.get("current_hardware")),
            _pending(value["pending"], value.get("pending_hardware")),
            _current(value.get("coming")),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise StateDamaged("altered, or another device's", path=path) from None


def _numbers(key: HardwareKey) -> list[Any]:
    return [key.seed, key.clock_limit_ms, key.reset_limit, key.x, key.y]


def _hardware(value: Any) -> HardwareKey | None:
    if value is None:
        return None
    seed, limit, last, x, y = value
    if not all(type(number) is int and number >= 0 for number in (limit, last)):
        raise TypeError("numbers")
    return HardwareKey(
        _bytes(seed, SEED_BYTES), limit, last, _bytes(x, _HASH_BYTES), _bytes(y, _HASH_BYTES)
    )


def _current(value: Any, hardware: Any = None) -> LeaseSecret | None:
    if value is None:
        return None
    nonce, kem = value
    return LeaseSecret(_text(nonce), _bytes(kem, _KEM_BYTES), _hardware(hardware))


def _pending(value: Any, hardware: Any) -> Pending | None:
    if value is None:
        return None
    op, nonce, kem, seq, prev, ask = value
    if isinstance(seq, bool) or not isinstance(seq, int):
        raise TypeError("seq")
    return Pending(
        op=_text(op),
        nonce=_text(nonce),
        kem=_bytes(kem, _KEM_BYTES),
        seq=seq,
        prev=None if prev is None else _text(prev),
        ask=_bytes(ask, _HASH_BYTES),
        hardware=_hardware(hardware),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _bytes(value: object, size: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != size:
        raise TypeError("bytes")
    return value
