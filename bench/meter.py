"""What processes cost: told over a pipe, or read from the system."""

from __future__ import annotations

import os
import resource
import time
from multiprocessing.connection import Connection
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def obey(pipe: Connection) -> None:
    """Tells this process's CPU seconds or resident bytes whenever it is asked, until told None."""
    while (what := pipe.recv()) is not None:
        if what == "cpu":
            pipe.send(time.process_time())
        else:
            pipe.send(resident())


def resident() -> int:
    """Bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def family_cpu(pid: int | None) -> float:
    """CPU seconds of a process, its living children and those it has buried; 0 of none."""
    if pid is None:
        return 0.0
    ticks = 0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        number = int(entry.parent.name)
        if number == pid:
            ticks += sum(int(field) for field in fields[11:15])
        elif int(fields[1]) == pid:
            ticks += sum(int(field) for field in fields[11:13])
    return ticks / _TICKS
