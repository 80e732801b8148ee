"""A limit on how long a key store may take, so that one that hangs ends in an error.

What hangs cannot be stopped from outside: its thread is left behind, and when too many were left
nothing more is tried. The time a person takes to type a secret does not count.
"""

from __future__ import annotations

import _thread
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from modelseal.errors import KeyStoreUnavailable

DEFAULT_SECONDS = 30.0
MAX_UNFINISHED = 64
T = TypeVar("T")
Ask = Callable[[str], str]

_places = [threading.BoundedSemaphore(MAX_UNFINISHED)]


def run(act: Callable[[], T], seconds: float | None, *, uri: str = "") -> T:
    """What ``act`` returns or raises within ``seconds`` (None or 0: whenever it does).

    Raises ``KeyStoreUnavailable`` at the limit, and at once while 64 calls are unfinished.
    """
    return run_asking(lambda _ask: act(), seconds, None, uri=uri)


def run_asking(
    act: Callable[[Ask | None], T], seconds: float | None, ask: Ask | None, *, uri: str = ""
) -> T:
    """Like ``run``, for an ``act`` that may ask a person: ``ask`` is called in this thread."""
    if not seconds:
        return act(ask)
    places = _places[0]
    if not places.acquire(blocking=False):
        raise KeyStoreUnavailable("too many calls to key stores are unfinished", uri=uri)
    told: queue.SimpleQueue[tuple[str, object]] = queue.SimpleQueue()
    heard: queue.SimpleQueue[tuple[str, object]] = queue.SimpleQueue()

    def asked(prompt: str) -> str:
        told.put(("ask", prompt))
        return str(_outcome(heard.get()))

    def work() -> None:
        told.put(_tried(lambda: act(None if ask is None else asked)))
        places.release()

    # Without the handshake of ``threading.Thread``: calls take a fraction of a millisecond.
    _thread.start_new_thread(work, ())
    return _wait(told, heard, seconds, ask, uri)


def _wait(
    told: queue.SimpleQueue[tuple[str, object]],
    heard: queue.SimpleQueue[tuple[str, object]],
    seconds: float,
    ask: Ask | None,
    uri: str,
) -> T:  # type: ignore[type-var]
    end = time.monotonic() + seconds
    while True:
        try:
            what, value = told.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            raise KeyStoreUnavailable(f"no answer within {seconds:g} seconds", uri=uri) from None
        if what != "ask" or ask is None:
            return _outcome((what, value))  # type: ignore[return-value]
        began, person = time.monotonic(), ask
        heard.put(_tried(lambda: person(str(value))))  # noqa: B023 - called before the next round
        end += time.monotonic() - began


def _tried(act: Callable[[], object]) -> tuple[str, object]:
    try:
        return "done", act()
    except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
        return "failed", error


def _outcome(told: tuple[str, object]) -> object:
    what, value = told
    if what == "failed" and isinstance(value, BaseException):
        raise value
    return value


def unfinished() -> int:
    """How many calls have not ended, whether or not somebody waits for them."""
    return MAX_UNFINISHED - _places[0]._value


def _in_child() -> None:
    """A forked child has none of the parent's unfinished calls."""
    _places[0] = threading.BoundedSemaphore(MAX_UNFINISHED)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
