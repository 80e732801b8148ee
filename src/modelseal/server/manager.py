"""What the service manager that started this process is told: sd_notify(3), over its own socket.

A process that none started says nothing, and a manager that does not listen is no failure.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress


class Manager:
    """The manager that ``environment`` names, if any; ``clock`` is monotonic, in seconds.

    Only the process that made it speaks: what it forks is silent.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._pid = os.getpid()
        self._clock = clock
        self._every_seconds = _interval(environment, self._pid)
        self._said_at: float | None = None

    def ready(self, url: str) -> None:
        """Calls are answered at ``url``: whoever waited for the start goes on."""
        self._tell(f"READY=1\nSTATUS=listens on {url}")

    def alive(self) -> None:
        """This process lives; said three times within the time after which it counts as hung."""
        if self._every_seconds is None:
            return
        now = self._clock()
        if self._said_at is None or now - self._said_at >= self._every_seconds:
            self._said_at = now
            self._tell("WATCHDOG=1")

    def _tell(self, what: str) -> None:
        if self._address is None or os.getpid() != self._pid:
            return
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line,
        ):
            line.setblocking(False)
            line.connect(self._address)
            line.send(what.encode())


def _address(named: str) -> str | None:
    if named.startswith("@"):
        return "\0" + named[1:]
    return named if named.startswith("/") and hasattr(socket, "AF_UNIX") else None


def _interval(environment: Mapping[str, str], pid: int) -> float | None:
    """How often to say so; None where nobody watches, or another process is watched."""
    wanted, watched = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or int(wanted) == 0 or watched not in ("", str(pid)):
        return None
    return int(wanted) / 1_000_000 / 3
