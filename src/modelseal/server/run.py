"""Running the server: a socket, TLS, uvicorn, a graceful stop. Prints nothing.

HTTPS with the workspace's certificate for anybody; plain HTTP only on loopback behind a proxy that
was named. Refuses to run beside the desk anywhere but on a closed loopback.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from modelseal import structs
from modelseal.errors import (
    AddressInUse,
    CertificateInvalid,
    ConfigInvalid,
    DeskExposed,
    Unavailable,
)
from modelseal.keys import Ask
from modelseal.server.app import create_app
from modelseal.server.services import Server, open_server
from modelseal.server.services import config as configs
from modelseal.server.services.server import FOLDER

GRACE_SECONDS = 20
KEEP_ALIVE_SECONDS = 15
MAX_CONNECTIONS = 2048
_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """Where and how to serve: flags, then ``MODELSEAL_*``, then ``server.toml``."""

    host: str
    port: int
    public_url: str | None
    behind_proxy: tuple[str, ...]

    @property
    def is_loopback(self) -> bool:
        """True when nobody but this computer can reach the address."""
        return _is_loopback(self.host)


def settings_of(
    config: configs.ServerConfig,
    *,
    listen: str | None = None,
    public_url: str | None = None,
    behind_proxy: Sequence[str] = (),
) -> Settings:
    """The settings in force; ``ConfigInvalid`` for an odd address, URL or network."""
    env = os.environ
    address = listen or env.get("MODELSEAL_LISTEN") or config.listen
    url = public_url or env.get("MODELSEAL_PUBLIC_URL") or config.public_url
    proxies = list(behind_proxy) or env.get("MODELSEAL_BEHIND_PROXY", "").split()
    proxies = proxies or config.behind_proxy
    host, port = _address(address)
    for network in proxies:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ConfigInvalid("--behind-proxy is a network like 10.0.0.0/8") from None
    if url is not None and not url.startswith("https://"):
        raise ConfigInvalid("the public URL begins with https://", setting="public_url")
    return Settings(host, port, url, tuple(proxies))


def check_desk(home: Path, settings: Settings) -> None:
    """Returns when no desk can be reached from elsewhere through this server's host.

    Raises ``DeskExposed`` when ``desk/`` or ``recovery-kit.txt`` lies beside the server and it
    listens beyond loopback, has a public URL or stands behind a proxy.
    """
    closed = settings.is_loopback and settings.public_url is None and not settings.behind_proxy
    if closed:
        return
    for name in ("desk", "recovery-kit.txt"):
        if (home / name).exists():
            raise DeskExposed(
                f"{name} lies beside a server others can reach", path=str(home / name)
            )


def serve(
    home: Path | str,
    *,
    listen: str | None = None,
    public_url: str | None = None,
    behind_proxy: Sequence[str] = (),
    database: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ask: Ask | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serves the workspace at ``home`` until SIGINT or SIGTERM; then answers what is under way.

    ``on_ready`` is told the URL once calls are answered. Raises ``DeskExposed``, ``AddressInUse``,
    ``CertificateInvalid``, ``ConfigInvalid`` and the errors of ``open_server``.
    """
    running = Running(
        Path(home), listen=listen, public_url=public_url, behind_proxy=behind_proxy,
        database=database, now=now, ask=ask, on_ready=on_ready,
    )  # fmt: skip
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
    ) -> None:
        folder = home / FOLDER
        self.settings = settings_of(
            configs.load(folder), listen=listen, public_url=public_url, behind_proxy=behind_proxy
        )
        check_desk(home, self.settings)
        plain = bool(self.settings.behind_proxy)
        tls = None if plain else _tls_files(folder)
        self._socket = _bind(self.settings)
        try:
            self.server: Server = open_server(
                home, now=now, random=random, ask=ask, database=database
            )
        except BaseException:
            self._socket.close()
            raise
        port = self._socket.getsockname()[1]
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        self.url = f"{'http' if plain else 'https'}://{host}:{port}"
        try:
            self._uvicorn = _Uvicorn(self._config(tls), self._told(on_ready))
            structs.prepare()
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Serves until told to stop."""
        self._uvicorn.run(sockets=[self._socket])
        if not self._uvicorn.started:
            raise Unavailable("the server did not start")

    def stop(self) -> None:
        """What is under way is answered, then ``run`` returns."""
        self._uvicorn.should_exit = True

    def close(self) -> None:
        """Socket and store are given back."""
        self._socket.close()
        self.server.close()

    def _told(self, on_ready: Callable[[str], None] | None) -> Callable[[], None]:
        return lambda: on_ready(self.url) if on_ready is not None else None

    def _config(self, tls: tuple[Path, Path] | None) -> uvicorn.Config:
        proxies = self.settings.behind_proxy
        config = uvicorn.Config(
            create_app(self.server),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
            limit_concurrency=MAX_CONNECTIONS,
            ssl_certfile=str(tls[0]) if tls else None,
            ssl_keyfile=str(tls[1]) if tls else None,
            ws="none",
            loop="asyncio",
            http="h11",
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise CertificateInvalid(
                f"the server's certificate cannot be used: {type(error).__name__}"
            ) from None
        if config.ssl is not None:
            config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        return config


class _Uvicorn(uvicorn.Server):
    """Tells when it answers."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Idle connections end at once: a TLS farewell may wait for a peer that says nothing."""
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            transport = getattr(connection, "transport", None)
            if transport is not None and (cycle is None or cycle.response_complete):
                transport.abort()
        await super().shutdown(sockets=sockets)


def in_thread(running: Running) -> threading.Thread:
    """``running`` served by a thread of its own."""
    thread = threading.Thread(target=running.run, name="modelseal-server", daemon=True)
    thread.start()
    return thread


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it answers wait 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((settings.host, settings.port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        where = f"{settings.host}:{settings.port}"
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise AddressInUse("the address is taken or not ours", address=where) from None
        raise ConfigInvalid(f"cannot listen: {error.strerror}", address=where) from None
    return bound


def _tls_files(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "tls" / "server.pem", folder / "tls" / "server.key"
    for path in (certificate, key):
        if not path.is_file():
            raise CertificateInvalid("the server has no certificate", path=str(path))
    return certificate, key


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigInvalid("--listen is an address and a port, like 127.0.0.1:8443")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
