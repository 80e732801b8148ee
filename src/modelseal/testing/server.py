"""A real license server for the tests of an app: a fresh workspace, loopback, HTTPS, a thread.

Warns when it is built: its keys lie in a temporary folder and its desk beside it.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from modelseal.errors import ServerFailed
from modelseal.server.run import Running, in_thread
from modelseal.server.services import LocalAdmin, Server
from modelseal.testing.ports import KeptPort

START_SECONDS = 60


class RunningServerWarning(UserWarning):
    """A server for tests runs; nobody should be served by it."""


class RunningServer:
    """A running license server. Use it as a context manager.

    ``url`` is where it listens, ``home`` its workspace, ``trust`` its ``trust.json``, ``admin`` the
    publisher's calls in process, ``services`` everything behind them.
    """

    __test__ = False

    def __init__(
        self,
        folder: Path,
        product: str = "facefusion",
        *,
        token_alg: str = "Ed25519",  # noqa: S107 - an algorithm, no secret
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Makes ``folder/shop`` when it is not there yet and serves it on a free port.

        ``now`` is the server's clock; it must be safe to call from any thread.
        """
        from modelseal.desk import workspace

        warnings.warn("a license server for tests was started", RunningServerWarning, stacklevel=2)
        self.home = folder / "shop"
        if not self.home.exists():
            workspace.init(self.home, product, token_alg=token_alg, now=now(), random=random)
        self.trust = self.home / "trust.json"
        self._now, self._random = now, random
        self._port = KeptPort()
        self._start()

    @property
    def services(self) -> Server:
        """The services behind the calls."""
        return self._running.server

    @property
    def admin(self) -> LocalAdmin:
        """The publisher's calls."""
        return LocalAdmin(self.services)

    def stop(self) -> None:
        """The server no longer listens; ``start`` brings it back on the same address."""
        self._running.stop()
        self._thread.join(START_SECONDS)
        self._running.close()

    def start(self) -> None:
        """After ``stop``: the same workspace on the same address."""
        self._start()

    def _start(self) -> None:
        ready = threading.Event()
        self._running = Running(
            self.home, listen=f"127.0.0.1:{self._port.number}", now=self._now, random=self._random,
            on_ready=lambda _url: ready.set(),
        )  # fmt: skip
        self.url = self._running.url
        self._thread = in_thread(self._running)
        if not ready.wait(START_SECONDS):
            raise ServerFailed("the server for tests did not start", server=self.url)

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._thread.is_alive():
            self.stop()
