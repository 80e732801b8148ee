"""What a program and its children write anywhere, seen by strace, searched for plaintext.

Every byte of every writing system call is looked at, whatever it goes to: file, pipe or socket.
Calls that move bytes without showing them count by where the bytes come from, shared writable
mappings of files by their file.
"""

from __future__ import annotations

import codecs
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

WRITES = (
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg",
)  # fmt: skip
MOVES = ("sendfile", "copy_file_range", "splice", "tee", "vmsplice")
RINGS = "io_uring_setup"
OTHERS = ("mmap", RINGS, "process_vm_writev")
WINDOW = 8  # bytes; two weights
STRIDE = 32
BEFORE = 12  # of the 32 bytes, how many stand before the window
MIN_DIFFERENT = 6
BEGINNING = np.uint64((1 << 24) - 1)
LONGEST = 16 << 20

_CALL = re.compile(rb"^\d+ +(\w+)\((.*)$", re.DOTALL)
_STRING = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"(\.\.\.)?', re.DOTALL)
_DESCRIPTOR = re.compile(rb"\d+<([^>]*)>")
# Indices of write-ahead logs (SQLite: ours, and the one ONNX Runtime keeps for itself).
_MAPPED = re.compile(rb"\.db-shm$|^/memfd:|^/dev/(zero|shm/)|^/SYSV|^/secretmem")


def command(trace: Path, words: Sequence[str]) -> list[str]:
    """``words`` under strace; ``trace`` then holds the calls of all their processes."""
    calls = ",".join((*WRITES, *MOVES, *OTHERS))
    return [
        "strace", "-f", "--seccomp-bpf", "-qq", "-y", "-s", str(LONGEST), "-o", str(trace),
        "-e", f"trace={calls}", "-e", "signal=none",
        # Nobody gets a ring, through which it could write unseen; event loops do without.
        "-e", f"inject={RINGS}:error=ENOSYS", *words,
    ]  # fmt: skip


class Plaintext:
    """Files whose bytes must not be written: 32 bytes in a row are theirs.

    Windows of eight bytes are looked up, one at every 32nd byte; a hit counts when the 32 bytes
    round it are the same too. So any 63 bytes in a row of one of the files are found, unless they
    hardly differ from each other (zeros, say, are everywhere).
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.files = {str(path.resolve()).encode() for path in files}
        self._data = b"".join(Path(path.decode()).read_bytes() for path in sorted(self.files))
        whole = np.frombuffer(self._data, np.uint8, len(self._data) // STRIDE * STRIDE)
        windows = np.ascontiguousarray(whole.reshape(-1, STRIDE)[:, :WINDOW])
        in_order = np.sort(windows, axis=1)
        different = 1 + (in_order[:, 1:] != in_order[:, :-1]).sum(axis=1)
        places = np.flatnonzero(different >= MIN_DIFFERENT)
        values = windows[places].view(np.uint64).ravel()
        order = np.argsort(values, kind="stable")
        self._known, self._places = values[order], places[order] * STRIDE
        self._begin = np.zeros(int(BEGINNING) + 1, bool)  # most bytes are told apart by it
        self._begin[values & BEGINNING] = True

    def __len__(self) -> int:
        return len(self._known)

    def found_in(self, data: bytes) -> bool:
        """Whether 32 bytes of the files stand in a row anywhere in ``data``."""
        return any(
            data[at - BEFORE : at - BEFORE + STRIDE]
            == self._data[place - BEFORE : place - BEFORE + STRIDE]
            for at in self._hits(data)
            for place in self._places_of(data[at : at + WINDOW])
            if at >= BEFORE
        )

    def _hits(self, data: bytes) -> Iterator[int]:
        for shift in range(min(WINDOW, len(data) - WINDOW + 1)):
            count = (len(data) - shift) // WINDOW
            values = np.frombuffer(data, np.uint64, count, shift)
            numbers = np.flatnonzero(self._begin[values & BEGINNING])
            found = values[numbers]
            places = np.searchsorted(self._known, found).clip(max=len(self._known) - 1)
            for number in numbers[self._known[places] == found]:
                yield shift + WINDOW * int(number)

    def _places_of(self, window: bytes) -> list[int]:
        value = np.frombuffer(window, np.uint64)[0]
        first, last = (np.searchsorted(self._known, value, side) for side in ("left", "right"))
        found: list[int] = self._places[first:last].tolist()
        return found


@dataclass
class Seen:
    """What a trace holds."""

    calls: Counter[str] = field(default_factory=Counter)
    written_bytes: int = 0
    leaks: list[str] = field(default_factory=list)


def search(trace: Path, plaintext: Plaintext) -> Seen:
    """Every call that has carried, or may have carried, plaintext, named in ``leaks``."""
    seen = Seen()
    with trace.open("rb") as lines:
        for line in lines:
            call = _CALL.match(line)
            if call is None:  # the end of a call whose beginning has been read, or an exit
                continue
            name, rest = call[1].decode(), call[2]
            seen.calls[name] += 1
            if name in WRITES:
                _written(seen, name, rest, plaintext)
            elif name in MOVES:
                _moved(seen, name, rest, plaintext)
            elif name == "mmap":
                _mapped(seen, rest)
            elif name != RINGS:
                seen.leaks.append(f"{name}: its bytes cannot be seen")
    return seen


def _written(seen: Seen, name: str, rest: bytes, plaintext: Plaintext) -> None:
    for text, cut in _STRING.findall(rest):
        data = codecs.escape_decode(text)[0]
        assert isinstance(data, bytes)
        seen.written_bytes += len(data)
        where = (_DESCRIPTOR.match(rest) or [b"", b"?"])[1].decode()
        if cut:
            seen.leaks.append(f"{name} to {where}: longer than {LONGEST} bytes")
        elif plaintext.found_in(data):
            seen.leaks.append(f"{name} to {where}: {len(data)} bytes with plaintext in them")


def _moved(seen: Seen, name: str, rest: bytes, plaintext: Plaintext) -> None:
    places = _DESCRIPTOR.findall(rest)
    inside = [p for p in places if p in plaintext.files or p.startswith(b"/memfd:")]
    if inside or name == "vmsplice" or not places:
        seen.leaks.append(f"{name} of {b' '.join(places).decode()}")


def _mapped(seen: Seen, rest: bytes) -> None:
    if b"PROT_WRITE" not in rest or b"MAP_SHARED" not in rest or b"MAP_ANONYMOUS" in rest:
        return
    for place in _DESCRIPTOR.findall(rest):
        if not _MAPPED.search(place):
            seen.leaks.append(f"mmap for writing of {place.decode()}")


def traced(trace: Path, words: Sequence[str], **how: Any) -> subprocess.CompletedProcess[str]:
    """``words`` have ended, and ``trace`` is whole."""
    return subprocess.run(command(trace, words), capture_output=True, text=True, **how)
