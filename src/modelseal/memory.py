"""Memory for keys and opened models: out of swap and dumps as far as the platform goes, wiped.

``Arena`` gives pages, ``SecretBytes`` holds one secret, ``harden_process`` shuts the process to
dumps. Every step falls back and none fails: what was reached is recorded, never pretended.

Lifetime: the memory lives as long as any view of it (a memoryview, a slice, a numpy array, a
``torch.frombuffer`` tensor), and is wiped and given back when the last one goes. ``close`` lets go
of the arena's own hold. So a view never dangles. Forked children share nothing they could spoil:
only the process that made an arena wipes it (``docs/adr/0032-arena-lifetime.md``).
"""

from __future__ import annotations

import ctypes
import functools
import hmac
import os
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from modelseal.errors import MemoryUnavailable, Misuse, ReaderClosed
from modelseal.types import MemoryProtection

ALIGNMENT_BYTES = 4096
HUGE_PAGE_BYTES = 2 * 1024 * 1024
MAX_ARENA_BYTES = 1 << 46

_SYS_MEMFD_SECRET = 447  # the same number on every architecture (linux/include/uapi/unistd.h)
_PROT_READ_WRITE = 0x3
_MAP_SHARED, _MAP_PRIVATE = 0x01, 0x02
_MAP_ANONYMOUS = {"linux": 0x20, "darwin": 0x1000}
_MADV_DONTNEED, _MADV_DONTNEED_LOCKED = 4, 24
_MADV_HUGEPAGE, _MADV_NOHUGE, _MADV_DONTDUMP, _MADV_POPULATE_WRITE = 14, 15, 16, 23
_MLOCK_ONFAULT = 1
_CAP_IPC_LOCK = 1 << 14
_KEYS_BYTES = 64 * 1024
_ROOM_FOR_KEYS_BYTES = 1024 * 1024
_PR_SET_DUMPABLE = 4
_MEM_COMMIT_RESERVE, _MEM_RELEASE, _PAGE_READWRITE = 0x3000, 0x8000, 0x04
_FAILED = ctypes.c_void_p(-1).value


@dataclass(frozen=True, slots=True)
class _Pages:
    """Mapped pages, how well they are protected and how they are given back."""

    address: int
    protection: MemoryProtection
    swap_safe: bool
    give_back: Callable[[], None]
    libc: Any = None


