"""Serving a relay: a socket, TLS where others reach it, uvicorn, a graceful stop."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from modelseal import listening
from modelseal.errors import Unavailable
from modelseal.hosts import is_loopback
from modelseal.keys import Ask
from modelseal.server import certificates
from modelseal.server.http.serving import configuration
from modelseal.server.relay import keeping
from modelseal.server.relay.app import create_app
from modelseal.server.relay.box import Box
from modelseal.server.relay.budget import Budget
from modelseal.server.relay.giving import Giving


def serve(
    folder: Path,
    *,
    listen: str,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    on_ready: Callable[[str], None] | None = None,
    ask: Ask | None = None,
) -> None:
    """Serves the relay in ``folder`` until SIGINT or SIGTERM.

    Over TLS by ``tls/server.pem`` and ``tls/server.key`` there; without them on loopback only.
    Raises ``InputMissing``, ``AddressInUse``, ``CertificateInvalid``, ``ConfigInvalid``.
    """
    host, port = listening.address(listen)
    plain = is_loopback(host) and not (folder / "tls" / "server.pem").is_file()
    tls = None if plain else certificates.files(folder)
    over = threading.Event()
    with Box(folder) as box, opened(box, now, ask) as giving:
        bound = listening.bind(host, port)
        try:
            url = listening.url(bound, host, "http" if plain else "https")
            told = (lambda: None) if on_ready is None else (lambda: on_ready(url))
            config = configuration(
                create_app(box, now, giving), tls, proxy_headers=False, loop="asyncio"
            )
            _watch(config, tls, over)
            server = listening.Uvicorn(config, told)
            server.run(sockets=[bound])
            if not server.started:
                raise Unavailable("the relay did not start")
        finally:
            over.set()
            bound.close()


@contextlib.contextmanager
def opened(
    box: Box, now: Callable[[], datetime], ask: Ask | None = None
) -> Iterator[Giving | None]:
    """What gives by the budget of the relay in ``box``; None where it has none."""
    if not keeping.exists(box):
        yield None
        return
    budget = Budget(box, now=now, random=os.urandom, ask=ask)
    try:
        yield Giving(budget)
    finally:
        budget.close()


def _watch(config: uvicorn.Config, tls: tuple[Path, Path] | None, over: threading.Event) -> None:
    """Until ``over``, a new certificate on the disk is in force for new connections."""
    if config.ssl is not None and tls is not None:
        watching = certificates.Certificates(*tls, config.ssl)
        name = "modelseal-certificates"
        threading.Thread(target=watching.watch, args=(over,), daemon=True, name=name).start()
