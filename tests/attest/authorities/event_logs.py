"""A firmware that writes TCG event logs, right or wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

ALGORITHMS = {"sha1": 0x04, "sha256": 0x0B, "sha384": 0x0C}
_GLOBAL = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")


@dataclass(frozen=True)
class Line:
    """One event. ``measured`` is its digest where it shall not be the hash of ``data``."""

    register: int
    type: int
    data: bytes
    measured: bytes | None = None

    def digest(self, algorithm: str) -> bytes:
        if self.measured is not None:
            return self.measured
        return hashlib.new(algorithm, self.data).digest()


def separator(register: int) -> Line:
    return Line(register, 4, b"\0\0\0\0")


def variable(name: str, value: bytes, register: int = 7) -> Line:
    """A UEFI variable of the global namespace, measured as firmware does."""
    text = name.encode("utf-16-le")
    sizes = (len(text) // 2).to_bytes(8, "little") + len(value).to_bytes(8, "little")
    return Line(register, 0x80000001, _GLOBAL + sizes + text + value)


def write(lines: Iterable[Line], algorithms: tuple[str, ...] = ("sha256",)) -> bytes:
    """The crypto-agile log of ``lines``."""
    known = b"".join(
        ALGORITHMS[a].to_bytes(2, "little") + hashlib.new(a).digest_size.to_bytes(2, "little")
        for a in algorithms
    )
    spec = b"Spec ID Event03\0" + bytes(4) + b"\0\x02\0\x02"
    spec += len(algorithms).to_bytes(4, "little") + known + b"\0"
    out = bytes(4) + (3).to_bytes(4, "little") + bytes(20) + len(spec).to_bytes(4, "little") + spec
    for line in lines:
        out += line.register.to_bytes(4, "little") + line.type.to_bytes(4, "little")
        out += len(algorithms).to_bytes(4, "little")
        for name in algorithms:
            out += ALGORITHMS[name].to_bytes(2, "little") + line.digest(name)
        out += len(line.data).to_bytes(4, "little") + line.data
    return out
