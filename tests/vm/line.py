"""Connections over one serial line, for both of its ends: TCP in, frames through, TCP out.

    frame = kind (1) | number of the connection (2, even: opened by the guest) | length (2) | bytes

The line carries the firmware's chatter first, so the guest begins with ``HELLO``. What passes is
TLS between the programs at both ends; this relay sees none of it. Nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

HELLO = b"\n~~ modelseal guest ~~\n"
OPEN, DATA, CLOSE = 1, 2, 3
_HEAD = struct.Struct(">BHH")
_MOST = 4096


class Line:
    """One end. ``read(n)`` and ``write`` move bytes on the line; ``first`` is 0 or 1."""

    def __init__(
        self, read: Callable[[int], bytes], write: Callable[[bytes], object], first: int
    ) -> None:
        self._read, self._write = read, write
        self._next = first
        self._targets: dict[int, int] = {}
        self._open: dict[int, socket.socket] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """From now on what comes is passed on."""
        threading.Thread(target=self._receive, daemon=True).start()

    def allow(self, port: int, at: int) -> None:
        """The other end may connect to ``port``, which is ``at`` on this end's loopback."""
        self._targets[port] = at

    def listen(self, port: int, at: int = 0) -> int:
        """A loopback port (``at``; 0: any) that leads to the other end's ``port``."""
        listener = socket.create_server(("127.0.0.1", at))
        threading.Thread(target=self._accept, args=(listener, port), daemon=True).start()
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket, port: int) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                number = self._next
                self._next += 2
                self._open[number] = connection
            self._send(OPEN, number, struct.pack(">H", port))
            self._pump(number, connection)

    def _pump(self, number: int, connection: socket.socket) -> None:
        threading.Thread(target=self._forward, args=(number, connection), daemon=True).start()

    def _forward(self, number: int, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := connection.recv(_MOST):
                self._send(DATA, number, data)
        self._send(CLOSE, number, b"")
        self._forget(number)

    def _send(self, kind: int, number: int, data: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._write(_HEAD.pack(kind, number, len(data)) + data)

    def _receive(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                kind, number, length = _HEAD.unpack(self._exactly(_HEAD.size))
                self._handle(kind, number, self._exactly(length))

    def _handle(self, kind: int, number: int, data: bytes) -> None:
        if kind == OPEN:
            at = self._targets.get(struct.unpack(">H", data)[0])
            try:
                if at is None:
                    raise OSError("nobody may go there")
                connection = socket.create_connection(("127.0.0.1", at), timeout=10)
            except OSError:
                self._send(CLOSE, number, b"")
                return
            connection.settimeout(None)
            with self._lock:
                self._open[number] = connection
            self._pump(number, connection)
        elif kind == DATA and (found := self._open.get(number)) is not None:
            with contextlib.suppress(OSError):
                found.sendall(data)
        elif kind == CLOSE:
            self._forget(number)

    def _forget(self, number: int) -> None:
        with self._lock:
            found = self._open.pop(number, None)
        if found is not None:
            with contextlib.suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)
            found.close()

    def _exactly(self, length: int) -> bytes:
        parts = b""
        while len(parts) < length:
            part = self._read(length - len(parts))
            if not part:
                raise EOFError
            parts += part
        return parts
