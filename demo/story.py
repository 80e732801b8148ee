"""The whole story, in order, in a folder that is gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from demo import attacks, auditing, customer, ending, publisher, world
from demo.telling import Telling
from demo.world import World


def tell(telling: Telling, prepared: Path, output: Path) -> World:
    """Everything happened; ``output`` holds the pictures. Raises ``StoryFailed``."""
    base = Path(tempfile.mkdtemp(prefix="modelseal-demo-")).resolve()
    try:
        played = world.build(telling, base, prepared.resolve(), output)
        try:
            publisher.publish(played)
            customer.trial(played)
            customer.upgrade(played)
            attacks.attack(played)
            ending.end(played)
            auditing.audit(played)
        finally:
            played.server.stop()
        return played
    finally:
        shutil.rmtree(base, ignore_errors=True)
