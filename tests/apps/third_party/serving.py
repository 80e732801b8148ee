"""A program's server, for as long as somebody asks it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx


def program(name: str) -> list[str]:
    """The command ``name`` of this virtual environment."""
    return [sys.executable, str(Path(sys.executable).parent / name)]


def free_port() -> str:
    """A port of this computer that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@contextlib.contextmanager
def serving(command: list[str], port: str, path: str) -> Iterator[str]:
    """The address of the server that ``command`` starts; it answers at ``path`` already."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                httpx.get(address + path, timeout=300)
                break
            except httpx.TransportError:
                if server.poll() is not None:
                    raise
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()
