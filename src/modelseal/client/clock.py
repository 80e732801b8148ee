"""The time of one run: the wall clock, which the monotonic clock keeps from going back."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from modelseal.client.ports import Ports


class RunClock:
    """``now`` never goes back within a run, whatever happens to the wall clock.

    The wall clock may run ahead of the monotonic one (a suspended laptop); after contact with the
    server it is believed again, so that a clock once set wrong heals without a restart.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._guard = threading.Lock()
        self._wall = ports.now()
        self._start = ports.monotonic()

    def after_fork(self) -> None:
        """In a forked child: the lock may have been held by a thread that is not here."""
        self._guard = threading.Lock()

    def now(self) -> datetime:
        """Aware UTC."""
        with self._guard:
            passed = timedelta(seconds=self._ports.monotonic() - self._start)
            return max(self._ports.now(), self._wall + passed)

    def rebase(self) -> None:
        """From now on the wall clock as it stands is the start."""
        with self._guard:
            self._wall = self._ports.now()
            self._start = self._ports.monotonic()