class Arena:
    """``size_bytes`` of zeroed memory under ``protection`` or the best below it.

    ``reached`` is what the pages got, ``swap_safe`` whether they cannot be swapped out
    (``RLIMIT_MEMLOCK`` of ordinary users is 8 MiB, so large arenas often are not). The start is
    aligned to a page, from 2 MiB on to a huge page. Raises ``MemoryUnavailable`` when the system
    has no such memory, ``Misuse`` for a size outside 0 to 2^46.
    """

    __slots__ = ("__weakref__", "_block", "_libc", "reached", "size_bytes", "swap_safe")

    def __init__(
        self,
        size_bytes: int,
        protection: MemoryProtection = MemoryProtection.LOCKED,
        *,
        platform: str = sys.platform,
    ) -> None:
        if isinstance(size_bytes, bool) or not 0 <= size_bytes <= MAX_ARENA_BYTES:
            raise Misuse("an arena has between 0 and 2^46 bytes")
        pages = _map(max(size_bytes, 1), MemoryProtection(protection), platform)
        self.size_bytes = size_bytes
        self.reached = pages.protection
        self.swap_safe = pages.swap_safe
        self._libc = pages.libc
        self._block: Any = (ctypes.c_ubyte * size_bytes).from_address(pages.address)
        end = weakref.finalize(self._block, _end, pages, size_bytes, os.getpid())
        end.atexit = False  # at exit threads may still read; the kernel clears the pages

    @property
    def view(self) -> memoryview:
        """All bytes, writable, one dimension of format ``B``; keeps the memory alive by itself.

        Raises ``ReaderClosed`` once the arena is closed.
        """
        if self._block is None:
            raise ReaderClosed("the arena is closed")
        return memoryview(self._block).cast("B")

    @property
    def address(self) -> int:
        """Where the memory starts; raises ``ReaderClosed`` once the arena is closed."""
        if self._block is None:
            raise ReaderClosed("the arena is closed")
        return ctypes.addressof(self._block)

    @property
    def closed(self) -> bool:
        """True after ``close``."""
        return self._block is None

    def populate(self, offset: int = 0, length: int | None = None) -> bool:
        """True when the pages of this range now exist, so that no later write waits for one.

        Threads may populate ranges of their own side by side. False where the system cannot do
        it (before Linux 5.14); nothing is lost then but time. Contents do not change.
        """
        length = self.size_bytes - offset if length is None else length
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise Misuse("the range lies outside the arena")
        if self._libc is None or length == 0:
            return False
        start = (self.address + offset) // ALIGNMENT_BYTES * ALIGNMENT_BYTES
        stop = self.address + offset + length
        return _ok(self._libc, "madvise", start, stop - start, _MADV_POPULATE_WRITE)

    def prefer_small_pages(self, offset: int, length: int) -> None:
        """Pages of this range that do not exist yet will be small ones, where there is a choice."""
        if self._libc is not None and length > 0:
            start = (self.address + offset) // ALIGNMENT_BYTES * ALIGNMENT_BYTES
            _ok(self._libc, "madvise", start, self.address + offset + length - start, _MADV_NOHUGE)

    def close(self) -> None:
        """The arena gives no more views; the memory is wiped at once, or when the last view goes.

        Closing twice changes nothing.
        """
        self._block = None

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Arena({self.size_bytes} bytes, {self.reached}, swap_safe={self.swap_safe})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an arena cannot be pickled or copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("an arena cannot be pickled or copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("an arena cannot be pickled or copied")


class SecretBytes:
    """One secret in an arena of its own; printing, comparing and pickling never give it away.

    ``source`` is copied; ``take`` wipes a bytearray it was copied from.
    """

    __slots__ = ("_arena",)

    def __init__(
        self,
        source: bytes | bytearray | memoryview,
        protection: MemoryProtection = MemoryProtection.SECRET,
        *,
        platform: str = sys.platform,
    ) -> None:
        arena = Arena(len(source), protection, platform=platform)
        arena.view[:] = source
        self._arena = arena

    @classmethod
    def take(
        cls, source: bytearray, protection: MemoryProtection = MemoryProtection.SECRET
    ) -> SecretBytes:
        """The secret that stood in ``source``, which holds only zeros afterwards."""
        secret = cls(source, protection)
        wipe(source)
        return secret

    @property
    def view(self) -> memoryview:
        """The bytes, read-only; raises ``ReaderClosed`` once closed."""
        return self._arena.view.toreadonly()

    def reveal(self) -> bytes:
        """A plain copy, for callers that take nothing else; it is not protected or wiped."""
        return bytes(self._arena.view)

    @property
    def reached(self) -> MemoryProtection:
        """What keeps the secret out of dumps and swap."""
        return self._arena.reached

    @property
    def swap_safe(self) -> bool:
        """True when the secret cannot reach a swap device."""
        return self._arena.swap_safe

    def close(self) -> None:
        """The secret is wiped, at once or with the last view of it."""
        self._arena.close()

    def __len__(self) -> int:
        return self._arena.size_bytes

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretBytes):
            return NotImplemented
        return hmac.compare_digest(self.view, other.view)

    __hash__ = None  # type: ignore[assignment]

    def __enter__(self) -> SecretBytes:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SecretBytes({len(self)} bytes, {self.reached})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")


@dataclass(frozen=True, slots=True)
class Hardening:
    """What ``harden_process`` reached."""

    not_dumpable: bool
    no_core: bool

    @property
    def complete(self) -> bool:
        """True when neither a core dump nor another process of the same user gets at memory."""
        return self.not_dumpable and self.no_core


