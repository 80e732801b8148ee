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
from typing import Any, NamedTuple

from modelseal.container import Entry
from modelseal.memory import Arena, wipe
from modelseal.runtime import room
from modelseal.runtime.ports import Licensee
from modelseal.types import MemoryProtection

PIECE_BYTES = 1 << 19
PIPE_BYTES = 2 * PIECE_BYTES
_RING_PIECES = 4
"""More than a pipe and the piece being written hold: what is overwritten has been read."""
_SET_PIPE_SIZE, _GET_PIPE_SIZE, _UNREAD = 1031, 1032, 0x541B
_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1e-4, 2e-3
_WAITS = 8
_DRAIN_BYTES = 1 << 16

Fill = Callable[[int, memoryview], None]
"""Puts the bytes from an offset on into memory; raises what opening raises."""

_writing: set[int] = set()


class Layout(NamedTuple):
    """``size_bytes`` in pieces of ``piece_bytes``, the first one ``phase`` bytes short of two of
    them where that is not 0."""

    size_bytes: int
    piece_bytes: int = PIECE_BYTES
    phase: int = 0

    @classmethod
    def of(cls, entry: Entry, chunk_bytes: int) -> Layout:
        """Pieces end where chunks end, so that none is decrypted twice."""
        piece = max(PIECE_BYTES, chunk_bytes)
        return cls(entry.size_bytes, piece, entry.extents[0].offset % piece)

    @property
    def ring_bytes(self) -> int:
        """The memory that the pieces take turns in."""
        return _RING_PIECES * self.piece_bytes

    def piece(self, at: int) -> tuple[int, int]:
        """Where in the ring the piece at ``at`` lies, and its length; 0 at the end."""
        place = at + self.phase
        pieces = 2 if at == 0 and self.phase else 1  # the first tells what the file is
        end = (place // self.piece_bytes + pieces) * self.piece_bytes
        return place % self.ring_bytes, min(end, self.size_bytes + self.phase) - place


def is_possible() -> bool:
    """Whether this system has paths of pipes, and threads that run beside native code."""
    real = isinstance(_thread.start_new_thread, BuiltinFunctionType)  # gevent puts its own there
    return sys.platform == "linux" and real and Path("/proc/self/fd").is_dir()


def make(
    layout: Layout, fill: Fill, protection: MemoryProtection, licensee: Licensee
) -> Stream | None:
    """A stream through memory under ``protection``; None where there can be none: what goes
    through a pipe is the kernel's for a moment, which ``secret`` forbids."""
    if protection is MemoryProtection.SECRET or not is_possible():
        return None
    return Stream(layout, fill, room.make(layout.ring_bytes, protection, licensee))


class Stream:
    """``with Stream(...) as path``: the file can be read there, once.

    Leaving the context raises what decrypting raised: then the reader got less than the whole.
    """

    def __init__(self, layout: Layout, fill: Fill, ring: Arena) -> None:
        self._layout, self._fill, self._ring = layout, fill, ring
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._memory = ring.view
        self._first = self._next(0)  # a refusal comes here

    @property
    def beginning(self) -> memoryview:
        """The first bytes, as they are before the stream is read."""
        return self._first.toreadonly()

    def __enter__(self) -> str:
        self._out, self._into = os.pipe()
        _writing.add(self._into)
        import fcntl

        with contextlib.suppress(OSError):  # a limit of this user's: it stays small
            fcntl.fcntl(self._into, _SET_PIPE_SIZE, PIPE_BYTES)
        self._pipe_bytes = fcntl.fcntl(self._into, _GET_PIPE_SIZE)
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
        self._first.release()
        self._memory.release()
        self._ring.close()

    def _next(self, at: int) -> memoryview:
        """The piece that begins at ``at``, decrypted into its place in the ring."""
        place, size = self._layout.piece(at)
        piece = self._memory[place : place + size]
        if size:
            self._fill(at, piece)
        return piece

    def _write(self) -> None:
        try:
            at, piece = 0, self._first
            while piece.nbytes and not self._stop.is_set():
                self._lend(piece)
                at += piece.nbytes
                piece.release()
                piece = self._next(at)
            piece.release()
        except BaseException as error:  # noqa: BLE001 - raised where the context ends
            self._error = error
        finally:
            self._end_writing()

    def _lend(self, piece: memoryview) -> None:
        """All of ``piece`` is in the pipe, or the reader has gone."""
        done = 0
        while done < piece.nbytes:
            room = self._room()
            if self._stop.is_set():
                return
            done += _lend(self._into, piece[done : done + room])

    def _room(self) -> int:
        """How many bytes go into the pipe, as soon as it is half empty.

        A writer that waits in the kernel is woken for each page that is read, which costs reader
        and writer more than the bytes do.
        """
        import fcntl

        if self._pipe_bytes < PIPE_BYTES:
            return PIPE_BYTES  # too small to look away
        waits = 0
        while True:
            unread = int.from_bytes(fcntl.ioctl(self._into, _UNREAD, bytes(4)), sys.byteorder)
            if unread <= self._pipe_bytes // 2 or self._stop.is_set():
                return self._pipe_bytes - unread
            self._stop.wait(min(_WAIT_SECONDS * 2 ** (waits // _WAITS), _LONGEST_WAIT_SECONDS))
            waits += 1

    def _end_writing(self) -> None:
        _writing.discard(self._into)
        os.close(self._into)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


def _lend(pipe: int, piece: memoryview) -> int:
    """So many bytes of ``piece`` are in the pipe: its pages as they are, else a copy of them."""
    libc = _libc()
    if libc is not None:
        base = ctypes.addressof(ctypes.c_ubyte.from_buffer(piece))
        count: int = libc.vmsplice(pipe, ctypes.byref(_Vector(base, piece.nbytes)), 1, 0)
        if count > 0:
            return count
    return os.write(pipe, piece)


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
