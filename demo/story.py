"""The whole story, in order, in a folder that is gone afterwards."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from demo import attacks, auditing, customer, ending, publisher, world
from demo.telling import Telling
from demo.world import World

_ENDS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def tell(telling: Telling, prepared: Path, output: Path, short_seconds: int) -> World:
    """Everything happened; ``output`` holds the pictures.

    Raises ``StoryFailed``; KeyboardInterrupt when the process is asked to end. The server has
    ended and the folder is gone in any case.
    """
    with _folder() as base:
        played = world.build(telling, base, prepared.resolve(), output, short_seconds)
        try:
            publisher.publish(played)
            customer.trial(played)
            customer.upgrade(played)
            attacks.attack(played)
            ending.end(played)
            auditing.audit(played)
        finally:
            with _undisturbed():
                played.server.stop()
        return played


def interruptible() -> None:
    """Whatever asks this process to end raises KeyboardInterrupt, so that it tidies up."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    for number in _ENDS:
        signal.signal(number, interrupt)


@contextmanager
def _folder() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="modelseal-demo-")).resolve()
    try:
        yield base
    finally:
        with _undisturbed():
            shutil.rmtree(base, ignore_errors=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not end the tidying up."""
    before = [signal.signal(number, signal.SIG_IGN) for number in _ENDS]
    try:
        yield
    finally:
        for number, handler in zip(_ENDS, before, strict=True):
            signal.signal(number, handler)
