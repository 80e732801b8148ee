"""One server over HTTPS, spoken to by hand."""

from __future__ import annotations

import re
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.server.conftest import template
from tests.server.world import Clock, Shop

from modelseal.admin import Role
from modelseal.server.http import front, protocol
from modelseal.testing.server import RunningServer

PATIENCE = 1.0
"""Seconds that an impatient server has for headers and for a body, in place of 10 and 20."""


@dataclass(frozen=True)
class Raw:
    """A connection that says what it likes."""

    socket: ssl.SSLSocket

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def heard(self) -> bytes:
        """All that comes until the server ends the connection, or nothing has come for a while."""
        self.socket.settimeout(60)
        found = b""
        try:
            while piece := self.socket.recv(65536):
                found += piece
        except (TimeoutError, ConnectionError, ssl.SSLError):
            pass
        return found

    def answer(self) -> bytes:
        """The first answer, whole."""
        self.socket.settimeout(60)
        found = b""
        while True:
            head, mark, body = found.partition(b"\r\n\r\n")
            said = re.search(rb"(?i)content-length: (\d+)", head)
            if mark and len(body) >= (int(said[1]) if said else 0):
                return found
            piece = self.socket.recv(65536)
            if not piece:
                return found
            found += piece

    def is_left(self) -> bool:
        """True when the server ends the connection, though nobody else does."""
        self.socket.settimeout(0.1)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if self.socket.recv(65536) == b"":
                    return True
            except TimeoutError:
                continue
            except (ConnectionError, ssl.SSLError):
                return True
        return False


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop behind the running server."""
    patch = pytest.MonkeyPatch()
    patch.setattr(protocol, "DRAIN_SECONDS", PATIENCE)
    clock, folder = Clock(), tmp_path_factory.mktemp("hostile")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(folder, now=clock)
    with server:
        made = Shop(server.home, clock, server.services)
        made.plan("basic", "face.swap", seats=100)
        made.publish(folder, "swap.onnx", "face.swap")
        made.url = server.url  # type: ignore[attr-defined]
        yield made
    patch.undo()


@pytest.fixture
def impatient(served: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server waits for nobody longer than ``PATIENCE``."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", PATIENCE)
    monkeypatch.setattr(front, "BODY_SECONDS", PATIENCE)


@pytest.fixture
def shop(served: Shop) -> Shop:
    """The same, a minute later than the test before."""
    served.clock.pass_(minutes=1)
    return served


@pytest.fixture
def connect(shop: Shop) -> Iterator[Callable[[], Raw]]:
    """Opens connections; all are closed afterwards."""
    context = ssl.create_default_context(cadata=shop.trust.tls_ca)
    port = int(shop.url.rpartition(":")[2])  # type: ignore[attr-defined]
    opened: list[ssl.SSLSocket] = []

    def one() -> Raw:
        plain = socket.create_connection(("127.0.0.1", port), timeout=300)
        opened.append(context.wrap_socket(plain, server_hostname="127.0.0.1"))
        return Raw(opened[-1])

    yield one
    for connection in opened:
        connection.close()


@pytest.fixture(scope="session")
def owner(served: Shop) -> str:
    """An owner's token."""
    return served.admin.create_token(Role.OWNER, 86400, "hostile").token


__all__ = ["template"]
