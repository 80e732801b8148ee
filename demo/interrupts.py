"""Ctrl-C and its kin: what they end, and when they have to wait."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_ENDS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def interruptible() -> None:
    """Whatever asks this process to end raises KeyboardInterrupt, so that it tidies up."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    for number in _ENDS:
        signal.signal(number, interrupt)


@contextmanager
def held_back() -> Iterator[None]:
    """An interrupt waits for the end of the block: a child is known to us once it is there."""
    came: list[int] = []
    before = [signal.signal(number, lambda which, _frame: came.append(which)) for number in _ENDS]
    try:
        yield
    finally:
        _restore(before)
    if came:
        raise KeyboardInterrupt


@contextmanager
def undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not end the tidying up."""
    before = [signal.signal(number, signal.SIG_IGN) for number in _ENDS]
    try:
        yield
    finally:
        _restore(before)


def _restore(handlers: list[signal._HANDLER]) -> None:
    for number, handler in zip(_ENDS, handlers, strict=True):
        signal.signal(number, handler)
