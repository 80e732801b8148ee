"""A scanner of another process's memory: how much of a plaintext can be read out of it.

What it looks for are the 16-byte and 64-byte windows of the plaintext, at any address. It reads
``/proc/PID/mem`` as anybody may who is allowed to: root, and the same user where the process is
dumpable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_PIECE = 8 << 20


@dataclass(frozen=True)
class Found:
    """The shares of the plaintext's windows that were found, and how many bytes were looked at."""

    windows_16: float
    windows_64: float
    scanned_bytes: int


class Scanner:
    """Knows the windows of ``plaintext``, whose length is a multiple of 64 bytes."""

    def __init__(self, plaintext: bytes) -> None:
        words = np.frombuffer(plaintext, dtype="<u8").reshape(-1, 2)
        order = np.argsort(words[:, 0], kind="stable")
        self._first, self._second, self._place = words[order, 0], words[order, 1], order
        self._may = np.zeros(1 << 24, dtype=bool)
        self._may[self._first & 0xFFFFFF] = True
        self._seen = np.zeros(len(words), dtype=bool)

    def scan(self, pid: int) -> Found:
        """What of the plaintext stands in the memory of ``pid``; ``PermissionError``."""
        self._seen[:] = False
        scanned = 0
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for start, stop in _mappings(pid):
                for at in range(start, stop, _PIECE):
                    size = min(_PIECE + 16, stop - at)
                    try:
                        memory.seek(at)
                        data = memory.read(size)
                    except (OSError, ValueError):  # memory that nobody may read in this way
                        continue
                    scanned += len(data)
                    self._look(data)
        by_four = self._seen.reshape(-1, 4).all(axis=1)
        return Found(float(self._seen.mean()), float(by_four.mean()), scanned)

    def _look(self, data: bytes) -> None:
        for shift in range(8):
            count = (len(data) - shift) // 8
            if count < 2:
                continue
            words = np.frombuffer(data, dtype="<u8", count=count, offset=shift)
            maybe = np.flatnonzero(self._may[words[:-1] & 0xFFFFFF])
            places = np.searchsorted(self._first, words[maybe])
            places[places == len(self._first)] = 0
            hit = (self._first[places] == words[maybe]) & (self._second[places] == words[maybe + 1])
            self._seen[self._place[places[hit]]] = True


def counts(pid: int, wanted: Sequence[bytes]) -> list[int]:
    """How often each of ``wanted`` stands in the memory of ``pid``."""
    longest = max(map(len, wanted))
    found = [0] * len(wanted)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, stop in _mappings(pid):
            for at in range(start, stop, _PIECE):
                try:
                    memory.seek(at)
                    data = memory.read(min(_PIECE + longest - 1, stop - at))
                except (OSError, ValueError):  # memory that nobody may read in this way
                    continue
                for number, each in enumerate(wanted):
                    found[number] += data.count(each)
    return found


def _mappings(pid: int) -> list[tuple[int, int]]:
    """What can be read but the libraries and files it mapped to read them."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        told = re.match(r"([0-9a-f]+)-([0-9a-f]+) r(.)\S+ \S+ \S+ \S+ *(.*)", line)
        if told and (told[3] == "w" or not told[4].startswith("/") or "/memfd:" in told[4]):
            found.append((int(told[1], 16), int(told[2], 16)))
    return found
