"""How bytes reach a TPM: the kernel's resource manager, or an emulator's socket.

``Address.parse`` reads ``/dev/tpmrm0``, ``unix:/run/tpm.sock`` and ``127.0.0.1:2321``. An emulator
speaks without encryption and serves one connection at a time, so it is reached on this computer
only, and each ``Tpm`` holds its connection for as long as it is open.
"""

from __future__ import annotations

import os
import re
import select
import socket
import stat
import time
from dataclasses import dataclass
from typing import Protocol

from modelseal.errors import ConfigInvalid, KeyStoreUnavailable
from modelseal.tpm2.chip.tpm import Tpm

DEFAULT = "/dev/tpmrm0"
TIMEOUT_SECONDS = 30.0
MAX_RESPONSE_BYTES = 8192
_HEADER_BYTES = 10
_LOOPBACK = re.compile(r"(127(?:\.\d{1,3}){3}|localhost|\[::1\]):(\d{1,5})")


class Channel(Protocol):
    """One command at a time to one TPM; ``KeyStoreUnavailable`` when it does not answer."""

    @property
    def managed(self) -> bool:
        """True when the kernel keeps the users of this TPM apart."""
        ...

    def send(self, command: bytes) -> bytes:
        """The whole response to ``command``."""
        ...

    def close(self) -> None:
        """The channel is gone; closing twice changes nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where a TPM is."""

    device: str | None = None
    unix: str | None = None
    host: str | None = None
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address of ``text``, empty for the default; ``ConfigInvalid`` for anything else."""
        if not text:
            return cls(device=DEFAULT)
        if text.startswith("unix:/"):
            return cls(unix=text[len("unix:") :])
        if text.startswith("/"):
            return cls(device=text)
        found = _LOOPBACK.fullmatch(text)
        if found is None or not 0 < int(found[2]) < 65536:
            raise ConfigInvalid(
                "a TPM is /dev/tpmrm0, unix:/path of a socket, or host:port on this computer"
            )
        return cls(host=found[1].strip("[]"), port=int(found[2]))

    def __str__(self) -> str:
        if self.host is not None:
            return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return f"unix:{self.unix}" if self.unix else str(self.device)


def connect(address: Address | str = "", *, timeout_seconds: float = TIMEOUT_SECONDS) -> Tpm:
    """The TPM at ``address``; ``KeyStoreUnavailable`` says why there is none."""
    where = Address.parse(address) if isinstance(address, str) else address
    if where.device is not None:
        return Tpm(_Device(where.device, timeout_seconds))
    return Tpm(_Socket(where, timeout_seconds))


class _Device:
    """A character device: one write is one command, one read its response."""

    def __init__(self, path: str, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._path = path
        self.managed = "tpmrm" in os.path.basename(path)  # noqa: PTH119 - a name, not a path
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise KeyStoreUnavailable(_why(path, error)) from None
        if not stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise KeyStoreUnavailable(f"{path} is no TPM")
        self._descriptor: int | None = descriptor

    def send(self, command: bytes) -> bytes:
        if self._descriptor is None:
            raise KeyStoreUnavailable("the TPM was closed")
        try:
            os.write(self._descriptor, command)
            waiter = select.poll()
            waiter.register(self._descriptor, select.POLLIN)
            if not waiter.poll(self._timeout * 1000):
                raise KeyStoreUnavailable("the TPM does not answer")
            return os.read(self._descriptor, MAX_RESPONSE_BYTES)
        except OSError as error:
            raise KeyStoreUnavailable(_why(self._path, error)) from None

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class _Socket:
    """swtpm's data channel: commands and responses as they are, one connection at a time."""

    managed = False

    def __init__(self, address: Address, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._name = str(address)
        try:
            self._socket: socket.socket | None = _connected(address, timeout_seconds)
        except OSError as error:
            raise KeyStoreUnavailable(_why(self._name, error)) from None

    def send(self, command: bytes) -> bytes:
        if self._socket is None:
            raise KeyStoreUnavailable("the TPM was closed")
        until = time.monotonic() + self._timeout
        try:
            self._socket.sendall(command)
            head = self._receive(_HEADER_BYTES, until)
            length = int.from_bytes(head[2:6], "big")
            if not _HEADER_BYTES <= length <= MAX_RESPONSE_BYTES:
                raise KeyStoreUnavailable("what answers at the TPM's address is no TPM")
            return head + self._receive(length - _HEADER_BYTES, until)
        except OSError as error:
            raise KeyStoreUnavailable(_why(self._name, error)) from None

    def _receive(self, length: int, until: float) -> bytes:
        found = b""
        while len(found) < length:
            left = until - time.monotonic()
            if left <= 0 or self._socket is None:
                raise KeyStoreUnavailable("the TPM does not answer")
            self._socket.settimeout(left)
            part = self._socket.recv(length - len(found))
            if not part:
                raise KeyStoreUnavailable("the TPM ended the connection")
            found += part
        return found

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connected(address: Address, timeout_seconds: float) -> socket.socket:
    if address.unix is None:
        found = socket.create_connection((address.host, address.port), timeout_seconds)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(timeout_seconds)
        link.connect(address.unix)
    except OSError:
        link.close()
        raise
    return link


def _why(name: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no TPM at {name}"
    if isinstance(error, PermissionError):
        return f"this user may not use {name}: join the group that owns it (often tss)"
    if isinstance(error, TimeoutError):
        return f"the TPM at {name} does not answer"
    return f"the TPM at {name} cannot be reached: {error.strerror or type(error).__name__}"
