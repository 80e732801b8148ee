"""How fast the machine is at what a load is made of, so that figures of two machines compare."""

from __future__ import annotations

import ctypes
import mmap
import statistics
import time
from collections.abc import Callable

import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PIECE_BYTES = 256 * 1024
_FRESH_BYTES = 256 << 20
_PIECES, _TURNS, _ROUNDS = 64, 20_000, 7


def speeds() -> dict[str, float]:
    """By CPU time of one thread, medians: ``aes_gcm``, ``blake3`` and ``copy`` in GB a second over
    a piece that stays in the cache, ``python`` in millions of turns of an empty loop a second.

    ``memory``, in GB a second, is the first touch of memory, once: what the host of a virtual
    machine has to back first is told by nothing else.
    """
    memory = _fresh()
    piece, target = bytearray(_PIECE_BYTES), bytearray(_PIECE_BYTES)
    cipher, nonce = AESGCM(bytes(32)), bytes(12)
    sealed, opened = cipher.encrypt(nonce, bytes(piece), None), memoryview(target)

    def decrypt() -> None:
        cipher.decrypt_into(nonce, sealed, None, opened)

    def digest() -> None:
        blake3.blake3(piece).digest()

    def copy() -> None:
        opened[:] = piece

    work = {"aes_gcm": decrypt, "blake3": digest, "copy": copy}
    found = {name: _PIECES * _PIECE_BYTES / 1e9 / _seconds(do) for name, do in work.items()}
    return found | {"python": _PIECES * _TURNS / 1e6 / _seconds(_loop), "memory": memory}


def _fresh() -> float:
    with mmap.mmap(-1, _FRESH_BYTES) as area:
        held = (ctypes.c_char * _FRESH_BYTES).from_buffer(area)
        began = time.thread_time()
        ctypes.memset(held, 1, _FRESH_BYTES)
        took = time.thread_time() - began
        del held
    return _FRESH_BYTES / 1e9 / took


def _loop() -> None:
    for _ in range(_TURNS):
        pass


def _seconds(do: Callable[[], None]) -> float:
    """CPU seconds of ``_PIECES`` times ``do``."""
    seen = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        for _ in range(_PIECES):
            do()
        seen.append(time.thread_time() - began)
    return statistics.median(seen)
