"""What collectors need of the system, as ports: files of the kernel, and one ioctl.

The defaults are the real thing; ``modelseal.testing.kernel`` has fakes behind the same ports.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from modelseal.errors import EvidenceUnavailable

MAX_READ_BYTES = 1 << 20


class KernelFiles(Protocol):
    """Attributes of the kernel that are read and written like files. Errors are ``OSError``."""

    def read(self, path: str) -> bytes:
        """The whole attribute."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """``data`` in one write; attributes take no second."""
        ...

    def make_folder(self, path: str) -> None:
        """A new folder, which the kernel fills with attributes."""
        ...

    def remove_folder(self, path: str) -> None:
        """The folder is gone; its attributes go with it."""
        ...

    def exists(self, path: str) -> bool:
        """True when the path is there."""
        ...


class SystemFiles:
    """The running kernel's own files, below ``base``."""

    def __init__(self, base: Path | str = "/") -> None:
        self._base = Path(base)

    def read(self, path: str) -> bytes:
        """See ``KernelFiles``."""
        with self._at(path).open("rb", buffering=0) as file:
            parts = []
            while part := file.read(65536):
                parts.append(part)
                if sum(map(len, parts)) > MAX_READ_BYTES:
                    raise OSError("longer than any attribute of the kernel")
            return b"".join(parts)

    def write(self, path: str, data: bytes) -> None:
        """See ``KernelFiles``."""
        handle = os.open(self._at(path), os.O_WRONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            if os.write(handle, data) != len(data):
                raise OSError("the kernel did not take all bytes")
        finally:
            os.close(handle)

    def make_folder(self, path: str) -> None:
        """See ``KernelFiles``."""
        self._at(path).mkdir(mode=0o700)

    def remove_folder(self, path: str) -> None:
        """See ``KernelFiles``."""
        self._at(path).rmdir()

    def exists(self, path: str) -> bool:
        """See ``KernelFiles``."""
        return self._at(path).exists()

    def _at(self, path: str) -> Path:
        return self._base / path.lstrip("/")


def unavailable(error: OSError, what: str) -> EvidenceUnavailable:
    """Our error for what the system said about ``what``."""
    return EvidenceUnavailable(f"{what}: {error.strerror or error}", source=what)
