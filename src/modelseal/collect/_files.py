"""Small files below a root, read so that nothing can block, grow or fail."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from modelseal.device import MissingWhy

MAX_FILE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Found:
    """A file's bytes, whether only an administrator can read it, and when it was written."""

    data: bytes
    privileged: bool
    modified_at_ns: int

    @property
    def text(self) -> str:
        """The bytes as text; what is no UTF-8 is replaced, and refused later as no value."""
        return self.data.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Root:
    """The folder under which a system lies; ``live`` when it is the running one."""

    path: Path

    @property
    def live(self) -> bool:
        """True for the running system itself."""
        return self.path == Path("/")

    def read(self, name: str) -> Found | MissingWhy:
        """The file ``name`` (relative), or why it gives nothing: never an exception."""
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | _QUIET)
        except FileNotFoundError:
            return MissingWhy.ABSENT
        except PermissionError:
            return MissingWhy.NEEDS_PRIVILEGE
        except (OSError, ValueError):
            return MissingWhy.UNREADABLE
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return MissingWhy.UNREADABLE
            data = os.read(descriptor, MAX_FILE_BYTES)
        except PermissionError:
            return MissingWhy.NEEDS_PRIVILEGE
        except OSError:
            return MissingWhy.UNREADABLE
        finally:
            os.close(descriptor)
        return Found(data, not status.st_mode & stat.S_IROTH, status.st_mtime_ns)

    def text(self, name: str) -> str:
        """The file's text without the surrounding white space; empty when it gives nothing."""
        found = self.read(name)
        return found.text.strip("\x00 \t\r\n") if isinstance(found, Found) else ""

    def names(self, folder: str) -> list[str]:
        """The names in ``folder``, sorted; empty when it cannot be listed."""
        try:
            return sorted(entry.name for entry in (self.path / folder).iterdir())[:1024]
        except OSError:
            return []

    def exists(self, name: str) -> bool:
        """True when ``name`` is there."""
        try:
            return (self.path / name).exists()
        except OSError:
            return False

    def target(self, name: str) -> str:
        """Where the link ``name`` leads, as text; ``name`` itself when it is no link."""
        return os.path.realpath(self.path / name)


_QUIET = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
