"""The whole story, in order, in a folder that is gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo import attacks, auditing, customer, ending, publisher, world
from demo.interrupts import undisturbed
from demo.telling import Telling
from demo.world import World


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
            with undisturbed():
                played.server.stop()
        return played


@contextmanager
def _folder() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="modelseal-demo-")).resolve()
    try:
        yield base
    finally:
        with undisturbed():
            shutil.rmtree(base, ignore_errors=True)
