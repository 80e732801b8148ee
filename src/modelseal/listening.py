"""What both servers need: an address, a socket that listens, a uvicorn that ends soon."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

import uvicorn

from modelseal.errors import AddressInUse, ConfigInvalid

BACKLOG = 1024
_FIRST_GIVEN = 3  # SD_LISTEN_FDS_START


def address(text: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:8443`` or ``[::1]:8443``; ``ConfigInvalid``."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigInvalid("--listen is an address and a port, like 127.0.0.1:8443")
    return host, int(port)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there: the one that the service manager holds, if it gave one.

    Raises ``AddressInUse``, and ``ConfigInvalid`` also for a given one that listens elsewhere.
    """
    given = _given()
    if given is not None:
        return _agreed(given, host, port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it answers wait 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        where = f"{host}:{port}"
        # An address that is not there yet, as while a host starts, may come like one that is taken.
        if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
            raise AddressInUse("the address is taken or not ours", address=where) from None
        raise ConfigInvalid(f"cannot listen: {error.strerror}", address=where) from None
    return bound


def _given() -> socket.socket | None:
    """The socket of sd_listen_fds(3), meant for this process and not for what it starts."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or "LISTEN_FDS" not in os.environ:
        return None
    if os.environ["LISTEN_FDS"] != "1":
        raise ConfigInvalid("the service manager gives one socket", setting="listen")
    try:
        given = socket.socket(fileno=os.dup(_FIRST_GIVEN))
    except OSError as error:
        raise ConfigInvalid(
            f"the service manager's socket cannot be used: {error.strerror}", setting="listen"
        ) from None
    for each in (_FIRST_GIVEN, given.fileno()):
        os.set_inheritable(each, False)
    return given


def _agreed(given: socket.socket, host: str, port: int) -> socket.socket:
    """``given``, if it listens where this server is told to: what is refused depends on that."""
    inet = given.family in (socket.AF_INET, socket.AF_INET6) and given.type == socket.SOCK_STREAM
    if inet and given.getsockname()[:2] == (host, port):
        return given
    where = given.getsockname()
    given.close()
    raise ConfigInvalid(
        f"the service manager's socket listens at {where[:2] if inet else 'no TCP address'}, "
        f"the configuration says {host}:{port}",
        setting="listen",
    )


def url(bound: socket.socket, host: str, scheme: str) -> str:
    """Where ``bound`` is reached."""
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{bound.getsockname()[1]}"


class Uvicorn(uvicorn.Server):
    """Tells when it answers, and ten times a second from its event loop that it lives."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[], None],
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_beat = on_beat

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        """See uvicorn; True when it is to end."""
        self._on_beat()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Idle connections end at once: a TLS farewell may wait for a peer that says nothing."""
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            transport = getattr(connection, "transport", None)
            if transport is not None and (cycle is None or cycle.response_complete):
                transport.abort()
        await super().shutdown(sockets=sockets)
