"""One log for all tests that only read it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from tests.audit.world import Log, grown

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(scope="session")
def log() -> Log:
    """700 events in seven checkpoints; tests do not change it."""
    return grown(700)
