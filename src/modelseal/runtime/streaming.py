"""A sealed file as a stream: native code that reads a path once, from its start, finds the
plaintext there, a few megabytes at a time.

The path is that of a pipe. What goes through it is decrypted into a ring of protected memory by a
thread of ours, side by side with the reader, and lent to the pipe as it is (``vmsplice``). The
whole is nowhere but where the reader puts it (``docs/adr/0250-large-onnx-models-are-streamed.md``).
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any

from modelseal.memory import Arena, wipe
from modelseal.runtime import room
from modelseal.runtime.ports import Licensee
from modelseal.types import MemoryProtection

PIECE_BYTES = 1 << 20
RING_BYTES = 4 * PIECE_BYTES
"""More than a pipe and the piece being written hold: what is overwritten has been read."""
_SET_PIPE_SIZE = 1031
_DRAIN_BYTES = 1 << 16

Fill = Callable[[int, memoryview], None]
"""Puts the bytes from an offset on into memory; raises what opening raises."""

_writing: set[int] = set()


def is_possible() -> bool:
    """Whether this system has paths of pipes, and threads that run beside native code."""
    real = isinstance(_thread.start_new_thread, BuiltinFunctionType)  # gevent puts its own there
    return sys.platform == "linux" and real and Path("/proc/self/fd").is_dir()


def make(
    size_bytes: int, fill: Fill, protection: MemoryProtection, licensee: Licensee
) -> Stream | None:
    """A stream through memory under ``protection``; None where there can be none: what goes
    through a pipe is the kernel's for a moment, which ``secret`` forbids."""
    if protection is MemoryProtection.SECRET or not is_possible():
        return None
    return Stream(size_bytes, fill, room.make(RING_BYTES, protection, licensee))


class Stream:
    """``with Stream(...) as path``: the file can be read there, once.

    Leaving the context raises what decrypting raised: then the reader got less than the whole.
    """

    def __init__(self, size_bytes: int, fill: Fill, ring: Arena) -> None:
        self._size, self._fill, self._ring = size_bytes, fill, ring
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._memory = ring.view
        self._next(0)  # a refusal comes here

    @property
    def beginning(self) -> memoryview:
        """The first bytes, as they are before the stream is read."""
        return self._memory[: min(PIECE_BYTES, self._size)].toreadonly()

    def __enter__(self) -> str:
        self._out, self._into = os.pipe()
        _writing.add(self._into)
        import fcntl

        with contextlib.suppress(OSError):  # a limit of this user's: it stays small
            fcntl.fcntl(self._into, _SET_PIPE_SIZE, PIECE_BYTES)
        self._writer = threading.Thread(target=self._write, name="modelseal-stream", daemon=True)
        try:
            self._writer.start()
        except BaseException:
            self._end_writing()
            self.close()
            raise
        return f"/proc/self/fd/{self._out}"

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        rest = bytearray(_DRAIN_BYTES)
        while os.readv(self._out, [rest]):  # so that the writer does not wait for ever
            wipe(rest)
        self._writer.join()
        self.close()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Nothing is left of it; for a stream that was not entered, too."""
        out, self._out = getattr(self, "_out", -1), -1
        if out >= 0:
            os.close(out)
        self._memory.release()
        self._ring.close()

    def _next(self, at: int) -> memoryview:
        """The piece that begins at ``at``, decrypted into its place in the ring."""
        place = at % RING_BYTES
        piece = self._memory[place : place + min(PIECE_BYTES, self._size - at)]
        self._fill(at, piece)
        return piece

    def _write(self) -> None:
        try:
            at, piece = 0, self._memory[: min(PIECE_BYTES, self._size)]
            while piece.nbytes and not self._stop.is_set():
                _lend(self._into, piece)
                at += piece.nbytes
                piece.release()
                piece = self._next(at)
            piece.release()
        except BaseException as error:  # noqa: BLE001 - raised where the context ends
            self._error = error
        finally:
            self._end_writing()

    def _end_writing(self) -> None:
        _writing.discard(self._into)
        os.close(self._into)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


def _lend(pipe: int, piece: memoryview) -> None:
    """All of ``piece`` is in the pipe: its pages as they are, else a copy of them."""
    done, libc = 0, _libc()
    base = ctypes.addressof((ctypes.c_ubyte * piece.nbytes).from_buffer(piece))
    while libc is not None and done < piece.nbytes:
        vector = _Vector(base + done, piece.nbytes - done)
        count = libc.vmsplice(pipe, ctypes.byref(vector), 1, 0)
        if count <= 0:
            break
        done += count
    while done < piece.nbytes:
        done += os.write(pipe, piece[done:])


@functools.cache
def _libc() -> Any:
    try:
        libc = ctypes.CDLL(None)
        libc.vmsplice.argtypes = [
            ctypes.c_int, ctypes.POINTER(_Vector), ctypes.c_size_t, ctypes.c_uint,
        ]  # fmt: skip
        libc.vmsplice.restype = ctypes.c_ssize_t
    except (OSError, AttributeError):
        return None
    return libc


def _forget_parent() -> None:
    """A forked child that kept the writing end would keep its parent's reader waiting."""
    for into in list(_writing):
        os.close(into)
    _writing.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
