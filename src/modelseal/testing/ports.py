"""A port that stays this process's while its server is stopped and started again."""

from __future__ import annotations

import socket
import sys
import weakref


class KeptPort:
    """``number`` on the loopback, for servers that listen there one after the other.

    A socket that is bound and never listens: callers are refused while no server runs, and on Linux
    no program that asks for any free port is given this one. Elsewhere two sockets cannot share a
    port in that way, so it is only a port that was free.
    """

    def __init__(self) -> None:
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        self.number = int(held.getsockname()[1])
        self._end = weakref.finalize(self, held.close)
        if sys.platform != "linux":
            self._end()
