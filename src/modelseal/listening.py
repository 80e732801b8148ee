"""What both servers need: an address, a socket that listens, a uvicorn that ends soon."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import uvicorn

from modelseal.errors import AddressInUse, ConfigInvalid

BACKLOG = 1024


def address(text: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:8443`` or ``[::1]:8443``; ``ConfigInvalid``."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigInvalid("--listen is an address and a port, like 127.0.0.1:8443")
    return host, int(port)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there; ``AddressInUse``, ``ConfigInvalid``."""
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
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise AddressInUse("the address is taken or not ours", address=where) from None
        raise ConfigInvalid(f"cannot listen: {error.strerror}", address=where) from None
    return bound


def url(bound: socket.socket, host: str, scheme: str) -> str:
    """Where ``bound`` is reached."""
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{bound.getsockname()[1]}"


class Uvicorn(uvicorn.Server):
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