def harden_process(*, platform: str = sys.platform) -> Hardening:
    """This process leaves no core file, and on Linux no process of the same user can read it.

    ``PR_SET_DUMPABLE`` 0 and ``RLIMIT_CORE`` 0; other platforms reach less. Root, and code inside
    this process, still read everything. Doing it again changes nothing.
    """
    dumpable_off = False
    if platform == "linux":
        libc = _libc()
        dumpable_off = libc is not None and _ok(libc, "prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    return Hardening(not_dumpable=dumpable_off, no_core=platform != "win32" and _no_core())


def wipe(target: bytearray | memoryview) -> None:
    """``target`` (writable) holds only zeros."""
    with memoryview(target) as view, view.cast("B") as flat:
        if flat.readonly:
            raise Misuse("read-only memory cannot be wiped")
        if len(flat):
            block = (ctypes.c_ubyte * len(flat)).from_buffer(flat)
            ctypes.memset(ctypes.addressof(block), 0, len(flat))
            del block


def give_up(target: memoryview) -> None:
    """``target``, part of an arena, holds only zeros, and takes no memory where pages allow it."""
    wipe(target)
    libc = _libc() if sys.platform == "linux" else None
    if libc is None or not target.nbytes:
        return
    block = (ctypes.c_ubyte * target.nbytes).from_buffer(target)
    start = -(-ctypes.addressof(block) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    stop = (ctypes.addressof(block) + target.nbytes) // ALIGNMENT_BYTES * ALIGNMENT_BYTES
    if start < stop:
        for advice in (_MADV_DONTNEED_LOCKED, _MADV_DONTNEED):
            if _ok(libc, "madvise", start, stop - start, advice):
                break


def _no_core() -> bool:
    try:
        import resource

        _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    except (ImportError, OSError, ValueError):
        return False
    return True


def _end(pages: _Pages, size_bytes: int, owner: int) -> None:
    """Runs when the last view is gone. A forked child must not wipe shared secret memory."""
    if os.getpid() == owner:
        ctypes.memset(pages.address, 0, size_bytes)
    pages.give_back()


def _map(size: int, wanted: MemoryProtection, platform: str) -> _Pages:
    attempts: list[Callable[[], _Pages | None]] = []
    if platform in _MAP_ANONYMOUS:
        libc = _libc()
        if libc is not None and platform == "linux" and wanted == MemoryProtection.SECRET:
            attempts.append(lambda: _map_secret(libc, size))
        if libc is not None:
            attempts.append(lambda: _map_anonymous(libc, size, wanted, platform))
    elif platform == "win32":
        attempts.append(lambda: _map_windows(size, wanted))
    for attempt in attempts:
        with suppress(AttributeError, OSError, ValueError, ctypes.ArgumentError):
            pages = attempt()
            if pages is not None:
                return pages
    return _map_plain(size)


def _map_secret(libc: Any, size: int) -> _Pages | None:
    """``memfd_secret``: not in the kernel's own map, never swapped; root reads it no more easily.

    The descriptor is closed at once, so that no ``/proc`` path leads to the pages; Python's own
    ``mmap`` would keep a duplicate.
    """
    descriptor = libc.syscall(_SYS_MEMFD_SECRET, os.O_CLOEXEC)
    if descriptor < 0:
        return None
    try:
        os.ftruncate(descriptor, size)
        address = libc.mmap(None, size, _PROT_READ_WRITE, _MAP_SHARED, descriptor, 0)
    finally:
        os.close(descriptor)
    if address in (None, _FAILED):
        return None
    _ok(libc, "madvise", address, size, _MADV_DONTDUMP)
    return _Pages(address, MemoryProtection.SECRET, True, _unmap(libc, address, size), libc)


def _map_anonymous(libc: Any, size: int, wanted: MemoryProtection, platform: str) -> _Pages | None:
    slack = HUGE_PAGE_BYTES if size >= HUGE_PAGE_BYTES else 0
    flags = _MAP_PRIVATE | _MAP_ANONYMOUS[platform]
    mapped = libc.mmap(None, size + slack, _PROT_READ_WRITE, flags, -1, 0)
    if mapped in (None, _FAILED):
        return None
    address = mapped + (-mapped % HUGE_PAGE_BYTES if slack else 0)
    linux = platform == "linux"
    if linux and slack:
        _ok(libc, "madvise", address, size, _MADV_HUGEPAGE)
    locked = undumped = False
    if wanted != MemoryProtection.NONE:
        undumped = linux and _ok(libc, "madvise", address, size, _MADV_DONTDUMP)
        locked = (not linux or _leaves_room(size)) and _lock(libc, address, size, linux)
    reached = MemoryProtection.LOCKED if locked or undumped else MemoryProtection.NONE
    return _Pages(address, reached, locked, _unmap(libc, mapped, size + slack), libc)


def _leaves_room(size: int) -> bool:
    """Whether keys can still be locked after ``size`` bytes more: weights take none of their room.

    Small arenas are the keys' own. True for a process that the limit does not bind, and where the
    kernel does not tell.
    """
    if size <= _KEYS_BYTES:
        return True
    try:
        import resource

        limit, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        if limit == resource.RLIM_INFINITY:
            return True
        with open("/proc/self/status", "rb") as file:  # noqa: PTH123 - no path of the user's
            told = dict(line.split(b":", 1) for line in file if b":" in line)
        bound = not int(told[b"CapEff"], 16) & _CAP_IPC_LOCK
        locked = int(told[b"VmLck"].split()[0]) * 1024
    except (ImportError, OSError, ValueError, KeyError, IndexError):
        return True
    return not bound or locked + size + _ROOM_FOR_KEYS_BYTES <= limit


def _lock(libc: Any, address: int, size: int, linux: bool) -> bool:
    """Pages are locked as they are touched; ``mlock`` alone would touch them all at once."""
    if linux and _ok(libc, "mlock2", address, size, _MLOCK_ONFAULT):
        return True
    return _ok(libc, "mlock", address, size)


def _map_windows(size: int, wanted: MemoryProtection) -> _Pages | None:
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    kernel.VirtualAlloc.restype = ctypes.c_void_p
    kernel.VirtualAlloc.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_ulong,
        ctypes.c_ulong,
    ]
    for name in ("VirtualLock", "VirtualUnlock"):
        getattr(kernel, name).argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    kernel.VirtualFree.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_ulong]
    address = kernel.VirtualAlloc(None, size, _MEM_COMMIT_RESERVE, _PAGE_READWRITE)
    if not address:
        return None
    locked = wanted != MemoryProtection.NONE and bool(kernel.VirtualLock(address, size))
    reached = MemoryProtection.LOCKED if locked else MemoryProtection.NONE

    def give_back() -> None:
        if locked:
            kernel.VirtualUnlock(address, size)
        kernel.VirtualFree(address, 0, _MEM_RELEASE)

    return _Pages(int(address), reached, locked, give_back)


