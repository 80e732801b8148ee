"""Files that lie in memory only, for code that takes nothing but a path."""

from __future__ import annotations

import contextlib
import mmap
import os
import weakref
from collections.abc import Callable

from modelseal.errors import MemoryUnavailable
from modelseal.runtime.view import View


class MemoryFile:
    """A file that lies in memory only, under a path of this process and of its forked children.

    Other processes of the same user find it by number only, and not at all once the process is
    undumpable. It can be read and mapped, no longer changed.
    """

    def __init__(self, name: str, size_bytes: int, fill: Callable[[memoryview], None]) -> None:
        """``fill`` puts the content into the memory it is given; what it raises is raised."""
        if not hasattr(os, "memfd_create"):
            raise MemoryUnavailable("this system has no files in memory", name=name)
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        self._fd = os.memfd_create(os.fsdecode(name.rpartition("/")[2].encode()[:200]), flags)
        self._closer = weakref.finalize(self, os.close, self._fd)
        self._closer.atexit = False
        try:
            os.ftruncate(self._fd, size_bytes)
            if size_bytes:
                _fill(self._fd, size_bytes, fill)
            _set_unchangeable(self._fd)
        except (OSError, ValueError):
            self.close()
            raise MemoryUnavailable("no memory for a file in memory", name=name) from None
        except BaseException:
            self.close()
            raise

    @classmethod
    def of(cls, view: View, name: str) -> MemoryFile:
        """The file ``name`` of ``view``, decrypted straight into its pages."""
        return cls(name, view.size(name), lambda target: view.read_into(name, 0, target))

    @property
    def path(self) -> str:
        """Where this process, and a child it forks, finds the file."""
        return f"/proc/self/fd/{self._fd}"

    @property
    def fd(self) -> int:
        """The descriptor; it is inherited where a program asks for it (``pass_fds``)."""
        return self._fd

    def read(self) -> bytes:
        """A plain copy of the content."""
        return os.pread(self._fd, os.fstat(self._fd).st_size, 0)

    def close(self) -> None:
        """The path leads nowhere any more; a mapping of the file stays."""
        self._fd = -1
        self._closer()


def _fill(descriptor: int, size_bytes: int, fill: Callable[[memoryview], None]) -> None:
    """By a mapping: no system call carries the plaintext."""
    mapped = mmap.mmap(descriptor, size_bytes)
    try:
        fill(memoryview(mapped))
    finally:
        with contextlib.suppress(BufferError):  # an error's traceback still holds a view
            mapped.close()


def _set_unchangeable(descriptor: int) -> None:
    try:
        import fcntl

        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except (ImportError, AttributeError, OSError):
        return
