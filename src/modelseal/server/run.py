"""Running the server: a socket, TLS, uvicorn, a graceful stop. Prints nothing.

HTTPS with the workspace's certificate for anybody; plain HTTP only on loopback behind a proxy that
was named. Refuses to run beside the desk anywhere but on a closed loopback.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

try:
    import resource
except ImportError:  # pragma: no cover - Windows
    resource = None  # type: ignore[assignment]

from modelseal import listening, memory, structs
from modelseal.errors import Unavailable
from modelseal.keys import Ask
from modelseal.server import certificates, telemetry
from modelseal.server.app import create_app
from modelseal.server.http.protocol import MAX_CONNECTIONS
from modelseal.server.http.serving import configuration
from modelseal.server.manager import Manager
from modelseal.server.services import Server, open_server
from modelseal.server.services import config as configs
from modelseal.server.services.server import FOLDER
from modelseal.server.settings import check_desk, settings_of
from modelseal.server.workers import Worker, Workers

_KEY_BYTES = 32
_OTHER_DESCRIPTORS = 512
_COLLECT_AT = 20_000
_log = logging.getLogger("modelseal.server")


def serve(
    home: Path | str,
    *,
    listen: str | None = None,
    public_url: str | None = None,
    behind_proxy: Sequence[str] = (),
    workers: int | None = None,
    database: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ask: Ask | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serves the workspace at ``home`` until SIGINT or SIGTERM; then answers what is under way.

    ``workers`` processes share the address; with more than one, this thread must be the only one.
    ``on_ready`` is told the URL once calls are answered, by all of them; so is the service manager,
    if there is one. No process of the same user reads this one's memory, and it leaves no core.
    Raises ``DeskExposed``, ``AddressInUse``, ``CertificateInvalid``, ``ConfigInvalid`` and the
    errors of ``open_server``.
    """
    close_memory()
    manager = Manager()

    def ready(url: str) -> None:
        if on_ready is not None:
            on_ready(url)
        manager.ready(url)

    def one(worker: Worker | None = None) -> Running:
        running = Running(
            Path(home), listen=listen, public_url=public_url, behind_proxy=behind_proxy,
            database=database, now=now, ask=ask if worker is None else worker.ask,
            on_ready=ready if worker is None else worker.is_up,
            on_beat=manager.alive, worker=worker,
        )  # fmt: skip
        collect_seldom()
        return running

    folder = Path(home) / FOLDER
    settings = settings_of(
        configs.load(folder), listen=listen, public_url=public_url, behind_proxy=behind_proxy,
        workers=workers,
    )  # fmt: skip
    if settings.workers > 1:
        check_desk(Path(home), settings)
        bound = listening.bind(settings.host, settings.port)
        url = listening.url(bound, settings.host, settings.scheme)
        Workers(
            settings.workers, one, bound, ask=ask, on_ready=lambda: ready(url),
            on_beat=manager.alive,
        ).run()  # fmt: skip
        return
    running = one()
    try:
        running.run()
    finally:
        running.close()


class Running:
    """One server: bound at once, served by ``run`` (this thread) until ``stop`` or a signal."""

    def __init__(
        self,
        home: Path,
        *,
        listen: str | None = None,
        public_url: str | None = None,
        behind_proxy: Sequence[str] = (),
        database: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Callable[[int], bytes] = os.urandom,
        ask: Ask | None = None,
        on_ready: Callable[[str], None] | None = None,
        on_beat: Callable[[], None] = lambda: None,
        worker: Worker | None = None,
    ) -> None:
        folder = home / FOLDER
        self.settings = settings_of(
            configs.load(folder), listen=listen, public_url=public_url, behind_proxy=behind_proxy
        )
        check_desk(home, self.settings)
        plain = bool(self.settings.behind_proxy)
        tls = None if plain else certificates.files(folder)
        self._over = threading.Event()
        self.certificates: certificates.Certificates | None = None
        self._socket = (
            listening.bind(self.settings.host, self.settings.port)
            if worker is None
            else worker.socket
        )
        try:
            self.server: Server = open_server(
                home,
                now=now,
                random=random,
                ask=ask,
                database=database,
                public_url=self.settings.public_url,
            )
        except BaseException:
            self._socket.close()
            raise
        if worker is not None:
            self.server.about.serve_with(worker.place)
        self.url = listening.url(self._socket, self.settings.host, self.settings.scheme)
        try:
            self._uvicorn = listening.Uvicorn(self._config(tls), self._told(on_ready), on_beat)
            structs.prepare()
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Serves until told to stop."""
        _allow_descriptors()
        if self.certificates is not None:
            threading.Thread(
                target=self.certificates.watch, args=(self._over,), daemon=True,
                name="modelseal-certificates",
            ).start()  # fmt: skip
        self._uvicorn.run(sockets=[self._socket])
        if not self._uvicorn.started:
            raise Unavailable("the server did not start")

    def stop(self) -> None:
        """What is under way is answered, then ``run`` returns."""
        self._uvicorn.should_exit = True

    def close(self) -> None:
        """Socket and store are given back."""
        self._over.set()
        self._socket.close()
        self.server.close()

    def _told(self, on_ready: Callable[[str], None] | None) -> Callable[[], None]:
        return lambda: on_ready(self.url) if on_ready is not None else None

    def _config(self, tls: tuple[Path, Path] | None) -> uvicorn.Config:
        proxies = self.settings.behind_proxy
        config = configuration(
            telemetry.traced(create_app(self.server), self.server.context.config.telemetry),
            tls,
            lifespan="on",
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            loop="auto",
        )
        if config.ssl is not None and tls is not None:
            self.certificates = certificates.Certificates(*tls, config.ssl)
            self.server.about.certificate = self.certificates
        return config


def in_thread(running: Running) -> threading.Thread:
    """``running`` served by a thread of its own."""
    thread = threading.Thread(target=running.run, name="modelseal-server", daemon=True)
    thread.start()
    return thread


def close_memory() -> None:
    """Nobody but root reads this process; a warning is logged where its keys may be swapped."""
    memory.harden_process()
    with memory.SecretBytes(bytes(_KEY_BYTES)) as key:
        if not key.swap_safe:
            _log.warning(
                "keys may reach the swap space: this process may lock no memory "
                "(LimitMEMLOCK of the unit, --ulimit memlock of the container)"
            )


def collect_seldom() -> None:
    """What this process has made so far is never looked through again for cycles of references, and
    what it makes only when much of it is left. Only for a process that does nothing but serve.

    A tick of renewals holds thousands of objects for as long as it takes, none of them in a cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AT)


def _allow_descriptors() -> None:
    """This process may have as many connections as it serves, where the system allows it."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + _OTHER_DESCRIPTORS
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