def _map_plain(size: int) -> _Pages:
    """The last resort: memory of the interpreter, wiped like the rest, protected by nothing."""
    try:
        store = bytearray(size + ALIGNMENT_BYTES)
    except (MemoryError, OverflowError):
        raise MemoryUnavailable("the system has no memory of this size", limit=size) from None
    start = ctypes.addressof((ctypes.c_ubyte * len(store)).from_buffer(store))
    address = start + -start % ALIGNMENT_BYTES
    return _Pages(address, MemoryProtection.NONE, False, store.clear)


def _unmap(libc: Any, address: int, size: int) -> Callable[[], None]:
    def give_back() -> None:
        libc.munmap(address, size)

    return give_back


def _ok(libc: Any, name: str, *arguments: int) -> bool:
    """True when the call exists and returned 0."""
    try:
        function = getattr(libc, name)
    except AttributeError:
        return False
    return bool(function(*arguments) == 0)


@functools.cache
def _libc() -> Any:
    """The C library with the signatures used here; None where there is none."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        size, pointer, number = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
        libc.mmap.restype = pointer
        libc.mmap.argtypes = [pointer, size, number, number, number, ctypes.c_longlong]
        libc.munmap.argtypes = [pointer, size]
        libc.madvise.argtypes = [pointer, size, number]
        libc.mlock.argtypes = [pointer, size]
        if hasattr(libc, "mlock2"):
            libc.mlock2.argtypes = [pointer, size, ctypes.c_uint]
        if hasattr(libc, "prctl"):
            libc.prctl.argtypes = [number] + [ctypes.c_ulong] * 4
        if hasattr(libc, "syscall"):
            libc.syscall.restype = ctypes.c_long
            libc.syscall.argtypes = [ctypes.c_long, ctypes.c_uint]
    except (OSError, AttributeError, TypeError):
        return None
    return libc
