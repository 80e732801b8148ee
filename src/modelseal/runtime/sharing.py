"""Decrypted files that several holders share: sessions of one model, in this process.

What is shared is known by its content, that is by the signed hash of its leaves, and by how deeply
it was verified. It lives as long as the last view of it and is wiped then; small ones live some
seconds longer (``docs/adr/0196-small-plaintext-stays-for-seconds.md``).
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from modelseal.container import Depth


class Content(NamedTuple):
    """Which plaintext this is: one file inside one sealing, verified so deeply."""

    file_id: bytes
    leaf_hash: bytes
    name: str
    depth: Depth


KEPT_SECONDS = 10.0
KEPT_BYTES, KEPT_BYTES_EACH = 32 << 20, 4 << 20

_live: weakref.WeakValueDictionary[Content, Any] = weakref.WeakValueDictionary()
_lock = threading.Lock()
_gates: dict[Content, threading.Lock] = {}


_kept: OrderedDict[Content, tuple[float, memoryview]] = OrderedDict()
_timer: threading.Timer | None = None


def share(content: Content, decrypt: Callable[[], memoryview], *, keep: bool = False) -> memoryview:
    """The plaintext that another holder has, else what ``decrypt`` gives; once at a time.

    With ``keep`` a small one is not decrypted again within ``KEPT_SECONDS`` of its last use.
    """
    with _lock:
        gate = _gates.setdefault(content, threading.Lock())
    try:
        with gate:
            block = _live.get(content)
            view = decrypt() if block is None else memoryview(block).cast("B")
            if block is None:
                _live[content] = view.obj
            if keep and view.nbytes <= KEPT_BYTES_EACH:
                _keep(content, view)
            return view
    finally:
        with _lock:
            _gates.pop(content, None)


def _keep(content: Content, view: memoryview) -> None:
    global _timer  # noqa: PLW0603
    with _lock:
        _kept[content] = (time.monotonic() + KEPT_SECONDS, view)
        _kept.move_to_end(content)
        while sum(held.nbytes for _, held in _kept.values()) > KEPT_BYTES:
            _kept.popitem(last=False)
        if _timer is None:
            _timer = _started(KEPT_SECONDS)


def _started(seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, _let_go)
    timer.name, timer.daemon = "modelseal-plaintext", True
    timer.start()
    return timer


def _let_go() -> None:
    global _timer  # noqa: PLW0603
    with _lock:
        now = time.monotonic()
        for content in [c for c, (until, _) in _kept.items() if until <= now]:
            del _kept[content]
        ends = [until for until, _ in _kept.values()]
        _timer = _started(max(ends[0] - now, 0.1)) if ends else None


def forget() -> None:
    """Nothing is kept any longer than its holders do."""
    global _timer  # noqa: PLW0603
    with _lock:
        _kept.clear()
        if _timer is not None:
            _timer.cancel()
        _timer = None


def is_held(content: Content) -> bool:
    """Whether ``share`` would decrypt nothing now, or wait for who does."""
    return content in _live or content in _gates


def live() -> int:
    """How many plaintexts are held in this process."""
    return len(_live)


def _forget_parent() -> None:
    """A forked child decrypts for itself: a lock of its parent may be held for ever."""
    global _lock, _timer
    _lock, _timer = threading.Lock(), None
    _kept.clear()
    _live.clear()
    _gates.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
