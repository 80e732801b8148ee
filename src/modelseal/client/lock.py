"""One writer at a time in a state folder: an advisory lock on the file ``lock`` in it.

The lock belongs to an open descriptor, so it excludes other processes and other threads alike and
ends with the process. Where the file system has no locks the work goes on without one: a second
writer then shows as a fork on the server, never as a broken file.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from modelseal.client.folder import FILE_MODE, translate
from modelseal.errors import StateBusy

LOCK_FILE = "lock"
_POLL_SECONDS = 0.05
_held: set[int] = set()
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL})


@contextlib.contextmanager
def exclusive(
    folder: Path,
    *,
    timeout_seconds: float,
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
) -> Iterator[None]:
    """Hold the lock of ``folder`` inside the ``with`` block.

    Raises ``StateBusy`` when another holds it for longer than ``timeout_seconds``,
    ``StateNotWritable`` when this user may not write there.
    """
    path = folder / LOCK_FILE
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), FILE_MODE)
    except OSError as error:
        raise translate(error, path, writing=True) from None
    try:
        deadline = monotonic() + timeout_seconds
        while not try_lock(handle):
            if monotonic() >= deadline:
                raise StateBusy("the lock was not freed in time", path=str(folder))
            sleep(_POLL_SECONDS)
        _held.add(handle)
        yield
    finally:
        _held.discard(handle)
        _unlock(handle)  # a child forked meanwhile shares the descriptor; closing is not enough
        os.close(handle)


def try_lock(handle: int) -> bool:
    """Whether ``handle`` now holds its file's lock (or the file system has none)."""
    try:
        _lock_now(handle)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        if error.errno in _NO_LOCKS:
            return True
        raise
    return True


def _unlock(handle: int) -> None:
    with contextlib.suppress(OSError):
        _unlock_now(handle)


def _forget_in_child() -> None:
    """A forked child holds no lock of its parent's, also when the parent dies."""
    for handle in list(_held):
        with contextlib.suppress(OSError):
            os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


if os.name == "nt":  # pragma: no cover - not run here
    import msvcrt

    def _lock_now(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]

    def _unlock_now(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]

else:
    import fcntl

    def _lock_now(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock_now(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
