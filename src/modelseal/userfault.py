"""Small pages made together with what they hold, which costs less than making them empty first.

``UFFDIO_COPY`` takes a page, copies into it and maps it: nothing is zeroed that is overwritten at
once, and no write waits for a page. It works on a range that is registered, and there **a write of
this process to a page that is not there yet would wait for ever**: so a range is registered only
while its one writer fills it through here, and never handed out before.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import mmap
import os
import platform
import sys
from typing import Any

PAGE_BYTES = mmap.PAGESIZE

_SYS_USERFAULTFD = {"x86_64": 323, "aarch64": 282, "riscv64": 282}
_USER_MODE_ONLY = 1  # needs no privilege; the kernel's own accesses fail instead of waiting
_API = 0xAA
_API_CALL, _REGISTER, _UNREGISTER = 0xC018AA3F, 0xC020AA00, 0x8010AA01
_COPY = 0xC028AA03
_MODE_MISSING = 1


class _Api(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("api", "features", "ioctls")]


class _Range(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("start", "len")]


class _Register(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("start", "len", "mode", "ioctls")]


class _Copy(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("dst", "src", "len", "mode")),
        ("copy", ctypes.c_int64),
    ]


class MissingPages:
    """A range of anonymous memory of whole pages, to be filled by ``copy`` and by nothing else.

    From ``register`` to ``close`` no other code may touch the range; ``close`` never fails.
    """

    __slots__ = ("_copy", "_fd", "_libc", "_range")

    def __init__(self, fd: int, libc: Any, start: int, size_bytes: int) -> None:
        self._fd, self._libc = fd, libc
        self._range = _Range(start, size_bytes)
        self._copy = _Copy()

    @classmethod
    def register(cls, start: int, size_bytes: int) -> MissingPages | None:
        """The range at the address ``start``, both multiples of a page; None where that cannot be
        had (before Linux 5.11, forbidden by a filter, another system)."""
        libc, number = _libc(), _SYS_USERFAULTFD.get(platform.machine())
        if libc is None or number is None:
            return None
        fd = libc.syscall(number, os.O_CLOEXEC | os.O_NONBLOCK | _USER_MODE_ONLY)
        if fd < 0:
            return None
        wanted = _Register(start, size_bytes, _MODE_MISSING)
        if libc.ioctl(fd, _API_CALL, ctypes.byref(_Api(_API))) or libc.ioctl(
            fd, _REGISTER, ctypes.byref(wanted)
        ):
            os.close(fd)
            return None
        return cls(fd, libc, start, size_bytes)

    def copy(self, place: int, source: int, size_bytes: int) -> bool:
        """The pages at ``place`` hold the ``size_bytes`` (whole pages) at ``source``.

        False when they do not: ``close`` then, and write them as any memory.
        """
        order, done = self._copy, 0
        while done < size_bytes:
            order.dst, order.src, order.len = place + done, source + done, size_bytes - done
            order.copy = 0
            if self._libc.ioctl(self._fd, _COPY, ctypes.byref(order)) == 0:
                return True
            if ctypes.get_errno() != errno.EAGAIN or order.copy <= 0:  # else a part was done
                return False
            done += order.copy
        return True

    def close(self) -> None:
        """The range is ordinary memory again, whose pages come as they are touched."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            # A forked child may hold the descriptor too: closing it alone would not suffice.
            self._libc.ioctl(fd, _UNREGISTER, ctypes.byref(self._range))
            os.close(fd)

    def __del__(self) -> None:
        try:  # at the interpreter's end the modules are gone
            self.close()
        except (AttributeError, OSError, TypeError):
            return


@functools.cache
def _libc() -> Any:
    """The C library with the signatures used here; None where there is none of Linux."""
    if sys.platform != "linux":
        return None
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall.restype = ctypes.c_long
        libc.syscall.argtypes = [ctypes.c_long, ctypes.c_int]
        libc.ioctl.restype = ctypes.c_int
        libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
    except (OSError, AttributeError):
        return None
    return libc
