"""Decrypted files that several holders share: sessions of one model, in this process.

What is shared is known by its content, that is by the signed hash of its leaves, and by how deeply
it was verified. It lives as long as the last view of it and is wiped then.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from modelseal.container import Depth


class Content(NamedTuple):
    """Which plaintext this is: one file inside one sealing, verified so deeply."""

    file_id: bytes
    leaf_hash: bytes
    name: str
    depth: Depth


_live: weakref.WeakValueDictionary[Content, Any] = weakref.WeakValueDictionary()
_lock = threading.Lock()
_gates: dict[Content, threading.Lock] = {}


def share(content: Content, decrypt: Callable[[], memoryview]) -> memoryview:
    """The plaintext that another holder has, else what ``decrypt`` gives; once at a time."""
    with _lock:
        gate = _gates.setdefault(content, threading.Lock())
    try:
        with gate:
            block = _live.get(content)
            if block is not None:
                return memoryview(block).cast("B")
            view = decrypt()
            _live[content] = view.obj
            return view
    finally:
        with _lock:
            _gates.pop(content, None)


def live() -> int:
    """How many plaintexts are held in this process."""
    return len(_live)


def _forget_parent() -> None:
    """A forked child decrypts for itself: a lock of its parent may be held for ever."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _live.clear()
    _gates.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
